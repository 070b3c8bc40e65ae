"""A group as a row: the one place that lists its columns."""

from __future__ import annotations

from datetime import datetime

import msgspec

from messenger.repositories.user_rows import AVATAR_COLUMNS, AvatarRow


class GroupRow(msgspec.Struct, frozen=True, gc=False):
    """A group, with the reader's membership, which begins at `rank`; NULL for readers who are not members.

    `slow_until`: when the slow mode next allows the reader a message.
    """

    group_id: int
    group_name: str
    about: str
    member_count: int
    group_version: int
    owner_id: int | None
    encrypted: bool
    protected: bool
    large: bool
    post_rank: int
    attach_rank: int
    poll_rank: int
    react_rank: int
    thread_rank: int
    pin_rank: int
    mention_all_rank: int
    invite_rank: int
    link_rank: int
    info_rank: int
    history: str
    slow_mode: int
    notices: str
    members_visible: str
    reactions_allowed: list[str] | None
    reactions_per_user: int
    edit_window: int | None
    delete_window: int | None
    edit_history: str
    group_expire_after: int | None
    group_created_at: datetime
    avatar: AvatarRow | None
    rank: int | None
    title: str | None
    joined_at: datetime | None
    visible_from: int | None
    silenced_until: datetime | None
    slow_until: datetime | None


# Needs: `g` the group, `c` its conversation, `me` the reader's membership.
_COLUMNS = """g.id AS group_id, g.name AS group_name, g.about, g.member_count, c.version AS group_version,
        (SELECT o.user_id FROM members AS o WHERE o.conversation_id = c.id AND o.rank = 3) AS owner_id, g.encrypted,
        g.protected, g.large, g.post_rank, g.attach_rank, g.poll_rank, g.react_rank, g.thread_rank, g.pin_rank,
        g.mention_all_rank, g.invite_rank, g.link_rank, g.info_rank, g.history, g.slow_mode, g.notices,
        g.members_visible, g.reactions_allowed, g.reactions_per_user, g.edit_window, g.delete_window, g.edit_history,
        c.expire_after AS group_expire_after, g.created_at AS group_created_at, {avatar}, me.rank, me.title,
        me.joined_at, me.visible_from,
        CASE WHEN me.silenced_until > :now THEN me.silenced_until END AS silenced_until,
        CASE WHEN g.slow_mode > 0 AND me.rank = 0 AND me.sent_at + g.slow_mode * interval '1 second' > :now
            THEN me.sent_at + g.slow_mode * interval '1 second' END AS slow_until"""

# The columns of a `GroupRow`. Needs what `_COLUMNS` needs, and `picture` by GROUP_JOINS.
GROUP_AVATAR_COLUMNS = AVATAR_COLUMNS.replace("a.", "picture.")
GROUP_COLUMNS = _COLUMNS.format(avatar=GROUP_AVATAR_COLUMNS)

GROUP_JOINS = "LEFT JOIN avatars AS picture ON picture.key = g.avatar_key"

_AVATAR_OBJECT = "(SELECT image FROM (SELECT {}) AS image WHERE picture.key IS NOT NULL) AS avatar"


def group_json(member: str) -> str:
    """The SQL of a `GroupRow` as JSON, from the SQL of the reader's membership; NULL for a 1:1.

    Most conversations are 1:1: one column that is NULL costs them less than forty.
    """
    columns = _COLUMNS.format(avatar=_AVATAR_OBJECT.format(GROUP_AVATAR_COLUMNS))
    return f"""(SELECT row_to_json(shown) FROM (
            SELECT {columns.replace("me.", f"{member}.")}
            FROM groups AS g JOIN conversations AS c ON c.peer_id = g.id {GROUP_JOINS}
            WHERE {member}.rank IS NOT NULL AND g.id = {member}.target_id
        ) AS shown)"""


decode_group = msgspec.json.Decoder(GroupRow).decode
