"""SQL that several statements share: pages, edges, avatars, statuses."""

from __future__ import annotations

# With its last message of at most 64 KiB, a page is at most 1 MiB. A damaged page, of which each row is read
# separately, is not limited.
PAGE_BYTES = 1024 * 1024 - 64 * 1024
UNBOUNDED = 2**40


def bytes_before(message: str, order: str, *, but: int = 0) -> str:
    """The total size of the bodies before a row in its page, without the last `but` ones.

    PostgreSQL knows a body's size without reading it.
    """
    return (
        f"coalesce(sum(octet_length({message}.body)) OVER "
        f"(ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND {but + 1} PRECEDING), 0)"
    )


# With LATERAL and LIMIT 1, the row is found by its complete key. In a plain join, the planner overestimates the part of
# the key that depends on the actor, and reads all rows with the other part: the contacts of all users with `u`.
def edge(name: str, owner: str, target: str) -> str:
    """The join for one edge of the contact list, from the SQL of both users' IDs."""
    return f"""LEFT JOIN LATERAL (
            SELECT e.state FROM contacts AS e WHERE e.owner_id = {owner} AND e.target_id = {target} LIMIT 1
        ) AS {name} ON true"""


# An avatar is visible to everyone or to mutual contacts. Needs: `u` its owner, `c` the reader's edge to `u`.
AVATAR_OF_CONTACT = """LEFT JOIN avatars AS a ON a.key = u.avatar_key AND (
            u.privacy_avatar = 'everyone' OR (u.privacy_avatar = 'contacts' AND c.state = 'mutual')
        )"""


def shows_receipts(owner: str, viewer: str, state: str) -> str:
    """Whether `owner` lets `viewer` know how far they have read, by the SQL of both users' rows and of an edge's state.

    A block in either direction hides receipts. Users who hide their own do not learn those of others.
    """
    return f"""{viewer}.privacy_receipts IS DISTINCT FROM 'nobody' AND (
                (coalesce({owner}.privacy_receipts, 'contacts') = 'contacts' AND {state} = 'mutual')
                OR ({owner}.privacy_receipts = 'everyone' AND NOT EXISTS (
                    SELECT FROM contacts AS b WHERE b.state = 'blocked' AND (
                        (b.owner_id = {owner}.id AND b.target_id = {viewer}.id)
                        OR (b.owner_id = {viewer}.id AND b.target_id = {owner}.id)
                    )
                ))
            )"""


# How far the other side of a 1:1, the user `u`, has got in a conversation, if `u` shows it.
OTHER_SIDE_COLUMNS = "other.read_seq AS other_read_seq, other.delivered_seq AS other_delivered_seq"


def other_side(conversation: str, state: str) -> str:
    """The join for OTHER_SIDE_COLUMNS, by the SQL of the conversation's id and of the reader's edge to `u`.

    Needs `reader`, the row of the actor.
    """
    return f"""LEFT JOIN LATERAL (
            SELECT o.read_seq, o.delivered_seq FROM members AS o
            WHERE o.conversation_id = {conversation} AND o.user_id = u.id
                AND {shows_receipts("u", "reader", state)} LIMIT 1
        ) AS other ON true"""


# This uses the database's clock: hosts' clocks differ, and workers would consider each other dead.
def live_connection(column: str, value: str) -> str:
    """Whether a socket is open on a live worker, by a column of `connections` and the SQL of its value."""
    return f"""EXISTS (
            SELECT FROM connections AS o JOIN workers AS w ON w.id = o.worker_id
            WHERE o.{column} = {value} AND w.seen_at > clock_timestamp() - interval '30 seconds'
        )"""


# Whether `u` has an open socket.
CONNECTED = live_connection("user_id", "u.id")

# The database history that stream positions belong to.
EPOCH = "(SELECT x.epoch FROM stream_epoch AS x)"

# Whether the connections of `u` are hidden from everyone.
HIDDEN = "(u.privacy_last_seen = 'nobody' OR u.invisible_since IS NOT NULL)"

# The status of the user `u` as a mutual contact sees it: `status`, `status_text`, `online`, `last_activity`. An
# invisible user looks like one who went offline at that time. Must agree with `policies.shown_status`, `is_online` and
# `shown_activity`.
STATUS_COLUMNS = f"""CASE u.status WHEN 'invisible' THEN 'online' ELSE u.status END AS status, u.status_text,
        NOT {HIDDEN} AND {CONNECTED} AS online,
        CASE WHEN u.privacy_last_seen <> 'nobody' THEN coalesce(u.invisible_since, u.last_activity) END
            AS last_activity"""
