"""The ceiling's page of a stream: messages as columns, and what is rare as JSON that PostgreSQL makes of its row.

That keeps a page of a hundred messages at twenty columns; one row for every kind of event has more than fifty.
"""

from __future__ import annotations

from _yardsticks.ceiling.group_sql import AVATAR_JSON, GROUP, at
from _yardsticks.ceiling.sql import ACTOR, HIDDEN, MESSAGE_COLUMNS, shows_receipts

_GONE = f"m.deleted_at IS NOT NULL OR {HIDDEN} IS NOT NULL OR m.expires_at <= $2"
_MESSAGE_JSON = f"""CASE WHEN m.id IS NOT NULL THEN json_build_object(
    'id', m.id, 'client_id', m.client_id, 'target_id', me.target_id, 'sender_id', m.sender_id,
    'sender_device_id', m.sender_device_id, 'seq', m.seq, 'kind', m.kind,
    'body', CASE WHEN ({_GONE}) IS NOT TRUE THEN m.body END, 'envelopes', NULL, 'attachments', '[]'::json,
    'reply_to', m.reply_to, 'forwarded_from', m.forwarded_from,
    'mentions', CASE WHEN ({_GONE}) IS NOT TRUE THEN m.mentions ELSE '{{}}' END, 'reactions', '[]'::json,
    'created_at', {at("m.created_at")}, 'edited_at', {at("m.edited_at")},
    'deleted_at', CASE WHEN {_GONE} THEN {at(f"coalesce(m.deleted_at, {HIDDEN}, m.expires_at)")} END,
    'deleted_by', m.deleted_by,
    'expires_at', {at("m.expires_at")}) END"""
_USER_JSON = f"json_build_object('id', u.id, 'username', u.username, 'name', u.name, 'avatar', {AVATAR_JSON})"
# Needs: `page`, `actor`.
_PEER = """users AS u
    LEFT JOIN contacts AS mine ON mine.owner_id = actor.user_id AND mine.target_id = u.id
    LEFT JOIN avatars AS a ON a.key = u.avatar_key AND (u.id = actor.user_id OR u.privacy_avatar = 'everyone'
        OR (u.privacy_avatar = 'contacts' AND mine.state = 'mutual'))"""

_CONTACT = f"""SELECT json_build_object('target_id', u.id, 'user', {_USER_JSON}, 'state', page.payload -> 'state',
    'alias', page.payload -> 'alias', 'message', page.payload -> 'message', 'since', page.payload -> 'since')
FROM {_PEER} WHERE u.id = page.peer_id"""

_PEER_JSON = f"""json_build_object('id', u.id, 'kind', 'user', 'username', u.username, 'name', u.name,
    'avatar', {AVATAR_JSON})"""

_CONVERSATION = f"""SELECT json_build_object(
    'target', coalesce(pair -> 0, {_PEER_JSON}), 'last_message', {_MESSAGE_JSON},
    'last_seq', c.last_seq, 'read_seq', me.read_seq, 'unread', greatest(0, c.last_seq - me.read_seq),
    'version', c.last_seq + me.read_seq, 'muted_until', {at("me.muted_until")}, 'pinned', me.pinned,
    'archived', me.archived, 'expire_after', c.expire_after, 'group', pair -> 1,
    'target_receipt', CASE WHEN other.user_id IS NOT NULL THEN json_build_object(
        'read_seq', other.read_seq, 'delivered_seq', other.delivered_seq) END)
FROM members AS me JOIN conversations AS c ON c.id = me.conversation_id
    JOIN users AS reader ON reader.id = me.user_id
    CROSS JOIN LATERAL (SELECT {GROUP} AS pair) AS about
    LEFT JOIN ({_PEER}) ON u.id = me.target_id
    LEFT JOIN members AS other ON other.conversation_id = c.id AND other.user_id = u.id
        AND {shows_receipts("mine.state")}
    LEFT JOIN messages AS m ON m.conversation_id = c.id AND m.seq = c.last_seq AND m.seq >= me.visible_from
WHERE me.user_id = actor.user_id AND me.target_id = page.peer_id"""

_SEEN = """((u.privacy_last_seen = 'everyone' OR (u.privacy_last_seen = 'contacts' AND mine.state = 'mutual'))
    AND theirs.state IS DISTINCT FROM 'blocked')"""
_PROFILE = f"""SELECT CASE WHEN u.id = actor.user_id THEN json_build_object(
    'id', u.id, 'username', u.username, 'name', u.name, 'about', u.about, 'avatar', {AVATAR_JSON},
    'status', u.status, 'status_text', u.status_text, 'last_activity', {at("u.last_activity")},
    'created_at', {at("u.created_at")}, 'privacy', json_build_object(
        'last_seen', u.privacy_last_seen, 'avatar', u.privacy_avatar, 'messages_from', u.privacy_messages_from,
        'calls_from', u.privacy_calls_from, 'groups_from', u.privacy_groups_from,
        'receipts', coalesce(u.privacy_receipts, 'contacts'), 'forwards', u.privacy_forwards))
ELSE json_build_object(
    'id', u.id, 'username', u.username, 'name', u.name, 'avatar', {AVATAR_JSON}, 'about', u.about,
    'status', CASE WHEN mine.state = 'mutual' THEN CASE u.status WHEN 'invisible' THEN 'online' ELSE u.status END END,
    'status_text', CASE WHEN mine.state = 'mutual' THEN u.status_text END,
    'online', {_SEEN} IS TRUE AND u.invisible_since IS NULL AND EXISTS (
        SELECT FROM connections AS o JOIN workers AS w ON w.id = o.worker_id
        WHERE o.user_id = u.id AND w.seen_at > clock_timestamp() - interval '30 seconds'),
    'last_activity', CASE WHEN {_SEEN} THEN {at("coalesce(u.invisible_since, u.last_activity)")} END,
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
