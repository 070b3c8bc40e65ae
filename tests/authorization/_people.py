"""An owner, and all roles that may request the owner's data; each is created on first use."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from messenger.container import Container
from messenger.schemas.users import SubscribeDraft
from messenger.security.envelope import SecretEnvelope, parse_envelope
from messenger.testing import Factory, Person

ENVELOPE: SecretEnvelope = parse_envelope(
    msgspec.json.encode(
        {
            "algorithm": "aes-256-gcm",
            "kdf": {
                "name": "argon2id",
                "salt": "c2FsdCBvZiAxNiBieXRlcw==",
                "memory_kib": 65536,
                "iterations": 3,
            },
            "nonce": "bm9uY2Ugb2YgMTIu",
            "ciphertext": "dGhlIGFjY291bnQncyBzZWNyZXQsIGFzIGl0cyBvd25lcidzIGRldmljZXMgc2VhbGVkIGl0",
        }
    ),
    msgpack=False,
)


class Letters(msgspec.Struct, frozen=True):
    """The messages between the owner and one other user."""

    from_owner: UUID
    to_owner: UUID


class Cast:
    """The users of one test, over one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._make = Factory(container)
        self._people: dict[str, Person] = {}
        self._letters: dict[str, Letters] = {}

    async def person(self, role: str) -> Person:
        """The user in this role. `anonymous` has no user: use `headers`."""
        if role not in self._people:
            self._people[role] = await _ROLES[role](self)
        return self._people[role]

    async def headers(self, role: str) -> dict[str, str]:
        """The request headers of this role."""
        return {} if role == "anonymous" else (await self.person(role)).headers

    async def letters(self, role: str) -> Letters:
        """The messages between this user and the owner."""
        await self.person(role)
        return self._letters[role]

    # --- roles ---

    async def owner(self) -> Person:
        owner = await self._make.person(name="Olive")
        services = self._container.services
        await services.avatars.upload(owner.actor, secrets.token_bytes(32))
        await services.safe.store(owner.actor, ENVELOPE)
        return owner

    async def second_device(self) -> Person:
        return await self._make.device(await self.person("owner"))

    async def stranger(self) -> Person:
        return await self._make.person(name="Stranger")

    async def asker(self) -> Person:
        asker, owner = await self._make.person(name="Asker"), await self.person("owner")
        await self._container.services.contacts.subscribe(asker.actor, SubscribeDraft(target_id=owner.id))
        return asker

    async def acquaintance(self, role: str) -> Person:
        """A mutual contact; both have exchanged messages."""
        owner, person = await self.person("owner"), await self._make.person(name=role.title())
        await self._make.befriend(owner, person)
        received = await self._make.message(owner, person)
        self._letters[role] = Letters(received.id, (await self._make.message(person, owner)).id)
        return person

    async def blocked(self) -> Person:
        person, owner = await self.acquaintance("blocked"), await self.person("owner")
        await self._container.services.contacts.block(owner.actor, person.id)
        return person

    async def blocker(self) -> Person:
        person, owner = await self.acquaintance("blocker"), await self.person("owner")
        await self._container.services.contacts.block(person.actor, owner.id)
        return person

    async def former(self) -> Person:
        person, owner = await self.acquaintance("former"), await self.person("owner")
        await self._container.services.contacts.unsubscribe(owner.actor, person.id)
        return person

    async def signed_out(self) -> Person:
        person = await self.acquaintance("signed_out")
        await self._container.services.devices.logout(person.actor)
        return person

    async def expired(self) -> Person:
        person = await self.acquaintance("expired")
        await self.fetch(
            "UPDATE devices SET access_expires_at = $2 WHERE id = $1",
            person.actor.device_id,
            self._container.clock.now(),
        )
        return person

    async def disabled(self) -> Person:
        person = await self.acquaintance("disabled")
        await self._container.services.administration.set_disabled(str(person.id), disabled=True)
        return person

    async def erased(self) -> Person:
        person = await self.acquaintance("erased")
        await self._container.services.accounts.erase(person.actor, person.password)
        return person

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        """Run a statement past the services, and return its result."""
        async with self._container.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            return list(await driver.fetch(sql, *values))


_ROLES: dict[str, Callable[[Cast], Awaitable[Person]]] = {
    "owner": Cast.owner,
    "second_device": Cast.second_device,
    "contact": lambda cast: cast.acquaintance("contact"),
    "stranger": Cast.stranger,
    "asker": Cast.asker,
    "blocked": Cast.blocked,
    "blocker": Cast.blocker,
    "former": Cast.former,
    "signed_out": Cast.signed_out,
    "expired": Cast.expired,
    "disabled": Cast.disabled,
    "erased": Cast.erased,
}
