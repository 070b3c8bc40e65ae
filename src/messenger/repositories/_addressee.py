"""The peer that a request addresses, and the caller's rights there; the same for a user and a group."""

from __future__ import annotations

from collections.abc import Iterable

from messenger.repositories._fragments import edge

# A privacy setting allows all users, mutual contacts, or no one; a block of either user takes precedence.
_ACCEPTS = """mine.state IS DISTINCT FROM 'blocked' AND theirs.state IS DISTINCT FROM 'blocked' AND (
                u.{audience} = 'everyone' OR (u.{audience} = 'contacts' AND mine.state IS NOT DISTINCT FROM 'mutual')
            )"""

# What keeps a member from sending to a group, and until when; NULL if nothing does. Moderators are exempt from the slow
# mode.
_SLOW_UNTIL = "place.sent_at + g.slow_mode * interval '1 second'"
_OBSTACLE = f"""CASE WHEN place.rank < g.post_rank THEN 'not_permitted' WHEN place.silenced_until > :now THEN 'muted'
                WHEN place.rank = 0 AND g.slow_mode > 0 AND {_SLOW_UNTIL} > :now THEN 'slow_mode' END"""
_OBSTACLE_UNTIL = f"CASE WHEN place.silenced_until > :now THEN place.silenced_until ELSE {_SLOW_UNTIL} END"

# What each right needs: of a user, by the contact edges `mine` and `theirs`; of a group, by the member's rank.
_RIGHTS = {
    "may_write": (_ACCEPTS.format(audience="privacy_messages_from"), f"{_OBSTACLE} IS NULL"),
    "may_call": (_ACCEPTS.format(audience="privacy_calls_from"), "true"),
    "may_manage": (_ACCEPTS.format(audience="privacy_messages_from"), "place.rank >= g.info_rank"),
    "obstacle": ("NULL", _OBSTACLE),
    "obstacle_until": ("NULL", _OBSTACLE_UNTIL),
    "slow_mode": ("0", "g.slow_mode"),
    "encrypted": ("false", "g.encrypted"),
}


def addressee(user: str, target: str, *, rights: Iterable[str]) -> str:
    """The join for the peer `target` as `user` addresses it: `addressee`, with a column for each of the `rights`.

    All columns are NULL if there is no such peer, if it is `user`, or if it is a group of which `user` is not a member.
    `id` is NULL for a user who is disabled or erased; the conversation and the rights remain. `conversation_id`, and
    `rank` and `visible_from`, those of `user` in it, are NULL if the two have no conversation; a 1:1 has no ranks.
    `may_write`, `may_call`, `may_manage`: whether `user` may send messages, call, and change the settings that all
    members share. `obstacle`, `obstacle_until`: what keeps a member from sending to a group. `slow_mode`, `encrypted`:
    these settings of a group; 0 and false for a user.

    The kind is known without `peers`: every user has a row in `users`, and only members can address a group.
    """
    columns = "".join(
        f",\n            CASE WHEN u.id IS NULL THEN {of_member} ELSE {of_user} END AS {name}"
        for name, (of_user, of_member) in _RIGHTS.items()
        if name in rights
    )
    # An index is not read for a key that is NULL: a user costs no look-up of a group.
    groups = "LEFT JOIN groups AS g ON g.id = CASE WHEN u.id IS NULL THEN p.id END\n            " if columns else ""
    edges = (
        f"""{edge("mine", user, "u.id")}
            {edge("theirs", "u.id", user)}"""
        if columns
        else ""
    )
    return f"""LEFT JOIN LATERAL (
            SELECT CASE WHEN u.deleted_at IS NULL AND u.disabled_at IS NULL THEN p.id END AS id,
            CASE WHEN u.id IS NULL THEN 'group' ELSE 'user' END AS kind, place.conversation_id, place.rank,
            place.visible_from{columns}
            FROM (SELECT {target} AS id) AS p
            LEFT JOIN users AS u ON u.id = p.id
            LEFT JOIN LATERAL (
                SELECT members.conversation_id, members.rank, members.visible_from, members.silenced_until,
                    members.sent_at
                FROM members WHERE members.user_id = {user} AND members.target_id = p.id LIMIT 1
            ) AS place ON true
            {groups}{edges}
            WHERE p.id <> {user} AND (u.id IS NOT NULL OR place.rank IS NOT NULL) LIMIT 1
        ) AS addressee ON true"""


# The users who receive what the actor sends to the addressee, and how each of them addresses the conversation. A user
# receives it even before the two have a conversation. In a group, nothing passes between users if one has blocked the
# other. Needs: `actor`, `addressee`.
RECIPIENTS = """LEFT JOIN LATERAL (
            SELECT coalesce(array_agg(r.user_id ORDER BY r.user_id), '{}') AS recipients,
                coalesce(array_agg(r.target_id ORDER BY r.user_id), '{}') AS targets
            FROM (
                SELECT addressee.id AS user_id, actor.user_id AS target_id WHERE addressee.kind = 'user'
                UNION ALL SELECT m.user_id, m.target_id FROM members AS m
                WHERE addressee.kind <> 'user' AND m.conversation_id = addressee.conversation_id
                    AND m.user_id <> actor.user_id AND NOT EXISTS (
                        SELECT FROM contacts AS b WHERE b.state = 'blocked' AND (
                            (b.owner_id = actor.user_id AND b.target_id = m.user_id)
                            OR (b.owner_id = m.user_id AND b.target_id = actor.user_id)
                        )
                    )
            ) AS r
        ) AS received ON true"""
