"""Messages: sending, editing, deleting, and the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from msgspec import UNSET

from messenger.actor import Caller
from messenger.errors import (
    FieldError,
    MessageNotFound,
    MessageTooLarge,
    MessengerError,
    NotAContact,
    NotTheSender,
    PeerNotFound,
    ValidationFailed,
)
from messenger.errors.groups import Muted
from messenger.events import MessageDeleted, MessageEdited
from messenger.policies import ensure_not_deleted, ensure_sender
from messenger.policies.groups import ensure_deletes
from messenger.repositories.message_rows import MessageRow
from messenger.repositories.messages import MAX_SEQ, CorruptMessage, HistoryRow, LockedMessage
from messenger.schemas.groups import NoticeView
from messenger.schemas.messages import (
    MAX_BODY_BYTES,
    HistoryView,
    MessageDraft,
    MessagePatch,
    MessageReceiptPage,
    MessageView,
)
from messenger.schemas.text import ensure_visible_text
from messenger.services._gone import record_gone
from messenger.services._group_views import notice_view
from messenger.services._receipt_views import receipt_page
from messenger.services._sending import Sender
from messenger.services._unreadable import Unreadable
from messenger.services._views import message_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class MessageService:
    """Sending in an existing conversation is one statement, and so is a page of history.

    `lanes`: how many sending statements run at the same time; messages that arrive meanwhile share the next one.
    """

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, unreadable: Unreadable, *, lanes: int = 4) -> None:
        self._uow = uow
        self._limiter = limiter
        self._unreadable = unreadable
        self._sender = Sender(uow, limiter, lanes=lanes)

    async def send(self, caller: Caller, draft: MessageDraft) -> tuple[MessageView, bool]:
        """The message, and whether it is new; the same `client_id` always returns the first one.

        Raises `PeerNotFound`, `NotAContact`, `ClientIdReused`, `MessageTooLarge`, `RateLimited`; `MessageNotFound`
        (`reply_to`, `forwarded_from`); `ValidationFailed` if there is no text, or both a text and a forwarded message.
        """
        try:
            _ensure_one_text(draft)
        except MessengerError:
            await self._authenticate(caller)
            raise
        return await self._sender.send(caller, draft)

    async def _authenticate(self, caller: Caller) -> None:
        """Verify the token first, so that an invalid one reveals nothing about the body. Raises `Unauthenticated`."""
        async with self._uow.read() as uow:
            await uow.devices.authenticate(caller)

    async def get(self, caller: Caller, message_id: UUID) -> MessageView:
        """One message. Raises `MessageNotFound`."""
        async with self._uow.read() as uow:
            row = await uow.messages.find(caller, message_id)
        if row is None:
            raise MessageNotFound
        return message_view(row)

    async def edit(self, caller: Caller, message_id: UUID, patch: MessagePatch) -> MessageView:
        """Replace the text of the caller's own message.

        Raises `MessageNotFound`, `NotTheSender`, `NotAContact`, `Muted`, `MessageIsDeleted`, `MessageTooLarge`,
        `ValidationFailed` without a visible character.
        """
        try:
            _ensure_fits(patch.body)
        except MessengerError:
            await self._authenticate(caller)
            raise
        await self._limiter.hit_leased("change", caller)
        return await self._edit(caller, message_id, patch)

    @retry_on_conflict
    async def _edit(self, caller: Caller, message_id: UUID, patch: MessagePatch) -> MessageView:
        async with self._uow() as uow:
            seen = await uow.messages.find(caller, message_id)
            if seen is None:
                raise MessageNotFound
            ensure_sender(seen.sender_id, uow.actor.user_id)
            if seen.forwarded_from is not None:
                raise NotTheSender("A forwarded message cannot be edited: its text is not yours")
            locked = await _lock(uow, message_id, seen.sender_id)
            if locked.muted_until is not None:
                raise Muted.until(locked.muted_until)
            if locked.sender_blocked:
                # Otherwise an edit of an old message would reach a user who has blocked the sender.
                raise NotAContact
            ensure_not_deleted(seen.deleted_at)
            if not await uow.messages.edit(message_id, patch.body):
                ensure_not_deleted(uow.now)
            uow.record(MessageEdited(message_id), locked.members)
            if locked.reader_rank is None:
                uow.require_rules(dict(zip(locked.members, locked.rules, strict=True)))
            changed = await uow.messages.find(caller, message_id)
            if changed is None:
                raise MessageNotFound
            return message_view(changed)

    async def delete(self, caller: Caller, message_id: UUID, *, who: Literal["everyone", "me"]) -> None:
        """Empty it for everyone (its sender, or a moderator of the group), or hide it from oneself.

        Raises `MessageNotFound`, `NotTheSender`, `RankTooLow`.
        """
        await self._limiter.hit_leased("change", caller)
        await self._delete(caller, message_id, who)

    @retry_on_conflict
    async def _delete(self, caller: Caller, message_id: UUID, who: Literal["everyone", "me"]) -> None:
        async with self._uow() as uow:
            seen = await uow.messages.find(caller, message_id)
            if seen is None:
                raise MessageNotFound
            me = uow.actor.user_id
            if who == "me":
                hidden = await uow.messages.hide(me, message_id)
                if hidden is not None:
                    uow.record(MessageDeleted(message_id), [me])
                    record_gone(uow, hidden)
                return
            locked = await _lock(uow, message_id, me)
            ensure_deletes(is_sender=seen.sender_id == me, rank=locked.reader_rank, sender_rank=locked.sender_rank)
            erased = await uow.messages.erase(message_id, moderator_id=None if seen.sender_id == me else me)
            if erased is not None:
                uow.record(MessageDeleted(message_id), locked.members)
                record_gone(uow, erased)

    async def receipts(self, caller: Caller, message_id: UUID, *, after: int, limit: int) -> MessageReceiptPage:
        """Who has received and read a message of the caller's, as far as their privacy lets the caller know.

        Raises `MessageNotFound`, `NotTheSender`.
        """
        async with self._uow.read() as uow:
            rows = await uow.message_receipts.list_page(caller, message_id, after=after, limit=limit + 1)
            actor = uow.actor
        if not rows:
            raise MessageNotFound
        ensure_sender(rows[0].sender_id, actor.user_id)
        return receipt_page(rows, limit)

    async def history(
        self,
        caller: Caller,
        target_id: int,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | Literal["unread"] | None = None,
        limit: int,
    ) -> HistoryView:
        """A page of a conversation, ascending; the latest by default.

        `around`: half a page on each side of a number, or of the first unread message. Raises `PeerNotFound`,
        `ValidationFailed` for more than one of `before`, `after` and `around`.
        """
        if (before is not None) + (after is not None) + (around is not None) > 1:
            raise _conflicting_bounds()
        async with self._uow.read() as uow:
            if around is not None:
                middle = await _middle(uow, caller, target_id, around)
                after = max(0, middle - limit // 2 - 1)
            if after is None:
                at = MAX_SEQ if before is None else before
                rows = await uow.messages.list_before(caller, target_id, before=at, limit=limit)
            else:
                rows = await uow.messages.list_after(caller, target_id, after=after, limit=limit)
            # Only a member of a group has a first visible message.
            in_group = rows and rows[0].visible_from is not None
            notices = await _notices(uow, caller, target_id, rows) if in_group else []
        if not rows or not rows[0].last_seq:
            # The response reveals whether there is such a user, so it counts as a look-up.
            await self._limiter.hit_look_up(caller, target_id)
        if not rows:
            raise PeerNotFound
        messages = [row.message for row in rows if row.message is not None]
        items = await self._unreadable.shown("message", caller, message_view, messages)
        page, unread, forward = rows[0], rows[0].first_unread, after is not None and around is None
        if unread is not None and unread > page.last_seq:
            unread = None
        return HistoryView(items, _next(messages, page, forward=forward), page.last_seq, unread, notices)


def _conflicting_bounds() -> ValidationFailed:
    text = "before, after and around cannot be combined"
    return ValidationFailed(text, errors=(FieldError("after", "conflicting", text),))


async def _middle(uow: UnitOfWork, caller: Caller, target_id: int, around: int | Literal["unread"]) -> int:
    """The number that a page is read around; the last one if nothing is unread."""
    if around != "unread":
        return around
    rows = await uow.messages.list_before(caller, target_id, before=MAX_SEQ, limit=1)
    return (rows[0].first_unread or rows[0].last_seq) if rows else 0


async def _notices(
    uow: UnitOfWork, caller: Caller, target_id: int, rows: Sequence[HistoryRow | CorruptMessage]
) -> list[NoticeView]:
    """The notices within a page of a group's history; those before its first visible message belong to that one."""
    if not rows or rows[0].visible_from is None:
        return []
    numbers = [row.seq for row in rows if row.seq is not None]
    start = max(0, rows[0].visible_from - 1)
    first = start if not numbers or numbers[0] <= max(1, rows[0].visible_from) else numbers[0]
    last = numbers[-1] if numbers else rows[0].last_seq
    found = await uow.group_records.list_range(caller, target_id, first=first, last=last)
    return [notice_view(row) for row in found]


