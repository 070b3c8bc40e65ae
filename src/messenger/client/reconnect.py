"""What to do when a socket has ended, or could not be had (`docs/api/realtime.md`, close codes)."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from messenger.client.errors import ApiError, ClientError, ConnectedElsewhere, SignedOut
from messenger.client.retrying import Timing, is_transient
from messenger.client.socket_link import Closed, UpgradeRefused

SIGNED_OUT, SILENT, ELSEWHERE, TOO_MANY, RESTART = 4401, 4408, 4409, 4429, 1012
_RETRY_AFTER = re.compile(r"retry_after=(\d{1,6}(?:\.\d+)?)")


class NextStep(msgspec.Struct, frozen=True):
    """The next step. `seconds`: what to wait at least; `exactly`: no backoff on top. `error`: why it stops."""

    action: Literal["again", "renew", "poll", "stop"]
    seconds: float = 0.0
    exactly: bool = False
    error: ClientError | None = None


def after_close(closed: Closed, timing: Timing, *, failures: int) -> NextStep:
    """After a socket that was open; `failures`: how many ended like this in a row before."""
    if closed.code == SIGNED_OUT:
        return NextStep("renew")
    if closed.code == ELSEWHERE:
        return NextStep("stop", error=ConnectedElsewhere("this device opened another socket"))
    if closed.code == TOO_MANY:
        return NextStep("again", timing.too_many)
    if closed.code == RESTART:
        # The server has drawn the wait, so that its clients don't come back all at once.
        asked = _RETRY_AFTER.search(closed.reason)
        return NextStep("again", float(asked[1]), exactly=True) if asked else NextStep("again")
    if closed.code == SILENT and failures == 0:
        return NextStep("again", 0.0, exactly=True)
    return NextStep("again")


def after_failure(error: ClientError, *, failures: int) -> NextStep:
    """After a handshake that failed, or a call that went with it."""
    if isinstance(error, SignedOut):
        return NextStep("renew", error=error)
    if isinstance(error, UpgradeRefused):
        return NextStep("poll", error=error)
    if isinstance(error, ApiError):
        if is_transient(error):
            return NextStep("again", error.retry_after or 0.0)
        if error.status == 426:
            # The way here strips the upgrade.
            return NextStep("poll", error=error)
        # What is not the API's word is a proxy's, or a network's that wants its page to be seen first: it passes.
        return NextStep("again" if error.code.startswith("http_") else "stop", error=error)
    # Some proxies hang up on an upgrade instead of refusing it.
    return NextStep("poll" if failures >= 2 else "again", error=error)
