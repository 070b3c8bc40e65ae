"""IDs of new users and groups."""

from __future__ import annotations

import secrets


def candidate_numbers() -> list[int]:
    """Random numbers to try, eight digits first: with half of those given away, one in 2**8 needs a ninth digit."""
    draw = secrets.SystemRandom()
    return [draw.randrange(10**7, 10**8) for _ in range(8)] + [draw.randrange(10**8, 10**9) for _ in range(8)]
