"""Contacts: two edges for each pair, changed together; the statuses of mutual contacts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from msgspec import UNSET

from messenger.actor import Caller
from messenger.errors import CannotTargetSelf, PeerNotFound
from messenger.events import ContactUpdated, ConversationUpdated, GroupInvited
from messenger.models import Edges
from messenger.policies import (
    after_answer,
    after_block,
    after_subscribe,
    after_unblock,
    after_unsubscribe,
)
from messenger.repositories.contacts import ContactRow
from messenger.schemas.text import REQUEST_LENGTH, clean_name, clean_text
from messenger.schemas.types import AnyContactState, ContactState, timestamp
from messenger.schemas.users import (
    MAX_STATUSES,
    AliasDraft,
    ConfirmDraft,
    ContactPage,
    ContactView,
    RelationView,
    StatusesView,
    SubscribeDraft,
)
from messenger.services._unreadable import Unreadable
from messenger.services._views import status_view, user_view
from messenger.services.idempotency import IdempotencyKey, find_response, keep_response
from messenger.services.presence import PresenceAnnouncer
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

Step = Callable[[Edges], Edges]

# Contacts and conversation partners of a disabled user can still remove and block them.
_ENDINGS = frozenset({after_unsubscribe, after_block, after_unblock})


class ContactService:
    """Each change locks both peers, the lower ID first, so that the changes of a pair run one after another."""

    def __init__(
        self, uow: UnitOfWorkFactory, limiter: RateLimiter, unreadable: Unreadable, presence: PresenceAnnouncer
    ) -> None:
        self._uow = uow
        self._limiter = limiter
        self._unreadable = unreadable
        self._presence = presence

    async def list_page(self, caller: Caller, *, state: ContactState | None, after: int, limit: int) -> ContactPage:
        """The caller's contacts by ascending ID."""
        async with self._uow.read() as uow:
            rows = await uow.contacts.list_page(caller, state=state, after=after, limit=limit + 1)
        items = await self._unreadable.shown("contact", caller, contact_view, rows[:limit])
        return ContactPage(items, str(rows[limit - 1].target_id) if len(rows) > limit else None)

    async def statuses(self, caller: Caller, *, after: int = 0, limit: int = MAX_STATUSES) -> StatusesView:
        """A page of the statuses that mutual contacts share, by ascending ID."""
        async with self._uow.read() as uow:
            rows = await uow.statuses.list_page(caller, after=after, limit=limit + 1)
        items = [status_view(row) for row in rows[:limit]]
        return StatusesView(items, str(rows[limit - 1].user_id) if len(rows) > limit else None)

    async def subscribe(
        self, caller: Caller, draft: SubscribeDraft, *, once: IdempotencyKey | None = None
    ) -> RelationView:
        """Request mutual contact; repeating it changes nothing. Raises `PeerNotFound`, `ContactBlocked`."""
        await self._count(caller, draft.target_id)
        message = None
        if draft.message is not None:
            message = clean_text(draft.message, limit=REQUEST_LENGTH, field="message")
        return await self._take(caller, draft.target_id, after_subscribe, message=message, once=once)

    async def confirm(self, caller: Caller, draft: ConfirmDraft, *, once: IdempotencyKey | None = None) -> RelationView:
        """Answer a request. Raises `PeerNotFound`, `NoPendingRequest`."""

        def answer(edges: Edges) -> Edges:
            return after_answer(edges, accept=draft.accept)

        return await self._change(caller, draft.target_id, answer, once=once)

    async def unsubscribe(self, caller: Caller, target_id: int) -> RelationView:
        """End a contact, withdraw a request or decline one. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_unsubscribe)

    async def block(self, caller: Caller, target_id: int) -> RelationView:
        """Block. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_block)

    async def unblock(self, caller: Caller, target_id: int) -> RelationView:
        """Unblock. Raises `PeerNotFound`."""
        return await self._change(caller, target_id, after_unblock)

    async def set_alias(self, caller: Caller, target_id: int, draft: AliasDraft) -> ContactView:
        """Set the caller's alias for a contact. Raises `PeerNotFound`."""
        await self._limiter.hit_leased("change", caller)
        return await self._set_alias(caller, target_id, draft)

    @retry_on_conflict
    async def _set_alias(self, caller: Caller, target_id: int, draft: AliasDraft) -> ContactView:
        given = draft.alias is not UNSET
        alias = clean_name(draft.alias, field="alias") if isinstance(draft.alias, str) else None
        async with self._uow() as uow:
            owner_id = await uow.contacts.set_alias(caller, target_id, alias, given=given)
            row = await uow.contacts.find(owner_id, target_id) if owner_id is not None else None
            if owner_id is None or row is None:
                raise PeerNotFound("This user is not in your contacts")
            if given:
                uow.record(ContactUpdated(target_id, _edge(row)), [owner_id])
            return contact_view(row)

    async def _count(self, caller: Caller, target_id: int) -> None:
        async with self._uow.read() as uow:
            asked = await uow.users.find_person(caller, target_id=target_id)
            actor = uow.actor
        await self._limiter.hit("subscribe", actor.user_id)
        # The same work is done when nothing is counted: for blocked and for unknown users.
        if asked is None or asked.mine is None:
            counts = asked is not None and asked.theirs != "blocked"
            await self._limiter.hit_contact_request(actor.user_id, target_id, counts=counts)

    async def _change(
        self, caller: Caller, target_id: int, step: Step, *, once: IdempotencyKey | None = None
    ) -> RelationView:
        await self._limiter.hit_leased("change", caller)
        # Counted before any work, since each outcome reveals whether the user exists.
        await self._limiter.hit_look_up(caller, target_id)
        return await self._take(caller, target_id, step, once=once)

    async def _take(
        self,
        caller: Caller,
        target_id: int,
        step: Step,
        *,
        message: str | None = None,
        once: IdempotencyKey | None = None,
    ) -> RelationView:
        view, turn = await self._step(caller, target_id, step, message, once)
        if turn is not None and turn.is_mutual != turn.was_mutual:
            announce = self._presence.contact_started if turn.is_mutual else self._presence.contact_ended
            announce(turn.me, target_id)
        return view

    @retry_on_conflict
    async def _step(
        self, caller: Caller, target_id: int, step: Step, message: str | None, once: IdempotencyKey | None
    ) -> tuple[RelationView, _Turn | None]:
        async with self._uow() as uow:
            me = await uow.contacts.lock_pair(caller, target_id)
            earlier = await find_response(uow, me, once, RelationView)
            if earlier is not None:
                return earlier, None
            if me == target_id:
                raise CannotTargetSelf
            pair = await uow.contacts.pair(me, target_id)
            if pair is None or (pair.is_disabled and step not in _ENDINGS):
                raise PeerNotFound
            before = pair.edges
            after = step(before)
            if after != before:
                for group_id in await uow.contacts.set_edges(me, target_id, after, message=message):
                    uow.record(GroupInvited(group_id), [me])
                if after.mine != before.mine:
                    uow.invalidate_rules(me)
                if after.theirs != before.theirs:
                    uow.invalidate_rules(target_id)
                await _tell(uow, me, target_id, before.mine, after.mine)
                # The same statements run for a blocked request, so that the response time does not reveal the block.
                alike = step is after_subscribe
                await _tell(uow, target_id, me, before.theirs, after.theirs, alike=alike)
                if pair.have_talked and (before.mine == "mutual") != (after.mine == "mutual"):
                    # Receipts of the other user are only visible to mutual contacts, and may have advanced meanwhile.
                    uow.record(ConversationUpdated(target_id), [me])
                    uow.record(ConversationUpdated(me), [target_id])
            view = RelationView(target_id, cast(AnyContactState, after.mine or "none"))
            await keep_response(uow, me, once, view)
            return view, _Turn(me, before.mine == "mutual", after.mine == "mutual")


class _Turn(NamedTuple):
    me: int
    was_mutual: bool
    is_mutual: bool


async def _tell(
    uow: UnitOfWork, owner_id: int, target_id: int, before: str | None, after: str | None, *, alike: bool = False
) -> None:
    """Record the event of one side if that side has changed; `alike`: run the same statement even if it has not."""
    if before == after and not alike:
        return
    row = await uow.contacts.find(owner_id, target_id)
    if before != after:
        uow.record(ContactUpdated(target_id, _edge(row) if row else {"state": "none"}), [owner_id])


def _edge(row: ContactRow) -> dict[str, object]:
    """The contact as stored in an event: the owner's settings. The other user's name is read at delivery."""
    return {"state": row.state, "alias": row.alias, "message": row.message, "since": timestamp(row.since)}


def contact_view(row: ContactRow) -> ContactView:
    """A contact as its owner sees it."""
    return ContactView(user_view(row.user), row.state, row.alias, row.message, timestamp(row.since))
