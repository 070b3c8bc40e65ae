"""Messages: sending, reading back, editing, deleting, history."""

from __future__ import annotations

import hashlib
from typing import Literal
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.clock import new_id
from messenger.database import TransientConflict
from messenger.errors import (
    CannotTargetSelf,
    ClientIdReused,
    FieldError,
    MessageNotFound,
    MessageTooLarge,
    NotAContact,
    PeerNotFound,
    ValidationFailed,
)
from messenger.events import MessageCreated, MessageDeleted, MessageEdited, WakeUp
from messenger.policies import ensure_not_deleted, ensure_sender
from messenger.repositories.messages import MAX_SEQ, SentRow
from messenger.schemas._types import timestamp, timestamp_or_none
from messenger.schemas._views import message_view
from messenger.schemas.messages import MAX_BODY_BYTES, HistoryView, MessageDraft, MessagePatch, MessageView
from messenger.unit_of_work import UnitOfWorkFactory, repeated


class MessageService:
    """Sending is one statement where the two have talked before; a page of history is one always."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def send(self, caller: Caller, draft: MessageDraft) -> tuple[MessageView, bool]:
        """The message, and whether it is new; the same `client_id` gives the first one, for ever.

        Raises `PeerNotFound`, `NotAContact`, `ClientIdReused`, `MessageTooLarge`, `MessageNotFound` (`reply_to`).
        """
        _ensure_fits(draft.body)
        sent = await self._send(caller, draft)
        if sent is None:
            # The first message of a pair: the conversation is made in a command of its own, which may happen twice.
            async with self._uow.command() as uow:
                await uow.conversations.open_direct(caller, draft.target_id)
            sent = await self._send(caller, draft)
        if sent is None:
            raise PeerNotFound
        return sent

    @repeated
    async def _send(self, caller: Caller, draft: MessageDraft) -> tuple[MessageView, bool] | None:
        message_id, fingerprint = new_id(), _fingerprint(draft)
        async with self._uow.command() as uow:
            row = await uow.messages.send(
                caller,
                id=message_id,
                target=draft.target_id,
                client_id=draft.client_id,
                fingerprint=fingerprint,
                kind=draft.kind,
                body=draft.body,
                reply_to=draft.reply_to,
                forwarded_from=draft.forwarded_from,
                mentions=draft.mentions,
            )
            if row.outcome == "unopened":
                return None
            if row.outcome == "repeated" and row.earlier_id is not None:
                if row.earlier_fingerprint != fingerprint:
                    raise ClientIdReused
                earlier = await uow.messages.find(caller, row.earlier_id)
                if earlier is None:
                    raise MessageNotFound
                return message_view(earlier.id, earlier), False
            _ensure_sent(row, draft.target_id)
            view = _sent_view(message_id, draft, row)
            uow.recorded(_wake_ups(row, view, timestamp(uow.run.now)))
            return view, True

    async def get(self, caller: Caller, message_id: UUID) -> MessageView:
        """One message. Raises `MessageNotFound`."""
        async with self._uow.read() as uow:
            row = await uow.messages.find(caller, message_id)
        if row is None:
            raise MessageNotFound
        return message_view(row.id, row)

    @repeated
    async def edit(self, caller: Caller, message_id: UUID, patch: MessagePatch) -> MessageView:
        """Replace the text. Raises `MessageNotFound`, `NotTheSender`, `NotAContact`, `MessageIsDeleted`."""
        _ensure_fits(patch.body)
        async with self._uow() as uow:
            seen = await uow.messages.find(caller, message_id)
            if seen is None or uow.run.actor is None:
                raise MessageNotFound
            ensure_sender(seen.sender_id, uow.run.actor.user_id)
            locked = await uow.messages.lock(message_id)
            if locked.sender_blocked:
                # Else an old message would be a way to write to someone who doesn't want to hear.
                raise NotAContact
            ensure_not_deleted(seen.deleted_at)
            if not await uow.messages.edit(message_id, patch.body):
                ensure_not_deleted(uow.run.now)
            uow.record(MessageEdited(message_id), locked.members)
            changed = await uow.messages.find(caller, message_id)
            if changed is None:
                raise MessageNotFound
            return message_view(changed.id, changed)

    @repeated
    async def delete(self, caller: Caller, message_id: UUID, *, who: Literal["everyone", "me"]) -> None:
        """Empty it for everyone (its sender), or hide it from oneself. Raises `MessageNotFound`, `NotTheSender`."""
        async with self._uow() as uow:
            seen = await uow.messages.find(caller, message_id)
            if seen is None or uow.run.actor is None:
                raise MessageNotFound
            me = uow.run.actor.user_id
            if who == "me":
                if await uow.messages.hide(me, message_id):
                    uow.record(MessageDeleted(message_id), [me])
                return
            ensure_sender(seen.sender_id, me)
            locked = await uow.messages.lock(message_id)
            if await uow.messages.erase(message_id):
                uow.record(MessageDeleted(message_id), locked.members)

    async def history(
        self, caller: Caller, target_id: int, *, before: int | None, after: int | None, limit: int
    ) -> HistoryView:
        """A page of a conversation, ascending; the latest without `before` and `after`. Raises `PeerNotFound`."""
        if before is not None and after is not None:
            raise ValidationFailed(
                "before and after don't go together",
                errors=(FieldError("after", "conflicting", "give either before or after"),),
            )
        async with self._uow.read() as uow:
            if after is None:
                at = MAX_SEQ if before is None else before
                rows = await uow.messages.list_before(caller, target_id, before=at, limit=limit + 1)
            else:
                rows = await uow.messages.list_after(caller, target_id, after=after, limit=limit + 1)
        if not rows:
            raise PeerNotFound
        items = [message_view(row.id, row) for row in rows if row.id is not None]
        more = len(items) > limit
        if after is None:
            items = items[-limit:]
            return HistoryView(items, items[0].seq if more else None, rows[0].last_seq)
        items = items[:limit]
        return HistoryView(items, items[-1].seq if more else None, rows[0].last_seq)


def _ensure_fits(body: str) -> None:
    if len(body) > MAX_BODY_BYTES or len(body.encode()) > MAX_BODY_BYTES:
        raise MessageTooLarge


def _ensure_sent(row: SentRow, target_id: int) -> None:
    """Turn an outcome that is a refusal into its error."""
    if row.outcome == "sent" and row.seq is not None:
        return
    if row.sender_id == target_id:
        raise CannotTargetSelf
    if row.outcome == "forbidden":
        raise NotAContact
    if row.outcome == "misplaced":
        raise MessageNotFound("reply_to is no message of this conversation")
    if row.outcome == "unknown":
        raise PeerNotFound
    raise TransientConflict(row.outcome)


def _fingerprint(draft: MessageDraft) -> bytes:
    """128 bits of what the client asked for; not of its own id.

    It is compared for ever, so its parts never change: a new field joins at the end, and only where it is given.
    """
    asked = [draft.target_id, draft.kind, draft.body, draft.reply_to, draft.forwarded_from, draft.mentions]
    return hashlib.sha256(msgspec.json.encode(asked)).digest()[:16]


def _wake_ups(row: SentRow, view: MessageView, at: str) -> list[WakeUp]:
    """What each side's devices are told, at hand already: a socket of this process costs no read."""
    shown = {row.sender_id: view, view.target_id: msgspec.structs.replace(view, target_id=row.sender_id)}
    return [
        WakeUp(user, position, MessageCreated.name, shown.get(user), at)
        for user, position in zip(row.told, row.positions, strict=True)
    ]


def _sent_view(message_id: UUID, draft: MessageDraft, row: SentRow) -> MessageView:
    assert row.seq is not None
    assert row.created_at is not None
    return MessageView(
        message_id,
        draft.client_id,
        draft.target_id,
        row.sender_id,
        row.sender_device_id,
        row.seq,
        draft.kind,
        draft.body,
        None,
        [],
        draft.reply_to,
        draft.forwarded_from,
        draft.mentions,
        [],
        timestamp(row.created_at),
        None,
        None,
        timestamp_or_none(row.expires_at),
    )
