"""A group, and users in every relation to it; each is created on first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import msgspec

from messenger.container import Container
from messenger.schemas.admission import BanDraft, JoinDraft, LinkDraft, LinkView
from messenger.schemas.groups import GroupView, LeaveDraft, MemberPatch, RankName
from messenger.schemas.moments import moment
from messenger.testing import Factory, Person
from tests.support.groups import create_group, invite, join


class Letters(msgspec.Struct, frozen=True):
    """Messages to the group: one of the owner, and one of another member of the lowest rank."""

    letter: UUID
    note: UUID


class Crew:
    """The users of one test, over one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._make = Factory(container)
        self._people: dict[str, Person] = {}
        self._letters: dict[str, Letters] = {}
        self._group: GroupView | None = None
        self._links: dict[bool, LinkView] = {}

    async def person(self, role: str) -> Person:
        """The user in this role."""
        if role not in self._people:
            self._people[role] = await _ROLES[role](self)
        return self._people[role]

    async def group(self) -> GroupView:
        if self._group is None:
            self._group = await create_group(self._container, await self.person("owner"))
        return self._group

    async def letters(self, role: str) -> Letters:
        """Messages that this user sees, or saw as a member."""
        await self.person(role)
        if role not in self._letters:
            self._letters[role] = await self._write()
        return self._letters[role]

    async def link(self, *, approval: bool = False) -> LinkView:
        if approval not in self._links:
            draft, group, owner = LinkDraft(approval=approval), await self.group(), await self.person("owner")
            self._links[approval] = await self._container.services.group_links.create(owner.actor, group.id, draft)
        return self._links[approval]

    async def _write(self) -> Letters:
        group, owner, plain = await self.group(), await self.person("owner"), await self.person("plain")
        to_group = msgspec.structs.replace(owner, id=group.id)
        letter = await self._make.message(owner, to_group)
        return Letters(letter.id, (await self._make.message(plain, to_group)).id)

    # --- roles ---

    async def member(self, rank: RankName = "member") -> Person:
        owner, group = await self.person("owner"), await self.group()
        person = await self._make.person()
        await join(self._container, self._make, owner, group, person)
        if rank != "member":
            await self._container.services.members.update(owner.actor, group.id, person.id, MemberPatch(role=rank))
        return person

    async def muted(self) -> Person:
        person, owner, group = await self.member(), await self.person("owner"), await self.group()
        until = moment(self._container.clock.now() + timedelta(days=1))
        patch = MemberPatch(muted_until=until)
        await self._container.services.members.update(owner.actor, group.id, person.id, patch)
        return person

    async def invited(self) -> Person:
        owner, group, person = await self.person("owner"), await self.group(), await self._make.person()
        await self._make.befriend(owner, person)
        assert await invite(self._container, owner, group, person) == ["invited"]
        return person

    async def asker(self) -> Person:
        link, person = await self.link(approval=True), await self._make.person()
        joined = await self._container.services.group_links.join(person.actor, link.token, JoinDraft())
        assert joined.membership == "requested"
        return person

    async def former(self) -> Person:
        person, group = await self.member(), await self.group()
        self._letters["former"] = await self._write()
        await self._container.services.ownership.leave(person.actor, group.id, LeaveDraft())
        return person

    async def banned(self, role: str) -> Person:
        person, owner, group = await self.member(), await self.person("owner"), await self.group()
        self._letters[role] = await self._write()
        await self._container.services.bans.ban(owner.actor, group.id, person.id, BanDraft())
        return person


_ROLES: dict[str, Callable[[Crew], Awaitable[Person]]] = {
    "owner": lambda crew: crew._make.person(name="Olive"),
    "founder": lambda crew: crew.person("owner"),
    "admin": lambda crew: crew.member("admin"),
    "deputy": lambda crew: crew.member("admin"),
    "mod": lambda crew: crew.member("moderator"),
    "helper": lambda crew: crew.member("moderator"),
    "member": Crew.member,
    "plain": Crew.member,
    "muted": Crew.muted,
    "invited": Crew.invited,
    "guest": Crew.invited,
    "asker": Crew.asker,
    "hopeful": Crew.asker,
    "former": Crew.former,
    "banned": lambda crew: crew.banned("banned"),
    "exile": lambda crew: crew.banned("exile"),
    "outside": lambda crew: crew._make.person(),
    "passer": lambda crew: crew._make.person(),
}