def _next(
    messages: Sequence[MessageRow | CorruptMessage], page: HistoryRow | CorruptMessage, *, forward: bool
) -> int | None:
    """Where the next page begins. `seq` has no gaps, so this is known without reading the next page."""
    if not messages:
        return None
    first, last = messages[0].seq, messages[-1].seq
    if forward:
        return last if last < page.last_seq else None
    return first if first > max(1, page.visible_from or 0) else None


async def _lock(uow: UnitOfWork, message_id: UUID, reader_id: int) -> LockedMessage:
    """Lock a message. Raises `MessageNotFound` if the reader has left the group meanwhile."""
    locked = await uow.messages.lock(message_id, reader_id)
    if locked.reader_rank is not None:
        # Behind the lock of the group again: a removal, a mute or another rank may have been first.
        locked = await uow.messages.lock(message_id, reader_id)
    if reader_id not in locked.members:
        raise MessageNotFound
    return locked


def _ensure_one_text(draft: MessageDraft) -> None:
    """Require either the sender's own text or a forwarded message."""
    if draft.body is UNSET:
        if draft.forwarded_from is None:
            raise _body_fault("required", "this field is required")
    elif draft.forwarded_from is not None:
        raise _body_fault("conflicting", "must be left out: the text of the forwarded message is copied")
    else:
        _ensure_fits(draft.body)


def _body_fault(code: str, words: str) -> ValidationFailed:
    return ValidationFailed(f"body: {words}", errors=(FieldError("body", code, words),))


def _ensure_fits(body: str) -> None:
    ensure_visible_text(body)
    # A character has at most four bytes: short texts need no encoding.
    if 4 * len(body) > MAX_BODY_BYTES and (len(body) > MAX_BODY_BYTES or len(body.encode()) > MAX_BODY_BYTES):
        raise MessageTooLarge
