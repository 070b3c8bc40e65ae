"""Sending a message so that it is sent once, or that one knows that one doesn't know."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

from messenger.client.codec import typed
from messenger.client.errors import ApiError, ClientError, OutcomeUnknown, SignedOut
from messenger.client.http import Http, Request
from messenger.client.retrying import Backoff, Sleeper, Timing, retry
from messenger.schemas.messages import MessageDraft, MessageView

# What was wrong with it is wrong each time: an attempt before this one was refused as well.
_SAME_EACH_TIME = frozenset({400, 409, 413, 415, 422})


class RequestSocket(Protocol):
    """A socket that may be there."""

    @property
    def has_socket(self) -> bool: ...

    async def request(self, method: str, data: Any) -> Any: ...


class Sender:
    """Sends over the socket while there is one, over HTTP otherwise."""

    def __init__(
        self, http: Http, *, timing: Timing, sleeper: Sleeper, socket: Callable[[], RequestSocket | None]
    ) -> None:
        self._http = http
        self._timing = timing
        self._sleeper = sleeper
        self._socket = socket

    async def send(self, draft: MessageDraft, *, within: float | None) -> MessageView:
        """The message, whether it is new or was sent before under this `client_id`.

        Repeated for `within` seconds (None: until it is known). Raises `ApiError` and `Unreachable` where it was
        certainly not sent, `OutcomeUnknown` where it may have been.
        """
        may_be_sent = False
        over_http = False

        async def attempt() -> MessageView:
            nonlocal may_be_sent, over_http
            try:
                return await self._send_once(draft, over_http=over_http)
            except ClientError as error:
                may_be_sent = may_be_sent or error.may_have_happened
                # A socket that didn't answer may be dead without knowing.
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
                # Over HTTP the token can be renewed.
                pass
        return await self._http.call_once(Request(method="POST", path="/messages", body=draft), MessageView)


def draft_of(target_id: int, body: str, client_id: str | None, options: dict[str, Any]) -> MessageDraft:
    """A message to send; its `client_id` is made here, once for all attempts."""
    return MessageDraft(target_id=target_id, client_id=client_id or str(uuid.uuid4()), body=body, **options)
