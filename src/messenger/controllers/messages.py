"""Messages, history, conversations, receipts."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from messenger.errors import (
    CannotTargetSelf,
    ClientIdReused,
    MessageIsDeleted,
    MessageNotFound,
    MessageTooLarge,
    NotAContact,
    NotTheSender,
    PeerNotFound,
)
from messenger.errors.groups import MustBeEncrypted, Muted, NotPermitted, RankTooLow, SlowMode
from messenger.schemas.messages import (
    ConversationPage,
    ConversationPatch,
    ConversationView,
    HistoryView,
    MessageDraft,
    MessagePatch,
    MessageReceiptPage,
    MessageView,
    ReceiptDraft,
)
from messenger.web.parameters import IdCursor, PageLimit, PeerPath
from messenger.web.request import WireRequest
from messenger.web.responses import WireResponse
from messenger.web.route_options import authenticated

# The framework omits a bound of 0 from the document unless it is set separately.
AroundQuery = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^([0-9]{1,15}|unread)$",
        description="Half a page on each side of this `seq`, or of the first unread message (`unread`)",
    ),
]
SeqQuery = Annotated[int | None, QueryParameter(ge=0, le=2**53 - 1, schema_extra={"minimum": 0})]


class MessageController(Controller):
    """Messages."""

    tags = ("Messages",)

    @post(
        "/messages",
        operation_id="sendMessage",
        summary="Send a message; repeating a `client_id` returns the first message with 200",
        **authenticated(
            PeerNotFound,
            NotAContact,
            CannotTargetSelf,
            ClientIdReused,
            MessageTooLarge,
            MessageNotFound,
            NotPermitted,
            Muted,
            SlowMode,
            MustBeEncrypted,
            body=True,
            also={200: MessageView},
            fast=True,
        ),
    )
    async def send(self, request: WireRequest, data: JSONBody[MessageDraft]) -> WireResponse[MessageView]:
        message, created = await request.services.messages.send(request.caller, data)
        return WireResponse(message, status_code=201 if created else 200)

    @get(
        "/messages/{message_id:uuid}",
        operation_id="getMessage",
        summary="Get a message",
        **authenticated(MessageNotFound, query=True),
    )
    async def get_message(self, request: WireRequest, message_id: FromPath[UUID]) -> MessageView:
        return await request.services.messages.get(request.caller, message_id)

    @patch(
        "/messages/{message_id:uuid}",
        operation_id="editMessage",
        summary="Edit a message",
        **authenticated(
            MessageNotFound, NotTheSender, NotAContact, Muted, MessageIsDeleted, MessageTooLarge, body=True
        ),
    )
    async def edit(self, request: WireRequest, message_id: FromPath[UUID], data: JSONBody[MessagePatch]) -> MessageView:
        return await request.services.messages.edit(request.caller, message_id, data)

    @delete(
        "/messages/{message_id:uuid}",
        operation_id="deleteMessage",
        summary="Delete a message for everyone or only for yourself",
        **authenticated(MessageNotFound, NotTheSender, RankTooLow, query=True),
    )
    async def delete_message(
        self,
        request: WireRequest,
        message_id: FromPath[UUID],
        who: Annotated[Literal["everyone", "me"], QueryParameter(name="for")] = "everyone",
    ) -> None:
        await request.services.messages.delete(request.caller, message_id, who=who)

    @get(
        "/messages/{message_id:uuid}/receipts",
        operation_id="listMessageReceipts",
        summary="List who has received and read a message of yours",
        **authenticated(MessageNotFound, NotTheSender, query=True),
    )
    async def list_receipts(
        self, request: WireRequest, message_id: FromPath[UUID], limit: PageLimit = 50, cursor: IdCursor = None
    ) -> MessageReceiptPage:
        return await request.services.messages.receipts(request.caller, message_id, after=int(cursor or 0), limit=limit)

    @get(
        "/history/{target_id:int}",
        operation_id="getHistory",
        summary="List messages of a conversation in ascending `seq`; the latest ones by default",
        **authenticated(PeerNotFound, query=True, fast=True),
    )
    async def history(
        self,
        request: WireRequest,
        target_id: PeerPath,
        before: SeqQuery = None,
        after: SeqQuery = None,
        around: AroundQuery = None,
        limit: PageLimit = 50,
    ) -> HistoryView:
        middle: int | Literal["unread"] | None = None
        if around is not None:
            middle = "unread" if around == "unread" else int(around)
        return await request.services.messages.history(
            request.caller, target_id, before=before, after=after, around=middle, limit=limit
        )


class ConversationController(Controller):
    """Conversations."""

    tags = ("Conversations",)

    @get(
        "/conversations",
        operation_id="listConversations",
        summary="List your conversations, most recent first",
        **authenticated(query=True, fast=True),
    )
    async def list_conversations(
        self,
        request: WireRequest,
        limit: PageLimit = 50,
        cursor: Annotated[
            str | None, QueryParameter(min_length=1, max_length=64, description="`next` from the previous page")
        ] = None,
    ) -> ConversationPage:
        return await request.services.conversations.list_page(request.caller, cursor=cursor, limit=limit)

    @put(
        "/conversations/{target_id:int}",
        operation_id="updateConversation",
        summary="Change the settings of a conversation",
        **authenticated(PeerNotFound, NotAContact, NotPermitted, body=True),
    )
    async def update(
        self, request: WireRequest, target_id: PeerPath, data: JSONBody[ConversationPatch]
    ) -> ConversationView:
        return await request.services.conversations.update(request.caller, target_id, data)

    @post(
        "/receipts",
        operation_id="setReceipt",
        status_code=204,
        summary="Advance your read and delivered receipts",
        **authenticated(PeerNotFound, body=True),
    )
    async def receipt(self, request: WireRequest, data: JSONBody[ReceiptDraft]) -> None:
        await request.services.conversations.receipt(request.caller, data)
