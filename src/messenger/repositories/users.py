"""Users: profiles, look-ups, credentials, erasure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.database.runner import Runner
from messenger.database.statements import Statement
from messenger.errors import Unauthenticated, UsernameTaken
from messenger.models import AutoJoin
from messenger.repositories._fragments import AVATAR_OF_CONTACT, CONNECTED, edge
from messenger.repositories.base import StatementRepository
from messenger.repositories.erasure import ForgottenRow, erase_account, forget_account
from messenger.repositories.profiles import CHANGE, PROFILE, ChangedProfileRow, VersionedProfileRow
from messenger.repositories.user_rows import USER_COLUMNS, PersonRow, UserRow
from messenger.repositories.usernames import claim


def _person(name: str, condition: str) -> Statement[PersonRow]:
    return Statement(
        name,
        f"""
        WITH <<actor>>
        SELECT <<actor_columns>>, {USER_COLUMNS}, u.about, u.status, u.status_text, u.invisible_since,
            u.last_activity, u.privacy_last_seen, u.privacy_avatar, {CONNECTED} AS connected,
            mine.state AS mine, theirs.state AS theirs
        FROM actor
        LEFT JOIN users AS u ON {condition} AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        {edge("mine", "actor.user_id", "u.id")}
        {edge("theirs", "u.id", "actor.user_id")}
        LEFT JOIN avatars AS a ON a.key = u.avatar_key
        """,
        PersonRow,
        writes=False,
    )


_PERSON_BY_ID = _person("users.person_by_id", "u.id = :target_id")
_PERSON_BY_NAME = _person("users.person_by_name", "u.username_key = :username_key")


# A contact is found by one look-up, a group in common by at most one for each of the caller's groups.
_KNOWN = Statement(
    "users.known",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, page.* FROM actor LEFT JOIN LATERAL (
        SELECT {USER_COLUMNS}
        FROM unnest(:ids::bigint[]) AS asked (id) JOIN users AS u ON u.id = asked.id AND u.deleted_at IS NULL
        {edge("c", "actor.user_id", "u.id")}
        {AVATAR_OF_CONTACT}
        WHERE u.id <> actor.user_id AND (c.state = 'mutual' OR EXISTS (
            SELECT FROM members AS mine
                JOIN members AS theirs ON theirs.conversation_id = mine.conversation_id AND theirs.user_id = u.id
            WHERE mine.user_id = actor.user_id AND mine.rank IS NOT NULL
        ))
        ORDER BY u.id
    ) AS page ON true
    """,
    UserRow,
    writes=False,
)


class CredentialsRow(msgspec.Struct, frozen=True):
    id: int
    username: str
    name: str
    password_hash: str
    familiar: list[str]


_CREDENTIALS = Statement(
    "users.credentials",
    """
    SELECT id, username, name, password_hash,
        ARRAY(SELECT encode(f.digest, 'hex') FROM familiar_addresses AS f WHERE f.user_id = users.id) AS familiar
    FROM users
    WHERE (username_key = :username_key OR id = :number)
        AND deleted_at IS NULL AND disabled_at IS NULL AND password_hash IS NOT NULL
    """,
    CredentialsRow,
    writes=False,
)


class _Created(msgspec.Struct, frozen=True):
    id: int | None
    is_free: bool


# Takes the first of the candidate IDs that was never used.
_CREATE = Statement(
    "users.create",
    f"""
    WITH claimed AS ({claim(":username_digest::bytea", "NULL::bigint")}),
    peer AS (
        INSERT INTO peers (id, kind)
        SELECT c.id, 'user' FROM unnest(:candidates::bigint[]) WITH ORDINALITY AS c (id, n)
        WHERE EXISTS (SELECT FROM claimed) AND NOT EXISTS (SELECT FROM peers AS p WHERE p.id = c.id)
        ORDER BY c.n LIMIT 1
        ON CONFLICT DO NOTHING RETURNING id
    ),
    made AS (
        INSERT INTO users (id, username, username_key, name, password_hash, last_activity, created_at)
        SELECT id, :username, :username_key, :name, :password_hash, :now, :now FROM peer RETURNING id
    ),
    stream AS (INSERT INTO streams (user_id) SELECT id FROM made)
    SELECT (SELECT id FROM made) AS id, EXISTS (SELECT FROM claimed) AS is_free
    """,
    _Created,
    writes=True,
)

_REPLACE_PASSWORD: Statement[Any] = Statement(
    "users.replace_password",
    "UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :old",
    writes=True,
)


class IdentityRow(msgspec.Struct, frozen=True):
    user_id: int
    device_id: UUID
    username: str
    name: str
    password_hash: str | None


_IDENTITY = Statement(
    "users.identity",
    """
    WITH <<actor>>
    SELECT <<actor_columns>>, u.id AS user_id, actor.device_id, u.username, u.name, u.password_hash
    FROM actor JOIN users AS u ON u.id = actor.user_id
    """,
    IdentityRow,
    writes=False,
)


