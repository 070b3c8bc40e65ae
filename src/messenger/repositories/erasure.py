"""Erasure: removes the data of an account, in a fixed order."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.database.runner import Runner
from messenger.database.statements import Statement
from messenger.errors import ConcurrentUpdate
from messenger.events import ContactUpdated
from messenger.repositories.usernames import KEPT_FOR

EDGES_AT_ONCE = 256
"""Edges in each direction that one statement removes; the streams of their owners are locked until the commit."""
_ROWS_AT_ONCE = 5000
"""Other rows of each table that one statement removes."""

# Messages that others have are kept, with a nameless user as their sender; the ID is not reused. The devices are
# removed first, in the lock order of a write to the safe: the device, then the user's row. The account's usernames stay
# reserved for a while. A fan-out removes the rows that are too many for one transaction.
_ERASE: Statement[Any] = Statement(
    "users.erase",
    f"""
    WITH signed_out AS (DELETE FROM devices WHERE user_id = :id RETURNING id),
    rest AS (
        INSERT INTO fan_outs (user_id, name, wanted, due) VALUES (:id, '{ContactUpdated.name}', true, :now)
        ON CONFLICT DO NOTHING
    ),
    kept AS (
        INSERT INTO released_usernames (digest, owner_id, kept_until)
        SELECT :username_digest::bytea, NULL, :kept_until FROM users WHERE id = :id AND username_key = :username_key
        ON CONFLICT (digest) DO UPDATE SET owner_id = NULL, kept_until = excluded.kept_until
    ),
    uninvited AS (DELETE FROM group_invitations WHERE user_id = :id),
    unasked AS (DELETE FROM group_requests WHERE user_id = :id),
    disowned AS (
        UPDATE released_usernames SET owner_id = NULL WHERE owner_id = :id AND digest <> :username_digest::bytea
    )
    UPDATE users SET username = NULL, username_key = NULL, name = 'Deleted account', about = '', status = 'online',
        status_text = '', invisible_since = NULL, avatar_key = NULL, password_hash = NULL, deleted_at = :now,
        privacy_last_seen = 'nobody', version = version + 1
    WHERE id = :id AND deleted_at IS NULL AND username_key = :username_key
        AND (SELECT count(*) FROM signed_out) >= 0
    """,
    writes=True,
)


class ForgottenRow(msgspec.Struct, frozen=True):
    """The number of removed rows, and the users who had the account as a contact; 0 and empty at the end."""

    count: int
    owners: list[int]


# A separate statement, since the one above may have waited for a request that was writing, and a statement only sees
# what was committed before it began. Edges in both directions are removed: the account's own, and those to it.
_FORGET = Statement(
    "users.forget",
    f"""
    WITH forgotten AS (
        DELETE FROM contacts AS e USING (
            (SELECT owner_id, target_id FROM contacts WHERE owner_id = :id ORDER BY target_id LIMIT {EDGES_AT_ONCE})
            UNION ALL
            (SELECT owner_id, target_id FROM contacts WHERE target_id = :id LIMIT {EDGES_AT_ONCE})
        ) AS old
        WHERE e.owner_id = old.owner_id AND e.target_id = old.target_id RETURNING e.owner_id
    ),
    emptied AS (DELETE FROM secrets WHERE user_id = :id RETURNING 1),
    unfamiliar AS (DELETE FROM familiar_addresses WHERE user_id = :id),
    unhidden AS (
        DELETE FROM hidden_messages AS h USING (
            SELECT user_id, message_id FROM hidden_messages WHERE user_id = :id LIMIT {_ROWS_AT_ONCE}
        ) AS old WHERE h.user_id = old.user_id AND h.message_id = old.message_id RETURNING 1
    ),
    removed AS (
        DELETE FROM events AS e USING (
            SELECT user_id, position FROM events WHERE user_id = :id ORDER BY position LIMIT {_ROWS_AT_ONCE}
        ) AS old WHERE e.user_id = old.user_id AND e.position = old.position RETURNING 1
    )
    SELECT (SELECT count(*) FROM forgotten) + (SELECT count(*) FROM emptied) + (SELECT count(*) FROM unhidden)
        + (SELECT count(*) FROM removed) AS count,
        ARRAY(SELECT owner_id FROM forgotten WHERE owner_id <> :id) AS owners
    """,
    ForgottenRow,
    writes=True,
)


async def erase_account(run: Runner, user_id: int, username_key: str, username_digest: bytes) -> ForgottenRow:
    """Sign out all devices, remove name, texts and password, and begin to remove the account's own rows.

    There are two statements, since the second sees the changes of transactions for which the first has waited.
    """
    name = {"username_key": username_key, "username_digest": username_digest, "kept_until": run.now + KEPT_FOR}
    if not await run.execute(_ERASE, id=user_id, **name):
        raise ConcurrentUpdate("the account was renamed or erased meanwhile")
    return await forget_account(run, user_id)


async def forget_account(run: Runner, user_id: int) -> ForgottenRow:
    """Remove a batch of an erased account's edges, safe, events and hidden messages."""
    row = await run.first(_FORGET, id=user_id)
    assert row is not None
    return row
