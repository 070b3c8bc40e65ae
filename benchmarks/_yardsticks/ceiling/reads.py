"""The six reads, each of one statement."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec

from _yardsticks.ceiling import sql
from _yardsticks.ceiling.request import HEADERS, Answer, Refused, Request
from _yardsticks.ceiling.sync_sql import SYNC
from _yardsticks.ceiling.wire import (
    Contact,
    Conversation,
    Conversations,
    Event,
    History,
    Message,
    Page,
    Peer,
    Privacy,
    Profile,
    Receipt,
    Status,
    Statuses,
    Sync,
    User,
    at,
    avatar,
    encode,
    message,
    raw_pair,
)

_MAX_SEQ = 2**62
_NO_NOTICES: list[Any] = []
_LATEST = (datetime(9999, 1, 1, tzinfo=UTC), 2**62)


async def profile(request: Request) -> Answer:
    (row,) = await request.fetch(sql.PROFILE)
    (
        stale,
        version,
        user_id,
        username,
        name,
        about,
        status,
        status_text,
        last_activity,
        created_at,
        seen,
        shown,
        messages,
        calls,
        groups,
        receipts,
        forwards,
        key,
        width,
        height,
        placeholder,
    ) = row
    view = Profile(
        user_id,
        username,
        name,
        about,
        avatar(key, width, height, placeholder),
        status,
        status_text,
        at(max(last_activity, request.now) if stale else last_activity),
        at(created_at),
        Privacy(seen, shown, messages, calls, groups, receipts, forwards),
    )
    return 200, encode(view), (*HEADERS, (b"etag", b'"%d"' % version))


async def contacts(request: Request) -> Answer:
    limit = request.limit
    after = request.number("cursor", 0, 0, 10**15)
    rows = await request.fetch(sql.CONTACTS, after, request.query.get("state"), limit + 1)
    items = [
        Contact(User(user_id, username, name, avatar(key, width, height, placeholder)), state, alias, text, at(since))
        for _, user_id, username, name, key, width, height, placeholder, state, alias, text, since in rows[:limit]
        if user_id is not None
    ]
    return 200, encode(Page(items, str(items[-1].user.id) if len(rows) > limit else None)), HEADERS


async def statuses(request: Request) -> Answer:
    limit = request.number("limit", 1000, 1, 1000)
    rows = await request.fetch(sql.STATUSES, request.number("cursor", 0, 0, 10**15), limit + 1)
    items = [
        Status(user_id, status, text, online, seen and at(seen))
        for _, user_id, status, text, online, seen in rows[:limit]
        if user_id is not None
    ]
    return 200, encode(Statuses(items, str(items[-1].user_id) if len(rows) > limit else None)), HEADERS


async def history(request: Request) -> Answer:
    peer = request.path[9:]
    if not peer.isdigit():
        raise Refused(404, "not_found")
    target, limit = int(peer), request.limit
    before, after = request.number("before", _MAX_SEQ, 0, 2**53), request.number("after", -1, 0, 2**53)
    forwards = after >= 0
    statement = sql.HISTORY_AFTER if forwards else sql.HISTORY_BEFORE
    rows = await request.fetch(statement, target, max(after, 0), before, limit + 1)
    _, last_seq, unread = rows[0][:3]
    if last_seq is None:
        raise Refused(404, "peer_not_found")
    now = request.now
    if unread is not None and unread > last_seq:
        unread = None
    items = [message(target, row[3:], now) for row in rows if row[3] is not None]
    more = len(items) > limit
    if forwards:
        items = items[:limit]
        return 200, encode(History(items, items[-1].seq if more else None, last_seq, unread, _NO_NOTICES)), HEADERS
    items = items[-limit:]
    return 200, encode(History(items, items[0].seq if more else None, last_seq, unread, _NO_NOTICES)), HEADERS


async def conversations(request: Request) -> Answer:
    limit = request.limit
    cursor = request.query.get("cursor")
    rows = await request.fetch(sql.CONVERSATIONS, *(_place(cursor) if cursor else _LATEST), limit + 1)
    now, items = request.now, []
    for row in rows[:limit] if rows[0][2] is not None else ():
        _, _, _, _, peer, username, name, key, width, height, placeholder, last_seq, read_seq = row[:13]
        muted, pinned, archived, expire_after, other_read, other_delivered, pair = row[13:20]
        target, group = raw_pair(pair) if pair else (None, None)
        items.append(
            Conversation(
                target or Peer(peer, "user", username, name, avatar(key, width, height, placeholder)),
                message(peer, row[20:], now) if row[20] is not None else None,
                last_seq,
                read_seq,
                max(0, last_seq - read_seq),
                last_seq + read_seq,
                muted and at(muted),
                pinned,
                archived,
                expire_after,
                group,
                Receipt(other_read, other_delivered) if other_read is not None else None,
            )
        )
    following = _cursor(rows[limit - 1]) if len(rows) > limit else None
    return 200, encode(Conversations(items, following, f"e{rows[0][1]}")), HEADERS


def _cursor(row: Any) -> str:
    text = f"{int(row[3].timestamp() * 1000)}.{row[2]}"
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _place(cursor: str) -> tuple[datetime, int]:
    try:
        millis, _, number = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(".")
        return datetime.fromtimestamp(int(millis) / 1000, UTC), int(number)
    except ValueError:
        raise Refused(400, "validation_failed") from None


async def sync(request: Request) -> Answer:
    limit, cursor = request.limit, request.query.get("cursor", f"e{_MAX_SEQ}")
    if cursor[0] != "e" or not cursor[1:].isdigit():
        raise Refused(400, "validation_failed")
    after, now = int(cursor[1:]), request.now
    rows = await request.fetch(SYNC, after, limit)
    head = rows[0][1]
    if "cursor" not in request.query:
        return 200, encode(Sync([], f"e{head}", False)), HEADERS
    events: list[Event] = []
    end = after
    for row in rows if rows[0][3] is not None else ():
        _, _, _, position, name, moment, payload, target = row[:8]
        end += 1
        if position != end:
            raise Refused(410, "cursor_expired")
        data: Message | msgspec.Raw = message(target, row[8:], now) if payload is None else msgspec.Raw(payload)
        events.append(Event("event", f"e{position}", name, at(moment), data))
    if end == after != head:
        raise Refused(410, "cursor_expired")
    return 200, encode(Sync(events, f"e{end}", end < head)), HEADERS
