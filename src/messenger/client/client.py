"""The client: one device of one account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import httpx
from msgspec import UNSET, UnsetType

from messenger.client.accounts import AccountCalls
from messenger.client.admission import AdmissionCalls
from messenger.client.codec import CODECS
from messenger.client.errors import Unreachable
from messenger.client.groups import GroupCalls
from messenger.client.http import Http
from messenger.client.loading import Loaded, load, load_conversation
from messenger.client.messages import MessageCalls
from messenger.client.people import PeopleCalls
from messenger.client.retrying import Sleeper, Timing
from messenger.client.sending import Sender, draft_of
from messenger.client.state import State
from messenger.client.stream import EventStream, OnCursor, OnStatus
from messenger.client.tokens import OnTokens, TokenKeeper, Tokens
from messenger.schemas.messages import MessageView, ReceiptDraft
from messenger.schemas.realtime import CallSignalDraft, PresencePatch, TypingDraft, WatchDraft
from messenger.schemas.types import StatusName
from messenger.schemas.users import ProfilePatch


class Client(AccountCalls, PeopleCalls, MessageCalls, GroupCalls, AdmissionCalls):
    """API calls, sending and the event stream: `async with Client(url) as client`.

    `on_tokens` is called with each new pair of tokens, so that a program can store them and stay signed in. Idempotent
    calls are retried for up to `timing.patience` seconds while the server is unreachable or asks to retry later. Every
    method raises `ClientError`: `ApiError` for an error response, `SignedOut` once no token is valid, `Unreachable`
    if there is no response.
    """

    def __init__(
        self,
        base_url: str,
        *,
        tokens: Tokens | None = None,
        on_tokens: OnTokens | None = None,
        encoding: Literal["json", "msgpack"] = "json",
        timing: Timing | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.timing = timing or Timing()
        self._codec = CODECS[encoding]
        self._sleeper = Sleeper(sleep)
        self._http = Http(
            base_url,
            codec=self._codec,
            timing=self.timing,
            sleeper=self._sleeper,
            tokens=tokens,
            on_tokens=on_tokens,
            transport=transport,
        )
        self._streams: list[EventStream] = []
        self._sender = Sender(self._http, timing=self.timing, sleeper=self._sleeper, socket=self._live)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close streams and connections; the device stays signed in."""
        for stream in self._streams:
            await stream.aclose()
        await self._http.aclose()

    @property
    def base_url(self) -> str:
        """The URL of the server, without a trailing slash."""
        return self._http.base_url

    @property
    def tokens(self) -> Tokens | None:
        """The current tokens; None if the client is not signed in."""
        return self._http.keeper.tokens

    @property
    def keeper(self) -> TokenKeeper:
        """The object that holds the tokens and refreshes them."""
        return self._http.keeper

    # --- the stream ---

    def stream(
        self,
        cursor: str | None = None,
        *,
        on_cursor: OnCursor | None = None,
        on_status: OnStatus | None = None,
        with_ticket: bool = False,
        polling_only: bool = False,
    ) -> EventStream:
        """Open the event stream after `cursor`, or from now on. Use one at a time: a device has one socket."""
        stream = EventStream(
            self,
            self.base_url,
            codec=self._codec,
            timing=self.timing,
            sleeper=self._sleeper,
            cursor=cursor,
            on_cursor=on_cursor,
            on_status=on_status,
            with_ticket=with_ticket,
            polling_only=polling_only,
        )
        self._streams = [each for each in self._streams if each.status != "closed"] + [stream]
        return stream

    async def load_state(self, *, messages: int | None = 0, members: bool = False) -> Loaded:
        """Load the state of the account and the cursor to resume the stream from; see `load`."""
        return await load(self, messages=messages, members=members)

    async def load_conversation(
        self, state: State, target_id: int, *, messages: int | None = 50, members: bool = True
    ) -> None:
        """Add messages of a conversation to a state, and the members of a group, such as one that you have joined."""
        await load_conversation(self, state, target_id, messages=messages, members=members)

    def _live(self) -> EventStream | None:
        return next((stream for stream in reversed(self._streams) if stream.has_socket), None)

    # --- sent over the socket if there is one ---

    async def send(
        self,
        target_id: int,
        body: str,
        *,
        client_id: str | None = None,
        within: float | None = 60.0,
        **options: Any,
    ) -> MessageView:
        """Send a message exactly once, retrying with the same `client_id` for `within` seconds (None: without limit).

        `options` are those of `MessageDraft`: `reply_to`, `forwarded_from`, `mentions`. Raises `ApiError` and
        `Unreachable` if the message was not sent, `OutcomeUnknown` if it may have been: call again with the same
        `client_id` to find out. Concurrent calls may be sent in any order; use `Outbox` to preserve order.
        """
        return await self._sender.send(draft_of(target_id, body, client_id, options), within=within)

    async def mark(self, target_id: int, *, read_seq: int) -> None:
        """Mark messages up to `read_seq` as read."""
        stream = self._live()
        if stream is not None:
            try:
                await stream.request("receipt.set", ReceiptDraft(target_id=target_id, read_seq=read_seq))
                return
            except Unreachable:
                # A receipt only ever advances: sending it twice does no harm.
                pass
        await self.set_receipt(target_id, read_seq=read_seq)

    async def set_presence(
        self, *, status: StatusName | UnsetType = UNSET, status_text: str | UnsetType = UNSET
    ) -> None:
        """Change your status or status text."""
        stream = self._live()
        if stream is not None:
            try:
                await stream.request("presence.set", PresencePatch(status=status, status_text=status_text))
                return
            except Unreachable:
                pass
        await self.update_profile(ProfilePatch(status=status, status_text=status_text))

    async def typing(self, target_id: int, *, typing: bool = True) -> None:
        """Signal that you are typing, or have stopped. Does nothing without a socket, since it would arrive late."""
        await self._signal("typing", TypingDraft(target_id=target_id, typing=typing))

    async def watch(self, *target_ids: int) -> None:
        """Report the conversations on the screen, at most five, for the next 60 seconds; repeat it while they are. The
        server then signals `typing` and `receipts` of these groups. Does nothing without a socket.
        """
        await self._signal("watch", WatchDraft(target_ids=list(target_ids)))

    async def signal_call(self, target_id: int, call_id: UUID, payload: dict[str, Any]) -> None:
        """Relay a call signal to the other side. Raises `Unreachable` if there is no socket."""
        stream = self._live()
        if stream is None:
            raise Unreachable("call.signal: not connected")
        await stream.request("call.signal", CallSignalDraft(target_id=target_id, call_id=call_id, payload=payload))

    async def _signal(self, method: str, data: Any) -> None:
        stream = self._live()
        if stream is not None:
            await stream.request(method, data)
