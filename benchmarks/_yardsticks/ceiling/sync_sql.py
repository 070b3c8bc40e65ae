"""The ceiling's page of a stream: messages as columns, and what is rare as JSON that PostgreSQL makes of its row.

That keeps a page of a hundred messages at twenty columns; one row for every kind of event has more than fifty.
"""

from __future__ import annotations

from _yardsticks.ceiling.sql import ACTOR, HIDDEN, MESSAGE_COLUMNS


def _at(column: str) -> str:
    return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


_GONE = f"m.deleted_at IS NOT NULL OR {HIDDEN} IS NOT NULL OR m.expires_at <= $2"
_MESSAGE_JSON = f"""CASE WHEN m.id IS NOT NULL THEN json_build_object(
    'id', m.id, 'client_id', m.client_id, 'target_id', own.target_id, 'sender_id', m.sender_id,
    'sender_device_id', m.sender_device_id, 'seq', m.seq, 'kind', m.kind,
    'body', CASE WHEN ({_GONE}) IS NOT TRUE THEN m.body END, 'envelopes', NULL, 'attachments', '[]'::json,
    'reply_to', m.reply_to, 'forwarded_from', m.forwarded_from,
    'mentions', CASE WHEN ({_GONE}) IS NOT TRUE THEN m.mentions ELSE '{{}}' END, 'reactions', '[]'::json,
    'created_at', {_at("m.created_at")}, 'edited_at', {_at("m.edited_at")},
    'deleted_at', CASE WHEN {_GONE} THEN {_at(f"coalesce(m.deleted_at, {HIDDEN}, m.expires_at)")} END,
    'expires_at', {_at("m.expires_at")}) END"""
_AVATAR_JSON = """CASE WHEN a.key IS NOT NULL THEN json_build_object('key', a.key, 'url', '/avatars/' || a.key,
    'thumb_url', '/avatars/' || a.key || '_thumb', 'width', a.width, 'height', a.height,
    'placeholder', a.placeholder) END"""
_USER_JSON = f"json_build_object('id', u.id, 'username', u.username, 'name', u.name, 'avatar', {_AVATAR_JSON})"
# Needs: `page`, `actor`.
_PEER = """users AS u
    LEFT JOIN contacts AS mine ON mine.owner_id = actor.user_id AND mine.target_id = u.id
    LEFT JOIN avatars AS a ON a.key = u.avatar_key AND (u.id = actor.user_id OR u.privacy_avatar = 'everyone'
        OR (u.privacy_avatar = 'contacts' AND mine.state = 'mutual'))"""

_CONTACT = f"""SELECT json_build_object('target_id', u.id, 'user', {_USER_JSON}, 'state', page.payload -> 'state',
    'alias', page.payload -> 'alias', 'message', page.payload -> 'message', 'since', page.payload -> 'since')
FROM {_PEER} WHERE u.id = page.peer_id"""

_CONVERSATION = f"""SELECT json_build_object('target', {_USER_JSON}, 'last_message', {_MESSAGE_JSON},
    'last_seq', c.last_seq, 'read_seq', own.read_seq, 'unread', greatest(0, c.last_seq - own.read_seq),
    'version', c.last_seq + own.read_seq, 'muted_until', {_at("own.muted_until")}, 'pinned', own.pinned,
    'archived', own.archived, 'expire_after', c.expire_after,
    'target_receipt', CASE WHEN other.user_id IS NOT NULL THEN json_build_object(
        'read_seq', other.read_seq, 'delivered_seq', other.delivered_seq) END)
FROM {_PEER}
    JOIN members AS own ON own.user_id = actor.user_id AND own.target_id = u.id
    JOIN conversations AS c ON c.id = own.conversation_id
    LEFT JOIN members AS other ON other.conversation_id = c.id AND other.user_id = u.id AND mine.state = 'mutual'
    LEFT JOIN messages AS m ON m.conversation_id = c.id AND m.seq = c.last_seq
WHERE u.id = page.peer_id"""

_SEEN = """((u.privacy_last_seen = 'everyone' OR (u.privacy_last_seen = 'contacts' AND mine.state = 'mutual'))
    AND theirs.state IS DISTINCT FROM 'blocked')"""
_PROFILE = f"""SELECT CASE WHEN u.id = actor.user_id THEN json_build_object(
    'id', u.id, 'username', u.username, 'name', u.name, 'about', u.about, 'avatar', {_AVATAR_JSON},
    'status', u.status, 'status_text', u.status_text, 'last_activity', {_at("u.last_activity")},
    'created_at', {_at("u.created_at")}, 'privacy', json_build_object(
        'last_seen', u.privacy_last_seen, 'avatar', u.privacy_avatar, 'messages_from', u.privacy_messages_from,
        'calls_from', u.privacy_calls_from, 'groups_from', u.privacy_groups_from))
ELSE json_build_object(
    'id', u.id, 'username', u.username, 'name', u.name, 'avatar', {_AVATAR_JSON}, 'about', u.about,
    'status', CASE WHEN mine.state = 'mutual' THEN CASE u.status WHEN 'invisible' THEN 'online' ELSE u.status END END,
    'status_text', CASE WHEN mine.state = 'mutual' THEN u.status_text END,
    'online', {_SEEN} IS TRUE AND u.invisible_since IS NULL AND EXISTS (
        SELECT FROM connections AS o JOIN workers AS w ON w.id = o.worker_id
        WHERE o.user_id = u.id AND w.seen_at > clock_timestamp() - interval '30 seconds'),
    'last_activity', CASE WHEN {_SEEN} THEN {_at("coalesce(u.invisible_since, u.last_activity)")} END,
    'contact', coalesce(mine.state, 'none')) END
FROM {_PEER} LEFT JOIN contacts AS theirs ON theirs.owner_id = u.id AND theirs.target_id = actor.user_id
WHERE u.id = page.peer_id"""

# $3 after which position, $4 how many.
SYNC = f"""
WITH {ACTOR},
page AS (
    SELECT e.* FROM actor JOIN events AS e ON e.user_id = actor.user_id
    WHERE e.position > $3::bigint ORDER BY e.position LIMIT $4
)
SELECT actor.stale, s.position, s.taken, page.position, page.name, page.at,
    CASE page.name
        WHEN 'receipt.updated' THEN '{{"unread": null, "version": null}}'::jsonb || page.payload
        WHEN 'contact.updated' THEN ({_CONTACT})::jsonb
        WHEN 'conversation.updated' THEN ({_CONVERSATION})::jsonb
        WHEN 'profile.updated' THEN ({_PROFILE})::jsonb
        WHEN 'device.added' THEN page.payload
        WHEN 'device.removed' THEN page.payload
    END,
    me.target_id, {MESSAGE_COLUMNS}
FROM actor JOIN streams AS s ON s.user_id = actor.user_id
LEFT JOIN page ON true
LEFT JOIN messages AS m ON m.id = page.subject
LEFT JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = actor.user_id
ORDER BY page.position
"""
