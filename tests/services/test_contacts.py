"""Contacts: asking, answering, ending, blocking; whom it shows, and who is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import (
    CannotTargetSelf,
    ContactBlocked,
    NoPendingRequest,
    PeerNotFound,
    Unauthenticated,
    ValidationFailed,
)
from messenger.events import WakeUp
from messenger.schemas.types import timestamp
from messenger.schemas.users import (
    AliasDraft,
    ConfirmDraft,
    ContactView,
    ProfilePatch,
    RelationView,
    SubscribeDraft,
)
from messenger.testing import Factory, Person
from tests.support.tables import told


async def ask(container: Container, asker: Person, target: Person, message: str | None = None) -> RelationView:
    draft = SubscribeDraft(target_id=target.id, message=message)
    return await container.services.contacts.subscribe(asker.actor, draft)


async def answer(container: Container, person: Person, asker: Person, *, accept: bool = True) -> RelationView:
    return await container.services.contacts.confirm(person.actor, ConfirmDraft(target_id=asker.id, accept=accept))


async def contact(container: Container, person: Person, target: Person) -> ContactView | None:
    """How the target stands in this person's list."""
    page = await container.services.contacts.list_page(person.actor, state=None, after=0, limit=50)
    return next((item for item in page.items if item.user.id == target.id), None)


Step = Callable[[Container, Person, int], Awaitable[Any]]
STEPS: dict[str, Step] = {
    "subscribe": lambda to, me, id: to.services.contacts.subscribe(me.actor, SubscribeDraft(target_id=id)),
    "confirm": lambda to, me, id: to.services.contacts.confirm(me.actor, ConfirmDraft(target_id=id)),
    "unsubscribe": lambda to, me, id: to.services.contacts.unsubscribe(me.actor, id),
    "block": lambda to, me, id: to.services.contacts.block(me.actor, id),
    "unblock": lambda to, me, id: to.services.contacts.unblock(me.actor, id),
}


@pytest.mark.parametrize("step", STEPS)
class TestEveryStep:
    async def test_towards_oneself_is_refused(self, container: Container, make: Factory, step: str) -> None:
        ada = await make.person()
        with pytest.raises(CannotTargetSelf):
            await STEPS[step](container, ada, ada.id)

    async def test_towards_nobody_is_refused(self, container: Container, make: Factory, step: str) -> None:
        ada = await make.person()
        with pytest.raises(PeerNotFound):
            await STEPS[step](container, ada, 1)

    async def test_of_a_signed_out_device_is_refused(self, container: Container, make: Factory, step: str) -> None:
        ada, bob = await make.people(2)
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await STEPS[step](container, ada, bob.id)


