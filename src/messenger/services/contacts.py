"""Contacts: two edges, changed together; statuses of those with whom it is mutual."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
from msgspec import UNSET

from messenger.actor import Caller
from messenger.clock import Clock
from messenger.errors import CannotTargetSelf, PeerNotFound
from messenger.events import ContactUpdated
from messenger.models import Edges
from messenger.policies import (
    after_answer,
    after_block,
    after_subscribe,
    after_unblock,
    after_unsubscribe,
    is_online,
    shown_activity,
    shown_status,
)
from messenger.repositories.contacts import ContactRow, StatusRow
from messenger.schemas._text import clean_name
from messenger.schemas._types import AnyContactState, ContactState, StatusName, timestamp
from messenger.schemas._views import avatar_view
from messenger.schemas.users import (
    AliasDraft,
    ConfirmDraft,
    ContactPage,
    ContactView,
    RelationView,
    StatusesView,
    StatusView,
    SubscribeDraft,
    UserView,
)
from messenger.services._gate import Gate, Once, earlier_answer, keep_answer
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, repeated

Step = Callable[[Edges], Edges]


class ContactService:
    """Every change locks both peers, the lower number first, so that two users' steps come one after the other."""

    def __init__(self, uow: UnitOfWorkFactory, clock: Clock, gate: Gate) -> None:
        self._uow = uow
        self._clock = clock
        self._gate = gate

    async def list_page(self, caller: Caller, *, state: ContactState | None, after: int, limit: int) -> ContactPage:
        """One's contacts by ascending number."""
        async with self._uow.read() as uow:
            rows = await uow.contacts.list_page(caller, state=state, after=after, limit=limit + 1)
        items = [contact_view(row) for row in rows[:limit]]
        return ContactPage(items, str(items[-1].user.id) if len(rows) > limit else None)

    async def statuses(self, caller: Caller) -> StatusesView:
        """How one's mutual contacts are, as far as each shows it."""
        async with self._uow.read() as uow:
            rows = await uow.contacts.list_statuses(caller)
        now = self._clock.now()
        return StatusesView([_status(row, is_online(row.last_activity, row.invisible_since, now)) for row in rows])

    async def subscribe(self, caller: Caller, draft: SubscribeDraft, *, once: Once | None = None) -> RelationView:
        """Ask for mutual contact; repeating it changes nothing. Raises `PeerNotFound`, `ContactBlocked`."""
        await self._count(caller, draft.target_id)
        return await self._change(caller, draft.target_id, after_subscribe, message=draft.message, once=once)

    async def confirm(self, caller: Caller, draft: ConfirmDraft, *, once: Once | None = None) -> RelationView:
        """Answer a request. Raises `PeerNotFound`, `NoPendingRequest`."""

        def answer(edges: Edges) -> Edges:
            return after_answer(edges, accept=draft.accept)

        return await self._change(caller, draft.target_id, answer, once=once)

    async def unsubscribe(self, caller: Caller, target_id: int) -> RelationView:
        """End a contact, take back a request or decline one. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_unsubscribe)

    async def block(self, caller: Caller, target_id: int) -> RelationView:
        """Block. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_block)

    async def unblock(self, caller: Caller, target_id: int) -> RelationView:
        """Take a block back. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_unblock)

    @repeated
    async def set_alias(self, caller: Caller, target_id: int, draft: AliasDraft) -> ContactView:
        """Name a contact for oneself. Raises `PeerNotFound`."""
        given = draft.alias is not UNSET
        alias = clean_name(draft.alias, field="alias") if isinstance(draft.alias, str) else None
        async with self._uow() as uow:
            owner_id = await uow.contacts.set_alias(caller, target_id, alias, given=given)
            row = await uow.contacts.find(owner_id, target_id) if owner_id is not None else None
            if owner_id is None or row is None:
                raise PeerNotFound("this user is not in your contacts")
            view = contact_view(row)
            if given:
                uow.record(ContactUpdated(msgspec.to_builtins(view)), [owner_id])
            return view

    async def _count(self, caller: Caller, target_id: int) -> None:
        async with self._uow.read() as uow:
            asked = await uow.users.find_person(caller, target_id=target_id)
            actor = uow.run.actor
        assert actor is not None
        await self._gate.take("subscribe", actor.user_id)
        # The receiver's limit counts what is new to them: who repeats a request takes nothing from other askers.
        if asked is not None and asked.mine is None:
            await self._gate.take("subscribed_to", target_id)

    @repeated
    async def _change(
        self, caller: Caller, target_id: int, step: Step, *, message: str | None = None, once: Once | None = None
    ) -> RelationView:
        async with self._uow() as uow:
            me = await uow.contacts.lock_pair(caller, target_id)
            earlier = await earlier_answer(uow, me, once, RelationView)
            if earlier is not None:
                return earlier
            if me == target_id:
                raise CannotTargetSelf
            before = await uow.contacts.edges(me, target_id)
            if before is None:
                raise PeerNotFound
            after = step(before)
            if after != before:
                await uow.contacts.set_edges(me, target_id, after, message=message)
                await _tell(uow, me, target_id, before.mine, after.mine)
                await _tell(uow, target_id, me, before.theirs, after.theirs)
            view = RelationView(target_id, cast(AnyContactState, after.mine or "none"))
            await keep_answer(uow, me, once, view)
            return view


async def _tell(uow: UnitOfWork, owner_id: int, target_id: int, before: str | None, after: str | None) -> None:
    """One side's event, where that side changed."""
    if before == after:
        return
    row = await uow.contacts.find(owner_id, target_id)
    data = msgspec.to_builtins(contact_view(row)) if row else {"target_id": target_id, "state": "none"}
    uow.record(ContactUpdated(data), [owner_id])


def contact_view(row: ContactRow) -> ContactView:
    """A contact as its owner sees it."""
    user = UserView(row.target_id, row.username, row.name, avatar_view(row))
    return ContactView(user, cast(ContactState, row.state), row.alias, row.message, timestamp(row.since))


def _status(row: StatusRow, online: bool) -> StatusView:
    seen = row.privacy_last_seen != "nobody"
    return StatusView(
        row.user_id,
        cast(StatusName, shown_status(row.status)),
        row.status_text,
        seen and online,
        timestamp(shown_activity(row.last_activity, row.invisible_since)) if seen else None,
    )
