"""Decides what to do after a socket was closed or could not be opened (`docs/api/realtime.md`, close codes)."""

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
    """What to do next. `seconds`: minimum wait; `exactly`: add no backoff; `error`: the reason for stopping."""

    action: Literal["again", "renew", "poll", "stop"]
    seconds: float = 0.0
    exactly: bool = False
    error: ClientError | None = None


def after_close(closed: Closed, timing: Timing, *, failures: int) -> NextStep:
    """The next step after an open socket was closed; `failures`: the number of consecutive failures before."""
    if closed.code == SIGNED_OUT:
        return NextStep("renew")
    if closed.code == ELSEWHERE:
        return NextStep("stop", error=ConnectedElsewhere("this device opened another socket"))
    if closed.code == TOO_MANY:
        return NextStep("again", timing.too_many)
    if closed.code == RESTART:
        # The server has randomized the wait, so that its clients do not all reconnect at once.
        asked = _RETRY_AFTER.search(closed.reason)
        return NextStep("again", float(asked[1]), exactly=True) if asked else NextStep("again")
    if closed.code == SILENT and failures == 0:
        return NextStep("again", 0.0, exactly=True)
    return NextStep("again")


def after_failure(error: ClientError, *, failures: int) -> NextStep:
    """The next step after the handshake, or a call needed for it, failed."""
    if isinstance(error, SignedOut):
        return NextStep("renew", error=error)
    if isinstance(error, UpgradeRefused):
        return NextStep("poll", error=error)
    if isinstance(error, ApiError):
        if is_transient(error):
            return NextStep("again", error.retry_after or 0.0)
        if error.status == 426:
            # A proxy on the way strips the `Upgrade` header.
            return NextStep("poll", error=error)
        # Not an error of the API but of a proxy or a captive portal: try again later.
        return NextStep("again" if error.code.startswith("http_") else "stop", error=error)
    # Some proxies close the connection instead of rejecting the upgrade.
    return NextStep("poll" if failures >= 2 else "again", error=error)