class TestSubscribe:
    async def test_is_pending_on_both_sides(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.people(2)
        assert await ask(container, ada, bob) == RelationView(bob.id, "pending_out")
        mine, theirs = await contact(container, ada, bob), await contact(container, bob, ada)
        assert mine is not None
        assert theirs is not None
        assert (mine.state, theirs.state) == ("pending_out", "pending_in")
        assert mine.since == theirs.since == timestamp(clock.now())

    async def test_shows_its_text_to_the_one_who_is_asked(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        shown = await contact(container, bob, ada)
        assert shown is not None
        assert shown.message == "It's Ada"

    async def test_repeating_it_changes_nothing(
        self, container: Container, make: Factory, clock: FixedClock, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "First")
        before = await contact(container, bob, ada)
        clock.advance(minutes=1)
        published.clear()
        assert (await ask(container, ada, bob, "Second")).state == "pending_out"
        assert await contact(container, bob, ada) == before
        assert published == []

    async def test_to_one_who_asked_already_it_is_mutual_at_once(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        assert (await ask(container, bob, ada)).state == "mutual"
        shown = await contact(container, ada, bob)
        assert shown is not None
        assert shown.state == "mutual"

    async def test_to_one_who_blocked_me_it_is_pending_for_ever(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(bob.actor, ada.id)
        published.clear()
        assert [(await ask(container, ada, bob)).state for _ in range(2)] == ["pending_out"] * 2
        assert {news.user_id for news in published} == {ada.id}

    async def test_to_one_whom_i_blocked_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(ada.actor, bob.id)
        with pytest.raises(ContactBlocked):
            await ask(container, ada, bob)

    async def test_to_a_disabled_account_finds_nobody(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.administration.set_disabled(str(bob.id), disabled=True)
        with pytest.raises(PeerNotFound):
            await ask(container, ada, bob)


class TestConfirm:
    async def test_makes_it_mutual_for_both_and_drops_the_text(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        assert await answer(container, bob, ada) == RelationView(ada.id, "mutual")
        for one, other in ((ada, bob), (bob, ada)):
            shown = await contact(container, one, other)
            assert shown is not None
            assert (shown.state, shown.message) == ("mutual", None)

    async def test_declining_takes_it_from_both_lists(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        assert (await answer(container, bob, ada, accept=False)).state == "none"
        assert [await contact(container, ada, bob), await contact(container, bob, ada)] == [None, None]

    @pytest.mark.parametrize("accept", [True, False])
    async def test_without_a_request_is_refused_and_tells_nobody(
        self, container: Container, make: Factory, published: list[WakeUp], accept: bool
    ) -> None:
        ada, bob = await make.people(2)
        published.clear()
        with pytest.raises(NoPendingRequest):
            await answer(container, ada, bob, accept=accept)
        assert published == []

    async def test_nobody_confirms_their_own_request(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        with pytest.raises(NoPendingRequest):
            await answer(container, ada, bob)


class TestEvents:
    async def test_each_side_is_shown_its_own_contact(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        for one, other in ((ada, bob), (bob, ada)):
            shown = msgspec.to_builtins(await contact(container, one, other))
            assert await told(container, one, "contact.updated") == [{"target_id": other.id, **shown}]

    async def test_what_is_gone_is_told_as_none(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.contacts.unsubscribe(ada.actor, bob.id)
        assert (await told(container, bob, "contact.updated"))[-1] == {
            "target_id": ada.id,
            "user": {"id": ada.id, "username": ada.username, "name": "Ada", "avatar": None},
            "state": "none",
            "alias": None,
            "message": None,
            "since": None,
        }

    async def test_own_words_are_those_of_then_and_the_name_is_the_one_of_now(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        await answer(container, bob, ada)
        await container.services.profiles.update(ada.actor, ProfilePatch(name="Countess"))
        events = await told(container, bob, "contact.updated")
        assert [(event["user"]["name"], event["state"], event["message"]) for event in events] == [
            ("Countess", "pending_in", "It's Ada"),
            ("Countess", "mutual", None),
        ]

    async def test_a_block_of_a_stranger_is_told_to_nobody_but_the_one_who_blocks(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        published.clear()
        await container.services.contacts.block(ada.actor, bob.id)
        assert [(news.user_id, news.name) for news in published] == [(ada.id, "contact.updated")]


class TestUnblock:
    async def test_brings_a_request_to_light_that_was_made_meanwhile(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(ada.actor, bob.id)
        await ask(container, bob, ada)
        assert (await container.services.contacts.unblock(ada.actor, bob.id)).state == "pending_in"

    async def test_where_nothing_is_blocked_changes_nothing(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        published.clear()
        assert (await container.services.contacts.unblock(ada.actor, bob.id)).state == "mutual"
        assert published == []


class TestAlias:
    async def set(self, container: Container, person: Person, target: Person, alias: str | None) -> ContactView:
        return await container.services.contacts.set_alias(person.actor, target.id, AliasDraft(alias=alias))

    async def test_is_shown_to_its_owner_alone(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        assert (await self.set(container, ada, bob, "  Bobby ")).alias == "Bobby"
        mine, theirs = await contact(container, ada, bob), await contact(container, bob, ada)
        assert mine is not None
        assert theirs is not None
        assert (mine.alias, theirs.alias) == ("Bobby", None)

    async def test_is_told_to_its_owner_alone(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        published.clear()
        await self.set(container, ada, bob, "Bobby")
        assert [(news.user_id, news.name) for news in published] == [(ada.id, "contact.updated")]

    async def test_can_be_taken_away(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await self.set(container, ada, bob, "Bobby")
        assert (await self.set(container, ada, bob, None)).alias is None

    async def test_outlives_a_change_of_state(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        await self.set(container, ada, bob, "Bobby")
        await answer(container, bob, ada)
        shown = await contact(container, ada, bob)
        assert shown is not None
        assert shown.alias == "Bobby"

    async def test_of_a_stranger_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        with pytest.raises(PeerNotFound):
            await self.set(container, ada, bob, "Bobby")

    async def test_with_nothing_to_see_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        with pytest.raises(ValidationFailed) as caught:
            await self.set(container, ada, bob, " ")
        assert [(error.field, error.code) for error in caught.value.errors] == [("alias", "blank")]
