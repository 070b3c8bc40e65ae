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
from messenger.events import MessageDeleted, MessageEdited
from messenger.policies import ensure_not_deleted, ensure_sender
from messenger.repositories.message_rows import MessageRow
from messenger.repositories.messages import MAX_SEQ, CorruptMessage
from messenger.schemas.messages import MAX_BODY_BYTES, HistoryView, MessageDraft, MessagePatch, MessageView
from messenger.schemas.text import ensure_visible_text
from messenger.services._gone import record_gone
from messenger.services._sending import Sender
from messenger.services._unreadable import Unreadable
from messenger.services._views import message_view
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory, retry_on_conflict


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

        Raises `MessageNotFound`, `NotTheSender`, `NotAContact`, `MessageIsDeleted`, `MessageTooLarge`,
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
            locked = await uow.messages.lock(message_id)
            if locked.sender_blocked:
                # Otherwise an edit of an old message would reach a user who has blocked the sender.
                raise NotAContact
            ensure_not_deleted(seen.deleted_at)
            if not await uow.messages.edit(message_id, patch.body):
                ensure_not_deleted(uow.now)
            uow.record(MessageEdited(message_id), locked.members)
            uow.require_rules(dict(zip(locked.members, locked.rules, strict=True)))
            changed = await uow.messages.find(caller, message_id)
            if changed is None:
                raise MessageNotFound
            return message_view(changed)

    async def delete(self, caller: Caller, message_id: UUID, *, who: Literal["everyone", "me"]) -> None:
        """Empty a message for everyone, as its sender, or hide it from the caller.

        Raises `MessageNotFound`, `NotTheSender`.
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
            ensure_sender(seen.sender_id, me)
            locked = await uow.messages.lock(message_id)
            erased = await uow.messages.erase(message_id)
            if erased is not None:
                uow.record(MessageDeleted(message_id), locked.members)
                record_gone(uow, erased)

    async def history(
        self, caller: Caller, target_id: int, *, before: int | None, after: int | None, limit: int
    ) -> HistoryView:
        """A page of a conversation, ascending; the latest without `before` and `after`. Raises `PeerNotFound`."""
        if before is not None and after is not None:
            raise ValidationFailed(
                "before and after cannot be combined",
                errors=(FieldError("after", "conflicting", "before and after cannot be combined"),),
            )
        async with self._uow.read() as uow:
            if after is None:
                at = MAX_SEQ if before is None else before
                rows = await uow.messages.list_before(caller, target_id, before=at, limit=limit)
            else:
                rows = await uow.messages.list_after(caller, target_id, after=after, limit=limit)
        if not rows or not rows[0].last_seq:
            # The response reveals whether there is such a user, so it counts as a look-up.
            await self._limiter.hit_look_up(caller, target_id)
        if not rows:
            raise PeerNotFound
        messages = [row.message for row in rows if row.message is not None]
        items = await self._unreadable.shown("message", caller, message_view, messages)
        return HistoryView(items, _next(messages, rows[0].last_seq, forward=after is not None), rows[0].last_seq)


def _next(messages: Sequence[MessageRow | CorruptMessage], last_seq: int, *, forward: bool) -> int | None:
    """Where the next page begins. `seq` has no gaps, so this is known without reading the next page."""
    if not messages:
        return None
    first, last = messages[0].seq, messages[-1].seq
    if forward:
        return last if last < last_seq else None
    return first if first > 1 else None


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
