"""Calls for messages, history, conversations, receipts, and polling of the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from msgspec import UNSET, UnsetType

from messenger.client.calls import Calls
from messenger.client.codec import Event, SyncPage, event_of
from messenger.client.http import Request
from messenger.schemas.messages import (
    ConversationPage,
    ConversationPatch,
    ConversationView,
    HistoryView,
    MessagePatch,
    MessageReceiptPage,
    MessageView,
    ReceiptDraft,
)
from messenger.schemas.moments import Moment
from messenger.schemas.realtime import TicketView


class MessageCalls(Calls):
    """Conversations and their messages. To send a message, use `Client.send`."""

    async def message(self, message_id: UUID) -> MessageView:
        """Get a message. Raises `ApiError`: `message_not_found`."""
        return await self._http.call(Request(method="GET", path=f"/messages/{message_id}"), MessageView)

    async def edit(self, message_id: UUID, body: str) -> MessageView:
        """Replace the text of your own message."""
        request = Request(method="PATCH", path=f"/messages/{message_id}", body=MessagePatch(body=body))
        return await self._http.call(request, MessageView)

    async def delete(self, message_id: UUID, *, who: Literal["everyone", "me"] = "everyone") -> None:
        """Delete a message for yourself, or for everyone: your own, and as a moderator those of lower ranks."""
        await self._http.response(Request(method="DELETE", path=f"/messages/{message_id}", params={"for": who}))

    async def history(
        self,
        target_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | Literal["unread"] | None = None,
        limit: int = 50,
    ) -> HistoryView:
        """A page of messages in ascending `seq`, with the notices of a group; the latest page by default.

        `around`: half a page on each side of a `seq`, or of the first unread message.
        """
        given = {"before": before, "after": after, "around": around}
        bounds = {name: value for name, value in given.items() if value is not None}
        request = Request(method="GET", path=f"/history/{target_id}", params={"limit": limit, **bounds})
        return await self._http.call(request, HistoryView)

    async def whole_history(self, target_id: int) -> list[MessageView]:
        """Every message of a conversation in ascending `seq`."""
        return [message async for page in self.history_pages(target_id) for message in page.items]

    async def history_pages(self, target_id: int) -> AsyncIterator[HistoryView]:
        """Iterate over the pages of a conversation in ascending `seq`, loading each on demand."""
        after: int | None = 0
        while after is not None:
            page = await self.history(target_id, after=after, limit=200)
            yield page
            after = page.next

    async def message_receipts(self, message_id: UUID) -> AsyncIterator[MessageReceiptPage]:
        """Iterate over the pages of who has received and read your message; each page also has the counts.

        Raises `ApiError`: `not_the_sender`.
        """
        async for page in self._http.pages(f"/messages/{message_id}/receipts", MessageReceiptPage):
            yield page

    async def conversation_page(self, *, cursor: str | None = None, limit: int = 200) -> ConversationPage:
        """One page of conversations, latest first."""
        params = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        return await self._http.call(Request(method="GET", path="/conversations", params=params), ConversationPage)

    async def conversations(self) -> list[ConversationView]:
        """All conversations, latest first. One that gets a message meanwhile may be missing; the stream reports it."""
        page = await self.conversation_page()
        found = {view.target.id: view for view in page.items}
        while page.next is not None:
            page = await self.conversation_page(cursor=page.next)
            found.update((view.target.id, view) for view in page.items)
        return list(found.values())

    async def update_conversation(
        self,
        target_id: int,
        *,
        muted_until: datetime | UnsetType | None = UNSET,
        pinned: bool | UnsetType = UNSET,
        archived: bool | UnsetType = UNSET,
        expire_after: int | UnsetType | None = UNSET,
    ) -> ConversationView:
        """Change the settings that are passed; `expire_after` is in seconds and applies to all members."""
        # `Moment` is the server's type for times in requests.
        until = cast("Moment | UnsetType | None", muted_until)
        patch = ConversationPatch(muted_until=until, pinned=pinned, archived=archived, expire_after=expire_after)
        request = Request(method="PUT", path=f"/conversations/{target_id}", body=patch)
        return await self._http.call(request, ConversationView)

    async def set_receipt(
        self, target_id: int, *, read_seq: int | None = None, delivered_seq: int | None = None
    ) -> None:
        """Advance your read and delivered receipts; lower values are ignored."""
        draft = ReceiptDraft(target_id=target_id, read_seq=read_seq, delivered_seq=delivered_seq)
        await self._http.response(Request(method="POST", path="/receipts", body=draft))

    async def sync(
        self, cursor: str | None = None, *, limit: int = 50, wait: float = 0.0, patient: bool = True
    ) -> tuple[list[Event], str, bool]:
        """Events after the cursor, the next cursor, and whether more events are available now.

        Waits up to `wait` seconds for an event. `patient=False` makes no retry. Raises `ApiError`: `cursor_expired`.
        """
        params = {"limit": limit, "wait": wait, **({"cursor": cursor} if cursor is not None else {})}
        request = Request(method="GET", path="/sync", params=params, wait=wait, repeatable=patient)
        answer = await self._http.call(request, SyncPage)
        return [event_of(frame) for frame in answer.events], answer.cursor, answer.more

    async def ticket(self) -> TicketView:
        """Get a ticket that opens one socket of this device, for clients that cannot set headers."""
        return await self._http.call(Request(method="POST", path="/ws/ticket"), TicketView)