class SettingsRow(msgspec.Struct, frozen=True):
    auto_join: AutoJoin


_SETTINGS = Statement(
    "users.settings",
    "WITH <<actor>> SELECT <<actor_columns>>, u.auto_join FROM actor JOIN users AS u ON u.id = actor.user_id",
    SettingsRow,
    writes=False,
)

_CHANGE_SETTINGS = Statement(
    "users.change_settings",
    """
    WITH <<actor>>
    UPDATE users AS u SET auto_join = coalesce(:auto_join::text, u.auto_join) FROM actor WHERE u.id = actor.user_id
    RETURNING <<actor_columns>>, u.auto_join
    """,
    SettingsRow,
    writes=True,
)


class UserRepository(StatementRepository):
    """Accounts, and what they show to others."""

    async def profile(self, caller: Caller) -> VersionedProfileRow:
        """The caller's own profile; one round trip."""
        row = await self._run.first(PROFILE, caller)
        if row is None:
            raise Unauthenticated
        return row

    async def change_profile(
        self, caller: Caller, *, expected: list[int] | None, **changes: str | None
    ) -> ChangedProfileRow | None:
        """Change the fields that are not None; None if the version is not in `expected`. Raises `UsernameTaken`.

        The version, and with it the entity tag, only changes if something changes.
        """
        return await self._run.first(CHANGE, caller, expected=expected, **changes)

    async def find_person(
        self, caller: Caller, *, target_id: int | None = None, username_key: str | None = None
    ) -> PersonRow | None:
        """Another user by ID or username, with both edges between the two."""
        if target_id is not None:
            return await self._run.first(_PERSON_BY_ID, caller, target_id=target_id)
        return await self._run.first(_PERSON_BY_NAME, caller, username_key=username_key)

    async def list_known(self, caller: Caller, ids: Sequence[int]) -> list[UserRow]:
        """Those of these users, ascending, who are mutual contacts of the caller or members of a group with the caller.

        `ids` must be distinct. Raises `Unauthenticated`.
        """
        return await self._run.all(_KNOWN, caller, ids=list(ids))

    async def find_credentials(self, *, username_key: str | None, number: int | None) -> CredentialsRow | None:
        """The account with this username or ID, if it can sign in."""
        return await self._run.first(_CREDENTIALS, username_key=username_key, number=number)

    async def create(
        self,
        *,
        candidates: list[int],
        username: str,
        username_key: str,
        username_digest: bytes,
        name: str,
        password_hash: str,
    ) -> int | None:
        """Create an account with the first unused of the IDs; None if all were used. Raises `UsernameTaken`."""
        row = await self._run.first(
            _CREATE,
            candidates=candidates,
            username=username,
            username_key=username_key,
            username_digest=username_digest,
            name=name,
            password_hash=password_hash,
        )
        if row is None or not row.is_free:
            raise UsernameTaken
        return row.id

    async def settings(self, caller: Caller) -> SettingsRow:
        """The caller's settings. Raises `Unauthenticated`."""
        row = await self._run.first(_SETTINGS, caller)
        assert row is not None
        return row

    async def change_settings(self, caller: Caller, *, auto_join: str | None) -> SettingsRow:
        """Change the given settings; None leaves one as it is. Raises `Unauthenticated`."""
        row = await self._run.first(_CHANGE_SETTINGS, caller, auto_join=auto_join)
        assert row is not None
        return row

    async def replace_password(self, user_id: int, *, old: str, new: str) -> bool:
        """Compare and set the password's hash; False if it has changed meanwhile."""
        return await self._run.execute(_REPLACE_PASSWORD, id=user_id, old=old, new=new) == 1

    async def identity(self, caller: Caller) -> IdentityRow:
        """The caller's account, with the stored hash, to verify a password again."""
        row = await self._run.first(_IDENTITY, caller)
        if row is None:
            raise Unauthenticated
        return row

    async def erase(self, user_id: int, *, username_key: str, username_digest: bytes) -> ForgottenRow:
        """Erase the account, and begin to remove its own rows; a fan-out removes the rest.

        Its username is reserved for a while. Raises `ConcurrentUpdate` if the username has changed meanwhile.
        """
        return await erase_account(self._run, user_id, username_key, username_digest)

    async def forget(self, user_id: int) -> ForgottenRow:
        """Remove a batch of what is left of an erased account."""
        return await forget_account(self._run, user_id)


_AUTHENTICATE = Statement(
    "users.authenticate",
    "WITH <<actor>> SELECT <<actor_columns>>, actor.user_id, actor.device_id FROM actor",
    Actor,
    writes=False,
)


async def authenticate(run: Runner, caller: Caller) -> Actor:
    """Authenticate the caller in a separate statement, for use cases of several statements."""
    actor = await run.first(_AUTHENTICATE, caller)
    if actor is None:
        raise Unauthenticated
    return actor
