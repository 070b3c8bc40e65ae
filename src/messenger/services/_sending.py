"""Sending: one statement where the two have talked before, and what comes together shares it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET

from messenger.actor import Bearer, Caller
from messenger.clock import new_id
from messenger.errors import (
    CannotTargetSelf,
    ClientIdReused,
    ConcurrentUpdate,
    MessageNotFound,
    MessengerError,
    NotAContact,
    PeerNotFound,
    Unauthenticated,
)
from messenger.events import MessageCreated, WakeUp
from messenger.limits import LIMITS
from messenger.repositories.sending import SentRow
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.schemas.types import timestamp, timestamp_or_none
from messenger.services._group_commit import GroupCommit, RowsBusy, RunAlone
from messenger.services._views import message_view
from messenger.services.rate_limits import RateLimiter, rate_limited
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict


class _Outgoing(NamedTuple):
    """A message on its way in."""

    caller: Caller
    draft: MessageDraft
    body: str | None
    id: UUID
    fingerprint: bytes


_TOO_SOON = {"hasty": "message", "insistent": "message_to"}


class _Unopened(NamedTuple):
    """The two have no conversation yet."""

    sender_id: int


_Sent = tuple[MessageView, bool] | _Unopened
"""The message, and whether it is new."""


class Sender:
    """`lanes`: how many sending statements may run at the same time; messages that arrive meanwhile share the next."""

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, *, lanes: int) -> None:
        self._uow = uow
        self._limiter = limiter
        self._limits = limiter.send_parameters()
        # A statement looks its callers up by their tokens or by their devices: a batch is of one kind.
        self._by_token = self._group_commit(lanes)
        self._by_device = self._group_commit(lanes)

    def _group_commit(self, lanes: int) -> GroupCommit[_Outgoing, _Sent]:
        patiently = functools.partial(self._send_alone, waits=True)
        return GroupCommit(self._send_alone, self._send_together, patiently, lanes=lanes)

    async def send(self, caller: Caller, draft: MessageDraft) -> tuple[MessageView, bool]:
        """As `MessageService.send`, for a text that fits."""
        batches = self._by_token if isinstance(caller, Bearer) else self._by_device
        body = draft.body if draft.body is not UNSET else None
        outgoing = _Outgoing(caller, draft, body, new_id(), _fingerprint(draft, body))
        line = caller, draft.target_id
        try:
            sent = await batches.run(outgoing, draft.target_id, line)
            if isinstance(sent, _Unopened):
                await self._open(caller, sent.sender_id, draft.target_id)
                sent = await batches.run(outgoing, draft.target_id, line)
            if isinstance(sent, _Unopened):
                raise PeerNotFound
        except (PeerNotFound, NotAContact):
            await self._limiter.hit_look_up(caller, draft.target_id)
            raise
        return sent

    async def _open(self, caller: Caller, sender_id: int, target_id: int) -> None:
        """The first message of a pair: the conversation is made in a command of its own, which may happen twice."""
        await self._limiter.hit("conversation", sender_id)
        async with self._uow.command() as uow:
            await uow.conversations.open_direct(caller, target_id)

    @retry_on_conflict
    async def _send_alone(self, outgoing: _Outgoing, *, waits: bool = False) -> _Sent:
        caller, draft, body, message_id, fingerprint = outgoing
        async with self._uow.command() as uow:
            row = await uow.messages.send(
                caller,
                waits=waits,
                id=message_id,
                target=draft.target_id,
                client_id=draft.client_id,
                fingerprint=fingerprint,
                kind=draft.kind,
                body=body,
                reply_to=draft.reply_to,
                forwarded_from=draft.forwarded_from,
                mentions=draft.mentions,
                **self._limits,
            )
            if row.outcome == "unopened":
                return _Unopened(row.sender_id)
            if row.outcome == "repeated" and row.earlier_id is not None:
                if row.earlier_fingerprint != fingerprint:
                    raise ClientIdReused
                earlier = await uow.messages.find(caller, row.earlier_id)
                if earlier is None:
                    raise MessageNotFound
                return message_view(earlier), False
            if row.outcome != "busy":
                return self._deliver(uow, outgoing, row)
        raise RowsBusy

    async def _send_together(self, batch: Sequence[_Outgoing]) -> list[_Sent | Exception]:
        drafts = [outgoing.draft for outgoing in batch]
        async with self._uow.command() as uow:
            rows = await uow.messages.send_all(
                [outgoing.caller for outgoing in batch],
                self._limits,
                ids=[outgoing.id for outgoing in batch],
                targets=[draft.target_id for draft in drafts],
                client_ids=[draft.client_id for draft in drafts],
                fingerprints=[outgoing.fingerprint for outgoing in batch],
                kinds=[draft.kind for draft in drafts],
                bodies=[outgoing.body for outgoing in batch],
                reply_tos=[draft.reply_to for draft in drafts],
                forwarded_froms=[draft.forwarded_from for draft in drafts],
                mentions=[f"{{{','.join(map(str, draft.mentions))}}}" for draft in drafts],
            )
            return [self._outcome(uow, outgoing, row) for outgoing, row in zip(batch, rows, strict=True)]

    def _outcome(self, uow: UnitOfWork, outgoing: _Outgoing, row: SentRow | None) -> _Sent | Exception:
        if row is None:
            return Unauthenticated()
        if row.outcome == "unopened":
            return _Unopened(row.sender_id)
        if row.outcome == "busy":
            return RowsBusy()
        if row.outcome in {"repeated", "alone"}:
            # It has to be read, or counted one by one; that is seldom.
            return RunAlone()
        try:
            return self._deliver(uow, outgoing, row)
        except (MessengerError, ConcurrentUpdate) as refusal:
            return refusal if isinstance(refusal, MessengerError) else RunAlone()

    def _deliver(self, uow: UnitOfWork, outgoing: _Outgoing, row: SentRow) -> tuple[MessageView, bool]:
        _ensure_sent(row, outgoing.draft.target_id)
        view = _sent_view(outgoing, row)
        uow.announce(_wake_ups(row, view, timestamp(uow.now)))
        return view, True


def _ensure_sent(row: SentRow, target_id: int) -> None:
    """Turn an outcome that is a refusal into its error."""
    if row.outcome == "sent" and row.seq is not None:
        return
    if row.sender_id == target_id:
        raise CannotTargetSelf
    if row.outcome == "forbidden":
        raise NotAContact
    if row.outcome == "misplaced":
        raise MessageNotFound("reply_to is not a message of this conversation")
    if row.outcome == "unreadable":
        raise MessageNotFound("forwarded_from is not a message that you can read")
    if row.outcome == "unknown":
        raise PeerNotFound
    if row.outcome in _TOO_SOON:
        raise rate_limited(LIMITS[_TOO_SOON[row.outcome]], row.wait or 0.0)
    raise ConcurrentUpdate(row.outcome)


def _fingerprint(draft: MessageDraft, body: str | None) -> bytes:
    """128 bits of what the client asked for; not of its own id.

    It is compared for ever, so its parts never change: a new field joins at the end, and only where it is given.
    """
    asked = [draft.target_id, draft.kind, body, draft.reply_to, draft.forwarded_from, draft.mentions]
    return hashlib.sha256(msgspec.json.encode(asked)).digest()[:16]


def _wake_ups(row: SentRow, view: MessageView, at: str) -> list[WakeUp]:
    """What each side's devices are told, at hand already: a socket of this process costs no read."""
    shown = {row.sender_id: view, view.target_id: msgspec.structs.replace(view, target_id=row.sender_id)}
    return [
        WakeUp(user, position, MessageCreated.name, shown.get(user), at)
        for user, position in zip(row.told, row.positions, strict=True)
    ]


def _sent_view(outgoing: _Outgoing, row: SentRow) -> MessageView:
    assert row.seq is not None
    assert row.created_at is not None
    draft = outgoing.draft
    return MessageView(
        outgoing.id,
        draft.client_id,
        draft.target_id,
        row.sender_id,
        row.sender_device_id,
        row.seq,
        draft.kind,
        outgoing.body or row.body,
        None,
        [],
        draft.reply_to,
        draft.forwarded_from,
        row.mentioned,
        [],
        timestamp(row.created_at),
        None,
        None,
        timestamp_or_none(row.expires_at),
    )
