"""Sending: one statement per message, or one for several messages that arrive at the same time."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET

from messenger.actor import Bearer, Caller
from messenger.clock import new_id
from messenger.errors import (
    CannotTargetSelf,
    ClientIdReused,
    MessageNotFound,
    MessengerError,
    NotAContact,
    PeerNotFound,
    Unauthenticated,
)
from messenger.errors.groups import MustBeEncrypted, Muted, NotPermitted, SlowMode
from messenger.events import MessageCreated, WakeUp
from messenger.limits import LIMITS
from messenger.repositories.message_rows import MessageRow, OutgoingMessage
from messenger.repositories.sending import SentMessage, SentRow
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.schemas.types import timestamp
from messenger.services._group_commit import GroupCommit, RowsBusy, RunAlone
from messenger.services._views import message_view
from messenger.services.rate_limits import RateLimiter, rate_limited
from messenger.unit_of_work import UnitOfWork, UnitOfWorkFactory, retry_on_conflict

_Outgoing = tuple[Caller, OutgoingMessage]
"""A message with its sender."""


class _Unopened(NamedTuple):
    """The outcome of the first message between two users, who have no conversation yet."""

    sender_id: int


_Sent = tuple[MessageView, bool] | _Unopened
"""The message, and whether it is new."""


class Sender:
    """Sends messages by group commit.

    `lanes`: how many sending statements may run at the same time; messages that arrive meanwhile share the next one.
    """

    def __init__(self, uow: UnitOfWorkFactory, limiter: RateLimiter, *, lanes: int) -> None:
        self._uow = uow
        self._limiter = limiter
        self._limits = limiter.send_parameters()
        # A statement looks up its callers either by token or by device, so these two kinds are not mixed in a batch.
        self._by_token = self._group_commit(lanes)
        self._by_device = self._group_commit(lanes)

    def _group_commit(self, lanes: int) -> GroupCommit[_Outgoing, _Sent]:
        patiently = functools.partial(self._send_one, wait=True)
        return GroupCommit(self._send_one, self._send_several, patiently, lanes=lanes)

    async def send(self, caller: Caller, draft: MessageDraft) -> tuple[MessageView, bool]:
        """Like `MessageService.send`, for a text whose size was checked."""
        batches = self._by_token if isinstance(caller, Bearer) else self._by_device
        outgoing = caller, _message(draft)
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
        """Create the conversation for the first message, in a separate command; repeating it is harmless."""
        await self._limiter.hit("conversation", sender_id)
        async with self._uow.command() as uow:
            await uow.conversations.open_direct(caller, target_id)

    @retry_on_conflict
    async def _send_one(self, outgoing: _Outgoing, *, wait: bool = False) -> _Sent:
        caller, message = outgoing
        async with self._uow.command() as uow:
            row = await uow.messages.send(caller, message, self._limits, wait=wait)
            if row.earlier_id is not None:
                return await _earlier(uow, caller, message, row, row.earlier_id)
            if row.outcome != "busy":
                outcome = _outcome(uow, message, row)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
        raise RowsBusy

    async def _send_several(
        self, batch: Sequence[_Outgoing], on_committed: Callable[[], None]
    ) -> list[_Sent | Exception]:
        callers, messages = zip(*batch, strict=True)
        async with self._uow.command() as uow:
            rows = await uow.messages.send_several(callers, messages, self._limits)
            on_committed()
            # Let the next batch start before the outcomes of this one are prepared.
            await asyncio.sleep(0)
            return [_outcome(uow, message, row) for message, row in zip(messages, rows, strict=True)]


async def _earlier(uow: UnitOfWork, caller: Caller, message: OutgoingMessage, row: SentRow, earlier_id: UUID) -> _Sent:
    """The first message with the same `client_id`. Raises `ClientIdReused` if its content differs."""
    if row.earlier_fingerprint != message.fingerprint:
        raise ClientIdReused
    earlier = await uow.messages.find(caller, earlier_id)
    if earlier is None:
        raise MessageNotFound
    return message_view(earlier), False


def _outcome(uow: UnitOfWork, message: OutgoingMessage, row: SentRow | None) -> _Sent | Exception:
    if row is None:
        return Unauthenticated()
    if row.sent is not None:
        view = message_view(_sent(message, row, row.sent))
        uow.announce(_wake_ups(row.sent, view, timestamp(uow.now)))
        return view, True
    if row.outcome == "no_conversation":
        return _Unopened(row.sender_id)
    return _refusal(row, message.target_id, uow.now)


def _refusal(row: SentRow, target_id: int, now: datetime) -> Exception:
    """The error for a message that is not sent."""
    if row.outcome == "busy":
        return RowsBusy()
    if row.outcome in {"repeated", "retry_singly"}:
        # Read the earlier message, or count the limits message by message.
        return RunAlone()
    if row.sender_id == target_id:
        return CannotTargetSelf()
    reason, _, limit = row.outcome.partition(":")
    if reason == "over_limit":
        return rate_limited(LIMITS[limit], row.wait or 0.0)
    if row.until is not None and reason in _TIMED:
        return _TIMED[reason](row.until, now)
    return _REFUSALS[reason]()


_TIMED: dict[str, Callable[[datetime, datetime], MessengerError]] = {
    "muted": lambda until, _: Muted.until(until),
    "slow_mode": lambda until, now: SlowMode.until(until, now),
}

_REFUSALS: dict[str, Callable[[], MessengerError]] = {
    "no_peer": PeerNotFound,
    "forbidden": NotAContact,
    "not_permitted": functools.partial(NotPermitted, extra={"permission": "post"}),
    "must_be_encrypted": MustBeEncrypted,
    "protected": functools.partial(NotPermitted, extra={"permission": "forward"}),
    "bad_reply_to": functools.partial(MessageNotFound, "reply_to is not a message of this conversation"),
    "bad_forwarded_from": functools.partial(MessageNotFound, "forwarded_from is not a message that you can read"),
}


def _message(draft: MessageDraft) -> OutgoingMessage:
    body = draft.body if draft.body is not UNSET else None
    return OutgoingMessage(
        id=new_id(),
        target_id=draft.target_id,
        client_id=draft.client_id,
        fingerprint=_fingerprint(draft, body),
        kind=draft.kind,
        body=body,
        reply_to=draft.reply_to,
        forwarded_from=draft.forwarded_from,
        mentions=draft.mentions,
    )


def _fingerprint(draft: MessageDraft, body: str | None) -> bytes:
    """A 128-bit hash of the request without the `client_id`.

    Fingerprints are stored permanently, so the hashed fields must not change. Append a new field, only if it is set.
    """
    asked = [draft.target_id, draft.kind, body, draft.reply_to, draft.forwarded_from, draft.mentions]
    return hashlib.sha256(msgspec.json.encode(asked)).digest()[:16]


def _wake_ups(sent: SentMessage, view: MessageView, at: str) -> list[WakeUp]:
    """A wake-up for each member, with the message as that member sees it, so that sockets here need not read it."""
    views = {view.target_id: view}
    for target in sent.targets:
        if target not in views:
            views[target] = msgspec.structs.replace(view, target_id=target)
    return [
        WakeUp(user, position, MessageCreated.name, views[target], at)
        for user, target, position in zip(sent.recipients, sent.targets, sent.positions, strict=True)
    ]


def _sent(message: OutgoingMessage, row: SentRow, sent: SentMessage) -> MessageRow:
    """The message as its sender sees it."""
    return MessageRow(
        id=message.id,
        client_id=message.client_id,
        target_id=message.target_id,
        sender_id=row.sender_id,
        sender_device_id=row.sender_device_id,
        seq=sent.seq,
        kind=message.kind,
        body=message.body or sent.body,
        reply_to=message.reply_to,
        forwarded_from=message.forwarded_from,
        mentions=sent.mentioned,
        created_at=sent.created_at,
        edited_at=None,
        deleted_at=None,
        deleted_by=None,
        expires_at=sent.expires_at,
    )
