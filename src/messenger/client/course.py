"""What to do when a socket has ended, or could not be had (`docs/api/realtime.md`, close codes)."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from messenger.client.errors import ApiError, ClientError, ConnectedElsewhere, SignedOut
from messenger.client.link import Closed, UpgradeRefused
from messenger.client.pace import Timing, is_passing

SIGNED_OUT, SILENT, ELSEWHERE, TOO_MANY, RESTART = 4401, 4408, 4409, 4429, 1012
_RETRY_AFTER = re.compile(r"retry_after=(\d{1,6}(?:\.\d+)?)")


class Course(msgspec.Struct, frozen=True):
    """The next step. `seconds`: what to wait at least; `exactly`: no backoff on top. `error`: why it stops."""

    step: Literal["again", "renew", "poll", "stop"]
    seconds: float = 0.0
    exactly: bool = False
    error: ClientError | None = None


def after_close(closed: Closed, timing: Timing, *, failures: int) -> Course:
    """After a socket that was open; `failures`: how many ended like this in a row before."""
    if closed.code == SIGNED_OUT:
        return Course("renew")
    if closed.code == ELSEWHERE:
        return Course("stop", error=ConnectedElsewhere("this device opened another socket"))
    if closed.code == TOO_MANY:
        return Course("again", timing.too_many)
    if closed.code == RESTART:
        # The server has drawn the wait, so that its clients don't come back all at once.
        asked = _RETRY_AFTER.search(closed.reason)
        return Course("again", float(asked[1]), exactly=True) if asked else Course("again")
    if closed.code == SILENT and failures == 0:
        return Course("again", 0.0, exactly=True)
    return Course("again")


def after_refusal(error: ClientError, *, failures: int) -> Course:
    """After a handshake that failed, or a call that went with it."""
    if isinstance(error, SignedOut):
        return Course("renew", error=error)
    if isinstance(error, UpgradeRefused):
        return Course("poll", error=error)
    if isinstance(error, ApiError):
        if is_passing(error):
            return Course("again", error.retry_after or 0.0)
        if error.status == 426:
            # The way here strips the upgrade.
            return Course("poll", error=error)
        # What is not the API's word is a proxy's, or a network's that wants its page to be seen first: it passes.
        return Course("again" if error.code.startswith("http_") else "stop", error=error)
    # Some proxies hang up on an upgrade instead of refusing it.
    return Course("poll" if failures >= 2 else "again", error=error)
