"""Erasure: what goes with an account, and in which order."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.database import TransientConflict
from messenger.repositories.usernames import KEPT_FOR
from messenger.statements import Runner, Statement

# What others hold stays, and its author is a user without a name; the number stays taken. The devices go first: a safe
# that is being written holds its device, and then wants the user's row. Usernames it had are nobody's for a while.
_ERASE: Statement[Any] = Statement(
    "users.erase",
    """
    WITH signed_out AS (DELETE FROM devices WHERE user_id = :id RETURNING id),
    kept AS (
        INSERT INTO released_usernames (digest, owner_id, kept_until)
        SELECT :username_digest::bytea, NULL, :kept_until FROM users WHERE id = :id AND username_key = :username_key
        ON CONFLICT (digest) DO UPDATE SET owner_id = NULL, kept_until = excluded.kept_until
    ),
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


class _Acquaintance(msgspec.Struct, frozen=True):
    id: int


# Apart from the above, which may have waited for who was writing here: a statement sees what was there before it began.
_FORGET = Statement(
    "users.forget",
    """
    WITH forgotten AS (DELETE FROM contacts WHERE owner_id = :id OR target_id = :id RETURNING owner_id),
    emptied AS (DELETE FROM secrets WHERE user_id = :id),
    unfamiliar AS (DELETE FROM familiar_addresses WHERE user_id = :id),
    unhidden AS (DELETE FROM hidden_messages WHERE user_id = :id),
    untold AS (DELETE FROM events WHERE user_id = :id)
    SELECT owner_id AS id FROM forgotten WHERE owner_id <> :id
    """,
    _Acquaintance,
    writes=True,
)


async def erase_account(run: Runner, user_id: int, username_key: str, username_digest: bytes) -> list[int]:
    """Take away all that is the account's alone; whose lists held it. Two statements: the second sees what the first
    has waited for.
    """
    name = {"username_key": username_key, "username_digest": username_digest, "kept_until": run.now + KEPT_FOR}
    if not await run.execute(_ERASE, id=user_id, **name):
        raise TransientConflict("the account was renamed or erased meanwhile")
    return [row.id for row in await run.all(_FORGET, id=user_id)]
