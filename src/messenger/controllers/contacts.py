"""Contacts and statuses."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get, post, put
from litestar.params import JSONBody, QueryParameter

from messenger.errors import (
    CannotTargetSelf,
    ContactBlocked,
    IdempotencyKeyReused,
    NoPendingRequest,
    PeerNotFound,
    RateLimited,
)
from messenger.schemas.types import ContactState
from messenger.schemas.users import (
    MAX_STATUSES,
    AliasDraft,
    ConfirmDraft,
    ContactPage,
    ContactView,
    RelationView,
    StatusesView,
    SubscribeDraft,
    TargetDraft,
)
from messenger.web.parameters import PageLimit, PeerPath
from messenger.web.request import WireRequest
from messenger.web.route_options import authenticated

CursorQuery = Annotated[
    str | None, QueryParameter(pattern=r"^[0-9]{1,15}$", description="`next` from the previous page")
]


class ContactController(Controller):
    """Contacts and presence."""

    tags = ("Contacts",)

    @get("/contacts", operation_id="listContacts", summary="List your contacts", **authenticated(query=True, fast=True))
    async def list_contacts(
        self,
        request: WireRequest,
        wanted: Annotated[
            ContactState | None, QueryParameter(name="state", description="Only contacts in this state")
        ] = None,
        limit: PageLimit = 50,
        cursor: CursorQuery = None,
    ) -> ContactPage:
        return await request.services.contacts.list_page(
            request.caller, state=wanted, after=int(cursor or 0), limit=limit
        )

    @put(
        "/contacts/{user_id:int}",
        operation_id="setContactAlias",
        summary="Set a private alias for a contact",
        **authenticated(PeerNotFound, body=True),
    )
    async def set_alias(self, request: WireRequest, user_id: PeerPath, data: JSONBody[AliasDraft]) -> ContactView:
        return await request.services.contacts.set_alias(request.caller, user_id, data)

    @post(
        "/subscribe",
        operation_id="subscribe",
        status_code=200,
        summary="Send a contact request",
        **authenticated(PeerNotFound, CannotTargetSelf, ContactBlocked, IdempotencyKeyReused, RateLimited, body=True),
    )
    async def subscribe(self, request: WireRequest, data: JSONBody[SubscribeDraft]) -> RelationView:
        return await request.services.contacts.subscribe(request.caller, data, once=await request.once())

    @post(
        "/confirm_subscribe",
        operation_id="confirmSubscribe",
        status_code=200,
        summary="Accept or decline a contact request",
        **authenticated(PeerNotFound, CannotTargetSelf, NoPendingRequest, IdempotencyKeyReused, body=True),
    )
    async def confirm(self, request: WireRequest, data: JSONBody[ConfirmDraft]) -> RelationView:
        return await request.services.contacts.confirm(request.caller, data, once=await request.once())

    @post(
        "/unsubscribe",
        operation_id="unsubscribe",
        status_code=200,
        summary="Remove a contact or withdraw a contact request",
        **authenticated(PeerNotFound, CannotTargetSelf, body=True),
    )
    async def unsubscribe(self, request: WireRequest, data: JSONBody[TargetDraft]) -> RelationView:
        return await request.services.contacts.unsubscribe(request.caller, data.target_id)

    @post(
        "/block",
        operation_id="block",
        status_code=200,
        summary="Block a user",
        **authenticated(PeerNotFound, CannotTargetSelf, body=True),
    )
    async def block(self, request: WireRequest, data: JSONBody[TargetDraft]) -> RelationView:
        return await request.services.contacts.block(request.caller, data.target_id)

    @post(
        "/unblock",
        operation_id="unblock",
        status_code=200,
        summary="Unblock a user",
        **authenticated(PeerNotFound, CannotTargetSelf, body=True),
    )
    async def unblock(self, request: WireRequest, data: JSONBody[TargetDraft]) -> RelationView:
        return await request.services.contacts.unblock(request.caller, data.target_id)

    @get(
        "/statuses",
        operation_id="listStatuses",
        summary="List the presence of your mutual contacts",
        **authenticated(query=True, fast=True),
    )
    async def statuses(
        self,
        request: WireRequest,
        limit: Annotated[
            int, QueryParameter(ge=1, le=MAX_STATUSES, description="Maximum number of items to return")
        ] = MAX_STATUSES,
        cursor: CursorQuery = None,
    ) -> StatusesView:
        return await request.services.contacts.statuses(request.caller, after=int(cursor or 0), limit=limit)
