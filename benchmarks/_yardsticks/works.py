"""The workloads of the comparison: their requests and targets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

from _yardsticks.load import Expected
from _yardsticks.world import BODY, HUBS, PAGE, PAIRS, PEERS, WRITERS, token, user_id

_numbers = itertools.count(1)


class Work(NamedTuple):
    """One row of the table. `baseline_multiple`: the target multiple of the baseline's rate; None: not in the baseline.

    `path` is empty for messages, which many pairs send.
    """

    name: str
    path: str
    baseline_multiple: float | None

    @property
    def is_read(self) -> bool:
        return bool(self.path)

    def requests(self) -> Iterator[bytes]:
        """The requests in order."""
        return itertools.cycle([read(self.path, hub) for hub in range(HUBS)]) if self.path else _messages()


def works(head: int) -> list[Work]:
    """All workloads; `head` is the end of each hub's stream."""
    return [
        Work("GET /profile", "/profile", 8),
        Work("POST /messages", "", 8),
        Work("GET /history (50 of 250)", f"/history/{user_id(PEERS)}", 6),
        Work("GET /contacts (50 of 200)", "/contacts", 6),
        Work("GET /statuses (200)", "/statuses", 6),
        Work("GET /conversations (50 of 500)", "/conversations", None),
        Work("GET /sync (100 events)", f"/sync?cursor=e{head - PAGE}&limit={PAGE}", None),
    ]


NOTHING = Work("GET /health/live", "/health/live", None)
"""A request without work: it measures the server program and the framework."""


def read(path: str, number: int) -> bytes:
    """A GET by one user."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token(number)}\r\n\r\n".encode()


def _messages() -> Iterator[bytes]:
    """Each message from the next pair, with a new `client_id`."""
    start = f"{time.time_ns():020}"
    parts = [_message_parts(pair, len(start) + 10) for pair in range(PAIRS)]
    for before, after in itertools.cycle(parts):
        yield b"%b%b%010d%b" % (before, start.encode(), next(_numbers), after)


def _message_parts(pair: int, id_length: int) -> tuple[bytes, bytes]:
    target = user_id(WRITERS + PAIRS + pair)
    before, after = f'{{"target_id":{target},"client_id":"', f'","body":"{BODY}"}}'
    head = (
        f"POST /messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token(WRITERS + pair)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(before) + id_length + len(after)}\r\n\r\n"
    )
    return (head + before).encode(), after.encode()


def expected(work: Work, length: int) -> Expected:
    """The expected responses, from the length of one."""
    return Expected(200 if work.is_read else 201, length)
