"""Conversations: the list, settings, receipts."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from msgspec import UNSET

from messenger.actor import Caller
from messenger.errors import FieldError, NotAContact, PeerNotFound, ValidationFailed
from messenger.events import ConversationUpdated, ReceiptUpdated
from messenger.repositories.addresses import by_target
from messenger.repositories.conversations import ConversationRow, CorruptConversation
from messenger.repositories.group_rows import decode_group
from messenger.schemas.messages import ConversationPage, ConversationPatch, ConversationView, ReceiptDraft
from messenger.schemas.realtime import stream_cursor, unknown_cursor
from messenger.services._groups import change_expiry
from messenger.services._unreadable import Unreadable
from messenger.services._views import conversation_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict

_LATEST = (datetime(9999, 1, 1, tzinfo=UTC), 2**62)


class ConversationService:
    """Lists and changes conversations; the first page of the list, which apps load at start, is one round trip."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, unreadable: Unreadable) -> None:
        self._uow = uow
        self._limiter = limiter
        self._unreadable = unreadable

    async def list_page(self, caller: Caller, *, cursor: str | None, limit: int) -> ConversationPage:
        """The caller's conversations, latest first. Raises `ValidationFailed` for an invalid cursor."""
        before_at, before_id = _LATEST if cursor is None else _decode(cursor)
        async with self._uow.read() as uow:
            rows = await uow.conversations.list_page(caller, before_at=before_at, before_id=before_id, limit=limit + 1)
        found = [row for row in rows if row.conversation_id is not None]
        more = len(found) > limit or bool(found and found[-1].beyond)
        found = [row for row in found[:limit] if not row.beyond]
        return ConversationPage(
            await self._unreadable.shown("conversation", caller, _view, found),
            _encode(found[-1]) if more else None,
            stream_cursor(rows[0].position, rows[0].epoch) if rows else stream_cursor(0),
        )

    async def update(self, caller: Caller, target_id: int, patch: ConversationPatch) -> ConversationView:
        """Change settings. `expire_after` is shared, and requires the right to change it.

        Raises `PeerNotFound`, `NotAContact`, `NotPermitted`.
        """
        await self._limiter.hit_leased("change", caller)
        # Counted before any work, since each outcome reveals whether the user exists.
        await self._limiter.hit_look_up(caller, target_id)
        return await self._update(caller, target_id, patch)

    @retry_on_conflict
    async def _update(self, caller: Caller, target_id: int, patch: ConversationPatch) -> ConversationView:
        async with self._uow() as uow:
            await uow.conversations.open_direct(caller, target_id)
            expire_after = patch.expire_after
            if expire_after is not UNSET and await change_expiry(uow, caller, target_id, expire_after or None):
                expire_after = UNSET
            changed = await uow.conversations.change(
                caller,
                target_id,
                set_muted_until=patch.muted_until is not UNSET,
                muted_until=None if patch.muted_until is UNSET else patch.muted_until,
                pinned=None if patch.pinned is UNSET else patch.pinned,
                archived=None if patch.archived is UNSET else patch.archived,
                set_expire_after=expire_after is not UNSET,
                expire_after=None if expire_after is UNSET else expire_after,
            )
            row = await uow.conversations.find(caller, target_id)
            if changed is None or row is None:
                raise PeerNotFound
            if changed.refused:
                raise NotAContact
            if changed.changed:
                uow.record(ConversationUpdated(target_id), [changed.user_id])
            for address, users in by_target(changed.recipients, changed.targets).items():
                uow.record(ConversationUpdated(address), users)
            if changed.recipients:
                uow.require_rules({changed.user_id: changed.my_rules, target_id: changed.their_rules or 0})
            return _view(row)

    async def receipt(self, caller: Caller, draft: ReceiptDraft) -> None:
        """Advance the caller's receipts; they never move back. Raises `PeerNotFound`, `ValidationFailed`."""
        await self._limiter.hit_leased("change", caller)
        await self._receipt(caller, draft)

    @retry_on_conflict
    async def _receipt(self, caller: Caller, draft: ReceiptDraft) -> None:
        if draft.read_seq is None and draft.delivered_seq is None:
            raise ValidationFailed(
                "read_seq or delivered_seq is required",
                errors=(FieldError("read_seq", "required", "read_seq or delivered_seq is required"),),
            )
        read, delivered = draft.read_seq or 0, draft.delivered_seq or 0
        async with self._uow() as uow:
            row = await uow.conversations.move_receipt(caller, draft.target_id, read=read, delivered=delivered)
            if row is None:
                raise PeerNotFound
            if max(read, delivered) > row.last_seq:
                field = "read_seq" if read > row.last_seq else "delivered_seq"
                raise ValidationFailed(
                    f"the conversation ends at {row.last_seq}",
                    errors=(FieldError(field, "too_large", f"the conversation ends at {row.last_seq}"),),
                )
            if row.moved:
                data = {"user_id": row.user_id, "read_seq": row.read_seq, "delivered_seq": row.delivered_seq}
                count = {"unread": row.unread, "version": row.version}
                uow.record(ReceiptUpdated({"target_id": draft.target_id, **data, **count}), [row.user_id])
                for address, users in by_target(row.recipients, row.targets).items():
                    uow.record(ReceiptUpdated({"target_id": address, **data}), users)
                if row.in_group:
                    uow.announce_receipts([draft.target_id])


def _encode(row: ConversationRow | CorruptConversation) -> str:
    millis = int(row.last_at.timestamp() * 1000)
    return base64.urlsafe_b64encode(f"{millis}.{row.conversation_id}".encode()).rstrip(b"=").decode()


def _decode(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        millis, _, number = text.partition(".")
        if len(text) > 40:
            raise ValueError("too long")
        return datetime.fromtimestamp(int(millis) / 1000, UTC), min(int(number), _LATEST[1])
    except (ValueError, OverflowError, OSError, binascii.Error, UnicodeError):
        raise unknown_cursor() from None


def _view(row: ConversationRow) -> ConversationView:
    group = None if row.group_json is None else decode_group(row.group_json)
    return conversation_view(row.peer, row.membership, row.last_message, group)
