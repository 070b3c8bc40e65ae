"""Creates users, contacts and messages through the services."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

import msgspec

from messenger.actor import Actor
from messenger.container import Container
from messenger.realtime.interfaces import SocketRef
from messenger.schemas.accounts import LoginDraft, RegisterDraft, SignedInView
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.schemas.users import ConfirmDraft, SubscribeDraft

PASSWORD = "fjord-lantern-quiet-93"


class Person(msgspec.Struct, frozen=True):
    """A signed-in user: an actor for services, a token for HTTP."""

    id: int
    username: str
    actor: Actor
    access_token: str
    refresh_token: str
    password: str = PASSWORD

    @property
    def headers(self) -> dict[str, str]:
        """The headers of HTTP requests of this user."""
        return {"Authorization": f"Bearer {self.access_token}"}

    @classmethod
    def of(cls, view: SignedInView, password: str = PASSWORD) -> Person:
        """The user who has just signed in."""
        return cls(
            view.user.id,
            view.user.username or "",
            Actor(view.user.id, view.device.id),
            view.tokens.access_token,
            view.tokens.refresh_token,
            password,
        )


class Factory:
    """Creates test data with unique names."""

    def __init__(self, container: Container) -> None:
        self._services = container.services

    async def person(self, username: str | None = None, *, name: str = "Ada", password: str = PASSWORD) -> Person:
        """Create an account, signed in on its first device."""
        draft = RegisterDraft(username=username or f"u{secrets.token_hex(6)}", password=password, name=name)
        return Person.of(await self._services.accounts.register(draft, address="192.0.2.1"), password)

    async def people(self, count: int) -> list[Person]:
        """Create several accounts without contacts."""
        return [await self.person() for _ in range(count)]

    async def device(self, person: Person, name: str = "Second device") -> Person:
        """Sign in another device of the account."""
        draft = LoginDraft(login=str(person.id), password=person.password, device_name=name)
        return Person.of(await self._services.accounts.login(draft, address="192.0.2.1"), person.password)

    async def refreshed(self, person: Person, *, address: str = "192.0.2.1") -> Person:
        """Refresh the tokens of the device."""
        tokens = (await self._services.devices.refresh(person.refresh_token, address=address)).tokens
        return msgspec.structs.replace(person, access_token=tokens.access_token, refresh_token=tokens.refresh_token)

    async def connected(self, person: Person) -> None:
        """Record an open socket of this device, on a live worker."""
        worker, handshake = uuid4(), await self._services.streams.open_socket(person.actor)
        await self._services.presence.renew(worker)
        await self._services.presence.write(worker, [SocketRef(handshake.actor, handshake.generation)], [])

    async def befriend(self, one: Person, other: Person) -> None:
        """Make two users mutual contacts."""
        await self._services.contacts.subscribe(one.actor, SubscribeDraft(target_id=other.id))
        await self._services.contacts.confirm(other.actor, ConfirmDraft(target_id=one.id))

    async def friends(self) -> tuple[Person, Person]:
        """Create two users who are mutual contacts."""
        one, other = await self.people(2)
        await self.befriend(one, other)
        return one, other

    async def message(self, sender: Person, to: Person, body: str = "Hello", **more: Any) -> MessageView:
        """Send a message."""
        client_id = more.pop("client_id", None) or secrets.token_hex(8)
        draft = MessageDraft(target_id=to.id, client_id=client_id, body=body, **more)
        return (await self._services.messages.send(sender.actor, draft))[0]
