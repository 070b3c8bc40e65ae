"""Groups: creating, showing, changing, leaving."""

from __future__ import annotations

import json
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import PeerNotFound, ValidationFailed, VersionConflict
from messenger.errors.groups import MemberNotFound, NotPermitted, RankTooLow
from messenger.schemas.groups import (
    GroupDraft,
    GroupPatch,
    GroupSettingsPatch,
    GroupView,
    LeaveDraft,
    PermissionsPatch,
    ReactionRule,
)
from messenger.testing import Factory, Person
from tests.support.tables import rows


async def create(container: Container, owner: Person, **fields: Any) -> GroupView:
    """A new group of this owner."""
    return (await container.services.groups.create(owner.actor, GroupDraft(name="Reading", **fields))).group


async def add(container: Container, owner: Person, group: GroupView, *people: Person, rank: int = 0) -> None:
    """Make these people members, as an accepted invitation does."""
    async with container.uow() as uow:
        locked = await uow.group_locks.lock(owner.actor, group.id)
        assert locked is not None
        for person in people:
            await uow.memberships.admit(locked, person.id, rank=rank, visible_from=0)
        await uow.group_locks.advance(locked, [])


async def leave(container: Container, person: Person, group: GroupView, successor: Person | None = None) -> None:
    draft = LeaveDraft(successor_id=None if successor is None else successor.id)
    await container.services.ownership.leave(person.actor, group.id, draft)


async def ranks(container: Container, group: GroupView) -> dict[int, int]:
    """The rank of each member."""
    found = await rows(
        container,
        "SELECT m.user_id, m.rank FROM members AS m JOIN conversations AS c ON c.id = m.conversation_id "
        "WHERE c.peer_id = $1",
        group.id,
    )
    return {row["user_id"]: row["rank"] for row in found}


