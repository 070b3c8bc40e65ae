"""Erasure: what goes with an account, and in which order."""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.statements import Runner, Statement

# What others hold stays, and its author is a user without a name; the number stays taken. The devices go first: a safe
# that is being written holds its device, and then wants the user's row.
_ERASE: Statement[Any] = Statement(
    "users.erase",
    """
    WITH signed_out AS (DELETE FROM devices WHERE user_id = :id RETURNING id)
    UPDATE users SET username = NULL, username_key = NULL, name = 'Deleted account', about = '', status = 'online',
        status_text = '', invisible_since = NULL, avatar_key = NULL, password_hash = NULL, deleted_at = :now,
        privacy_last_seen = 'nobody', version = version + 1
    WHERE id = :id AND deleted_at IS NULL AND (SELECT count(*) FROM signed_out) >= 0
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
    unhidden AS (DELETE FROM hidden_messages WHERE user_id = :id),
    untold AS (DELETE FROM events WHERE user_id = :id)
    SELECT owner_id AS id FROM forgotten WHERE owner_id <> :id
    """,
    _Acquaintance,
    writes=True,
)


async def erase_account(run: Runner, user_id: int) -> list[int]:
    """Take away all that is the account's alone; whose lists held it. Two statements: the second sees what the first
    has waited for.
    """
    await run.execute(_ERASE, id=user_id)
    return [row.id for row in await run.all(_FORGET, id=user_id)]
