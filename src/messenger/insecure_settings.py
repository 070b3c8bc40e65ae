"""Settings that a server which strangers can reach should not have."""

from __future__ import annotations

from typing import NamedTuple

from messenger.config import PREFIX, Settings


class Exposure(NamedTuple):
    """What a setting leaves open, and what closes it."""

    what: str
    advice: str


def exposures(settings: Settings) -> list[Exposure]:
    """None by default."""
    found = []
    if settings.rate_limits == "off":
        what = f"{PREFIX}RATE_LIMITS is off: passwords and people can be guessed without an end"
        found.append(Exposure(what, "Set it to on."))
    if "*" in settings.trusted_proxies:
        what = f"{PREFIX}TRUSTED_PROXIES is *: anyone can say they are at any address"
        found.append(Exposure(what, "Name the proxies."))
    return found