class TestCreate:
    async def test_creator_owns_new_group_with_default_rules(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        assert (group.name, group.owner_id, group.member_count, group.me.role) == ("Reading", ada.id, 1, "owner")
        assert (group.permissions.post, group.permissions.link, group.permissions.info) == (
            "member",
            "moderator",
            "admin",
        )
        assert (group.settings.history, group.settings.slow_mode, group.settings.edit_window) == ("none", 0, 172_800)

    async def test_given_rules_replace_defaults(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(
            container,
            ada,
            protected=True,
            permissions=PermissionsPatch(post="moderator"),
            settings=GroupSettingsPatch(history="all", reactions=ReactionRule(["👍"], 1), expire_after=60),
        )
        assert (group.protected, group.permissions.post, group.settings.history) == (True, "moderator", "all")
        assert (group.settings.reactions.allowed, group.settings.expire_after) == (["👍"], 60)
        assert await container.services.groups.get(ada.actor, group.id) == group

    async def test_blank_name_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(ValidationFailed):
            await container.services.groups.create(ada.actor, GroupDraft(name="\u200b"))


class TestGet:
    async def test_stranger_cannot_see_group(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        group = await create(container, ada)
        with pytest.raises(PeerNotFound):
            await container.services.groups.get(eve.actor, group.id)

    async def test_groups_are_listed_by_id(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        made = sorted([(await create(container, ada)).id for _ in range(3)])
        first = await container.services.groups.list_page(ada.actor, after=0, limit=2)
        second = await container.services.groups.list_page(ada.actor, after=int(first.next or 0), limit=2)
        assert ([group.id for group in [*first.items, *second.items]], second.next) == (made, None)


class TestUpdate:
    async def test_version_advances_with_change(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        changed = await container.services.groups.update(ada.actor, group.id, GroupPatch(name="Writing"))
        assert (changed.name, changed.version) == ("Writing", group.version + 1)

    async def test_same_values_change_no_field(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        assert await container.services.groups.update(ada.actor, group.id, GroupPatch(name="Reading")) == group

    async def test_outdated_version_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        with pytest.raises(VersionConflict):
            await container.services.groups.update(
                ada.actor, group.id, GroupPatch(name="Writing"), expected=[group.version - 1]
            )

    async def test_each_kind_of_change_has_a_notice(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        patch = GroupPatch(
            name="Writing",
            about="Poems",
            permissions=PermissionsPatch(post="admin"),
            settings=GroupSettingsPatch(slow_mode=10, expire_after=60),
        )
        await container.services.groups.update(ada.actor, group.id, patch)
        found = await rows(
            container,
            "SELECT action, before::text, after::text FROM group_notices WHERE group_id = $1 ORDER BY id",
            group.id,
        )
        assert [(row["action"], _json(row["before"]), _json(row["after"])) for row in found] == [
            ("created", None, "Reading"),
            ("renamed", "Reading", "Writing"),
            ("about", "", "Poems"),
            ("permissions", {"post": "member"}, {"post": "admin"}),
            ("settings", {"slow_mode": 0, "expire_after": None}, {"slow_mode": 10, "expire_after": 60}),
        ]

    async def test_member_may_change_neither_name_nor_settings(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        with pytest.raises(NotPermitted):
            await container.services.groups.update(bob.actor, group.id, GroupPatch(name="Writing"))
        with pytest.raises(RankTooLow):
            await container.services.groups.update(
                bob.actor, group.id, GroupPatch(settings=GroupSettingsPatch(slow_mode=1))
            )


class TestNotices:
    async def test_order_is_independent_of_host_clocks(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each change is made by a server whose clock is behind that of the server before."""
        ada = await make.person()
        group = await create(container, ada)
        milliseconds = count(4_000_000_000_000, -3_600_000)
        monkeypatch.setattr("uuid_utils.compat.uuid7", lambda: UUID(int=next(milliseconds) << 80 | 7 << 76 | 1 << 63))
        names = ["one", "two", "three"]
        for name in names:
            await container.services.groups.update(ada.actor, group.id, GroupPatch(name=name))
        log = await container.services.groups.log(ada.actor, group.id, before=None, limit=10)
        assert [each.after for each in log.items] == [*reversed(names), group.name]
        assert {each.id.version for each in log.items} == {7}


class TestLeave:
    async def test_longest_member_of_highest_rank_succeeds_owner(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob, eve, dan = await make.people(4)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        clock.advance(seconds=1)
        await add(container, ada, group, eve, rank=1)
        clock.advance(seconds=1)
        await add(container, ada, group, dan, rank=1)
        await leave(container, ada, group)
        assert await ranks(container, group) == {bob.id: 0, eve.id: 3, dan.id: 1}

    async def test_chosen_member_succeeds_owner(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create(container, ada)
        await add(container, ada, group, bob, eve)
        await leave(container, ada, group, successor=eve)
        assert await ranks(container, group) == {bob.id: 0, eve.id: 3}

    async def test_stranger_cannot_succeed_owner(self, container: Container, make: Factory) -> None:
        ada, bob, eve = await make.people(3)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        with pytest.raises(MemberNotFound):
            await leave(container, ada, group, successor=eve)
        assert await ranks(container, group) == {ada.id: 3, bob.id: 0}

    async def test_last_member_deletes_group(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        group = await create(container, ada)
        await leave(container, ada, group)
        await leave(container, ada, group)
        with pytest.raises(PeerNotFound):
            await container.services.groups.get(ada.actor, group.id)


class TestOwnership:
    async def test_database_refuses_group_without_owner(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        with pytest.raises(Exception, match="no owner"):
            await _remove(container, ada, group)

    async def test_database_refuses_second_owner(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        with pytest.raises(Exception, match="uq_members_owner"):
            await _promote(container, bob, group)


async def _remove(container: Container, person: Person, group: GroupView) -> None:
    async with container.uow() as uow:
        locked = await uow.group_locks.lock(person.actor, group.id)
        assert locked is not None
        await uow.memberships.remove(locked, person.id)


async def _promote(container: Container, person: Person, group: GroupView) -> None:
    async with container.uow() as uow:
        locked = await uow.group_locks.lock(person.actor, group.id)
        assert locked is not None
        await uow.memberships.change(locked, person.id, rank=3)


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


class TestErasure:
    async def test_erased_owner_is_succeeded(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        group = await create(container, ada)
        await add(container, ada, group, bob)
        await container.services.accounts.erase(ada.actor, ada.password)
        await container.services.fan_out.drain()
        assert await ranks(container, group) == {bob.id: 3}
        assert (await container.services.groups.get(bob.actor, group.id)).member_count == 1


class TestDisabledOwner:
    async def test_owner_disabled_for_week_is_succeeded_by_active_member(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob, eve = await make.people(3)
        group = await create(container, ada)
        await add(container, ada, group, bob, rank=1)
        await add(container, ada, group, eve)
        for person in (ada, bob):
            await container.services.administration.set_disabled(str(person.id), disabled=True)
        clock.advance(days=6)
        assert await container.services.maintenance._succeed_owners() == 0
        clock.advance(days=2)
        assert await container.services.maintenance._succeed_owners() == 1
        assert await ranks(container, group) == {ada.id: 2, bob.id: 1, eve.id: 3}
