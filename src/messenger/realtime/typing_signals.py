"""Typing signals: relayed at a limited rate, and ended by a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Protocol

from messenger.clock import Clock
from messenger.schemas.realtime import TypingView
from messenger.schemas.types import timestamp

EVERY_SECONDS = 3.0
EXPIRY_SECONDS = 8.0
MAX_AT_ONCE = 20
"""The maximum number of conversations in which one socket's user is shown as typing at the same time."""


class SendSignal(Protocol):
    def __call__(self, users: Sequence[int], event: str, data: object, *, watched: int | None = None) -> None: ...


class _Typing:
    __slots__ = ("audience", "end")

    def __init__(self, audience: Mapping[int, Sequence[int]], end: asyncio.TimerHandle) -> None:
        self.audience = audience
        self.end = end


class TypingSignals:
    """The typing signals of one socket's user. Each recipient addresses the conversation by its own `target_id`."""

    __slots__ = ("_clock", "_send_signal", "_sent_at", "_typing", "_user_id")

    def __init__(self, user_id: int, clock: Clock, send_signal: SendSignal) -> None:
        self._user_id = user_id
        self._clock = clock
        self._send_signal = send_signal
        self._typing: dict[int, _Typing] = {}
        self._sent_at: dict[int, float] = {}

    def was_sent_recently(self, target_id: int) -> bool:
        """Whether a signal was sent less than 3 s ago; if so, the next one is dropped without a permission check."""
        return monotonic() - self._sent_at.get(target_id, -EVERY_SECONDS) < EVERY_SECONDS

    def start(self, target_id: int, audience: Mapping[int, Sequence[int]]) -> None:
        """Notify these users, grouped by how they address the conversation. Stops after `EXPIRY_SECONDS`."""
        old = self._typing.pop(target_id, None)
        if old is not None:
            old.end.cancel()
        if len(self._typing) >= MAX_AT_ONCE:
            self.stop(next(iter(self._typing)))
        self._sent_at.pop(target_id, None)
        if len(self._sent_at) >= 5 * MAX_AT_ONCE:
            del self._sent_at[next(iter(self._sent_at))]
        self._sent_at[target_id] = monotonic()
        end = asyncio.get_running_loop().call_later(EXPIRY_SECONDS, self.stop, target_id)
        self._typing[target_id] = _Typing(audience, end)
        expires_at = timestamp(self._clock.now() + timedelta(seconds=EXPIRY_SECONDS))
        self._signal(target_id, audience, expires_at)

    def stop(self, target_id: int) -> None:
        """Signal that the user has stopped typing, if they were typing in this conversation."""
        typing = self._typing.pop(target_id, None)
        if typing is None:
            return
        typing.end.cancel()
        self._signal(target_id, typing.audience, None)

    def _signal(self, target_id: int, audience: Mapping[int, Sequence[int]], expires_at: str | None) -> None:
        for address, users in audience.items():
            view = TypingView(address, self._user_id, expires_at is not None, expires_at)
            # All members of a group address it alike: of these, only those who watch it get the signal.
            self._send_signal(users, "typing", view, watched=address if address == target_id else None)

    def stop_all(self) -> None:
        """Stop in all conversations."""
        for target_id in list(self._typing):
            self.stop(target_id)

    def is_shown(self, target_id: int | None = None) -> bool:
        """Whether this user is shown as typing, in one conversation or in any."""
        found = self._typing.values() if target_id is None else [self._typing.get(target_id)]
        return any(typing is not None and typing.audience for typing in found)
