"""Exactly-once sending; `OutcomeUnknown` when the result cannot be determined."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

from messenger.client.codec import typed
from messenger.client.errors import ApiError, ClientError, OutcomeUnknown, SignedOut
from messenger.client.http import Http, Request
from messenger.client.retrying import Backoff, Sleeper, Timing, retry
from messenger.schemas.messages import MessageDraft, MessageView

# Errors of the request itself: every attempt fails alike, so an earlier attempt was not sent either.
_SAME_EACH_TIME = frozenset({400, 409, 413, 415, 422})


class RequestSocket(Protocol):
    """A stream over whose socket requests can be sent."""

    @property
    def has_socket(self) -> bool: ...

    async def request(self, method: str, data: Any) -> Any: ...


class Sender:
    """Sends over the socket while it is open, otherwise over HTTP."""

    def __init__(
        self, http: Http, *, timing: Timing, sleeper: Sleeper, socket: Callable[[], RequestSocket | None]
    ) -> None:
        self._http = http
        self._timing = timing
        self._sleeper = sleeper
        self._socket = socket

    async def send(self, draft: MessageDraft, *, within: float | None) -> MessageView:
        """Send a message, or return the one that was sent before with this `client_id`.

        Retries for `within` seconds (None: until the outcome is known). Raises `ApiError` and `Unreachable` if the
        message was not sent, `OutcomeUnknown` if it may have been.
        """
        may_be_sent = False
        over_http = False

        async def attempt() -> MessageView:
            nonlocal may_be_sent, over_http
            try:
                return await self._send_once(draft, over_http=over_http)
            except ClientError as error:
                may_be_sent = may_be_sent or error.may_have_happened
                # A socket without a reply may be dead although it looks open.
                over_http = True
                raise

        try:
            return await retry(attempt, within=within, backoff=Backoff(self._timing), sleeper=self._sleeper)
        except ClientError as error:
            if may_be_sent and not (isinstance(error, ApiError) and error.status in _SAME_EACH_TIME):
                raise OutcomeUnknown(draft.client_id, error) from error
            raise

    async def _send_once(self, draft: MessageDraft, *, over_http: bool) -> MessageView:
        socket = self._socket()
        if socket is not None and socket.has_socket and not over_http:
            try:
                return typed(await socket.request("message.send", draft), MessageView)
            except SignedOut:
                # Fall back to HTTP, where the token can be refreshed.
                pass
        return await self._http.call_once(Request(method="POST", path="/messages", body=draft), MessageView)


def draft_of(target_id: int, body: str, client_id: str | None, options: dict[str, Any]) -> MessageDraft:
    """A message to send; a generated `client_id` is the same for all attempts."""
    return MessageDraft(target_id=target_id, client_id=client_id or str(uuid.uuid4()), body=body, **options)
