"""A group in the ceiling's list of conversations, as JSON that PostgreSQL makes of its row.

That costs a 1:1 one condition, and one column that is NULL.
"""

from __future__ import annotations

_PERMISSIONS = ("post", "attach", "poll", "react", "thread", "pin", "mention_all", "invite", "link", "info")


def at(column: str) -> str:
    """A time as the wire shows it."""
    return f"""to_char({column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def rank(column: str) -> str:
    """The name of a rank."""
    return f"(ARRAY['member', 'moderator', 'admin', 'owner'])[{column} + 1]"


AVATAR_JSON = """CASE WHEN a.key IS NOT NULL THEN json_build_object('key', a.key, 'url', '/avatars/' || a.key,
    'thumb_url', '/avatars/' || a.key || '_thumb', 'width', a.width, 'height', a.height,
    'placeholder', a.placeholder) END"""

_TARGET = (
    f"""json_build_object('id', g.id, 'kind', 'group', 'username', NULL, 'name', g.name, 'avatar', {AVATAR_JSON})"""
)
_SLOW_UNTIL = "me.sent_at + g.slow_mode * interval '1 second'"
_SETTINGS = """json_build_object('history', g.history, 'slow_mode', g.slow_mode, 'notices', g.notices,
        'members_visible', g.members_visible,
        'reactions', json_build_object('allowed', g.reactions_allowed, 'per_user', g.reactions_per_user),
        'edit_window', g.edit_window, 'delete_window', g.delete_window, 'edit_history', g.edit_history,
        'expire_after', gc.expire_after)"""
_ME = f"""json_build_object('membership', 'member', 'role', {rank("me.rank")}, 'title', me.title,
        'joined_at', {at("me.joined_at")}, 'visible_from', me.visible_from,
        'muted_until', CASE WHEN me.silenced_until > $2 THEN {at("me.silenced_until")} END,
        'slow_until', CASE WHEN g.slow_mode > 0 AND me.rank = 0 AND {_SLOW_UNTIL} > $2 THEN {at(_SLOW_UNTIL)} END)"""
_SHOWN = f"""json_build_object('id', g.id, 'kind', 'group', 'name', g.name, 'about', g.about, 'avatar', {AVATAR_JSON},
    'owner_id', (SELECT o.user_id FROM members AS o WHERE o.conversation_id = gc.id AND o.rank = 3),
    'member_count', g.member_count, 'version', gc.version, 'encrypted', g.encrypted, 'protected', g.protected,
    'large', g.large,
    'permissions', json_build_object({", ".join(f"'{name}', {rank(f'g.{name}_rank')}" for name in _PERMISSIONS)}),
    'settings', {_SETTINGS}, 'created_at', {at("g.created_at")}, 'me', {_ME})"""

# Of the membership `me`: the target of the conversation and the group, as an array; NULL in a 1:1.
GROUP = f"""CASE WHEN me.rank IS NOT NULL THEN (
    SELECT json_build_array({_TARGET}, {_SHOWN})
    FROM groups AS g JOIN conversations AS gc ON gc.peer_id = g.id LEFT JOIN avatars AS a ON a.key = g.avatar_key
    WHERE g.id = me.target_id
) END"""
