"""Sends a message: one statement, and a second one for a repetition, or for the first message of a pair."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from _yardsticks.ceiling import sql
from _yardsticks.ceiling.request import HEADERS, Answer, Refused, Request
from _yardsticks.ceiling.wire import Draft, Message, at, encode, message

MAX_BODY_BYTES = 65536
_NONE: list[Any] = []
_draft = msgspec.json.Decoder(Draft).decode


async def send(request: Request) -> Answer:
    try:
        draft = _draft(request.body)
    except (msgspec.DecodeError, UnicodeError):
        raise Refused(400, "validation_failed") from None
    body = draft.body
    if len(body) > MAX_BODY_BYTES or len(body.encode()) > MAX_BODY_BYTES:
        raise Refused(413, "message_too_large")
    for attempt in range(3):
        try:
            found = await _send(request, draft)
        except asyncpg.UniqueViolationError:
            # A concurrent repetition was stored first; read it now.
            if attempt == 2:
                raise
        else:
            if found is not None:
                return found
            await request.pool.fetch(sql.OPEN, request.token, request.now, draft.target_id)
    raise Refused(404, "peer_not_found")


async def _send(request: Request, draft: Draft) -> Answer | None:
    """The response; None for the first message of a pair, which has no conversation yet."""
    target, client_id, kind, body = draft.target_id, draft.client_id, draft.kind, draft.body
    reply_to, forwarded_from, mentions = draft.reply_to, draft.forwarded_from, draft.mentions
    message_id = uuid7()
    fingerprint = sha256(encode([target, kind, body, reply_to, forwarded_from, mentions])).digest()[:16]
    (
        (_, user, device, known, place, allowed, fits, earlier, first, seq, created_at, expires_at),
    ) = await request.fetch(
        sql.SEND, target, client_id, fingerprint, message_id, kind, body, reply_to, forwarded_from, mentions
    )
    if earlier is not None:
        return await _repeated(request, earlier, first == fingerprint)
    if seq is None:
        if user == target:
            raise Refused(400, "cannot_target_self")
        if known is None:
            raise Refused(404, "peer_not_found")
        if not allowed:
            raise Refused(403, "not_a_contact")
        if place is not None and not fits:
            raise Refused(404, "message_not_found")
        return None
    view = Message(
        message_id,
        client_id,
        target,
        user,
        device,
        seq,
        kind,
        body,
        None,
        _NONE,
        reply_to,
        forwarded_from,
        mentions,
        _NONE,
        at(created_at),
        None,
        None,
        None,
        expires_at and at(expires_at),
    )
    return 201, encode(view), HEADERS


async def _repeated(request: Request, message_id: UUID, same: bool) -> Answer:
    if not same:
        raise Refused(409, "client_id_reused")
    (row,) = await request.fetch(sql.MESSAGE, message_id)
    return 200, encode(message(row[1], row[2:], request.now)), HEADERS
