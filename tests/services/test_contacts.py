"""Contacts: requests, answers, ending, blocking; what is shown, and who is notified."""

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
from tests.support.tables import event_data


async def ask(container: Container, asker: Person, target: Person, message: str | None = None) -> RelationView:
    draft = SubscribeDraft(target_id=target.id, message=message)
    return await container.services.contacts.subscribe(asker.actor, draft)


async def answer(container: Container, person: Person, asker: Person, *, accept: bool = True) -> RelationView:
    return await container.services.contacts.confirm(person.actor, ConfirmDraft(target_id=asker.id, accept=accept))


async def contact(container: Container, person: Person, target: Person) -> ContactView | None:
    """The entry of the target in this user's list."""
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
    async def test_contact_step_towards_self_is_refused(self, container: Container, make: Factory, step: str) -> None:
        ada = await make.person()
        with pytest.raises(CannotTargetSelf):
            await STEPS[step](container, ada, ada.id)

    async def test_contact_step_towards_unknown_user_is_refused(
        self, container: Container, make: Factory, step: str
    ) -> None:
        ada = await make.person()
        with pytest.raises(PeerNotFound):
            await STEPS[step](container, ada, 1)

    async def test_contact_step_of_signed_out_device_is_refused(
        self, container: Container, make: Factory, step: str
    ) -> None:
        ada, bob = await make.people(2)
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await STEPS[step](container, ada, bob.id)


class TestSubscribe:
    async def test_request_is_pending_on_both_sides(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.people(2)
        assert await ask(container, ada, bob) == RelationView(bob.id, "pending_out")
        mine, theirs = await contact(container, ada, bob), await contact(container, bob, ada)
        assert mine is not None
        assert theirs is not None
        assert (mine.state, theirs.state) == ("pending_out", "pending_in")
        assert mine.since == theirs.since == timestamp(clock.now())

    async def test_request_text_is_shown_to_recipient(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        shown = await contact(container, bob, ada)
        assert shown is not None
        assert shown.message == "It's Ada"

    async def test_repeated_request_is_ignored(
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

    async def test_request_to_requester_becomes_mutual(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        assert (await ask(container, bob, ada)).state == "mutual"
        shown = await contact(container, ada, bob)
        assert shown is not None
        assert shown.state == "mutual"

    async def test_request_to_blocker_stays_pending(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(bob.actor, ada.id)
        published.clear()
        assert [(await ask(container, ada, bob)).state for _ in range(2)] == ["pending_out"] * 2
        assert {news.user_id for news in published} == {ada.id}

    async def test_request_to_blocked_user_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(ada.actor, bob.id)
        with pytest.raises(ContactBlocked):
            await ask(container, ada, bob)

    async def test_request_to_disabled_account_is_not_found(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.services.administration.set_disabled(str(bob.id), disabled=True)
        with pytest.raises(PeerNotFound):
            await ask(container, ada, bob)


class TestConfirm:
    async def test_confirmation_makes_contact_mutual_and_drops_text(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        assert await answer(container, bob, ada) == RelationView(ada.id, "mutual")
        for one, other in ((ada, bob), (bob, ada)):
            shown = await contact(container, one, other)
            assert shown is not None
            assert (shown.state, shown.message) == ("mutual", None)

    async def test_declining_removes_request_from_both_lists(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        assert (await answer(container, bob, ada, accept=False)).state == "none"
        assert [await contact(container, ada, bob), await contact(container, bob, ada)] == [None, None]

    @pytest.mark.parametrize("accept", [True, False])
    async def test_confirmation_without_request_is_refused_without_event(
        self, container: Container, make: Factory, published: list[WakeUp], accept: bool
    ) -> None:
        ada, bob = await make.people(2)
        published.clear()
        with pytest.raises(NoPendingRequest):
            await answer(container, ada, bob, accept=accept)
        assert published == []

    async def test_own_request_cannot_be_confirmed(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        with pytest.raises(NoPendingRequest):
            await answer(container, ada, bob)


class TestContactEvents:
    async def test_contact_event_shows_each_side_own_view(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        for one, other in ((ada, bob), (bob, ada)):
            shown = msgspec.to_builtins(await contact(container, one, other))
            assert await event_data(container, one, "contact.updated") == [{"target_id": other.id, **shown}]

    async def test_contact_event_of_ended_contact_shows_ended_state(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.contacts.unsubscribe(ada.actor, bob.id)
        assert (await event_data(container, bob, "contact.updated"))[-1] == {
            "target_id": ada.id,
            "user": {"id": ada.id, "username": ada.username, "name": "Ada", "avatar": None},
            "state": "none",
            "alias": None,
            "message": None,
            "since": None,
        }

    async def test_contact_event_shows_past_state_with_current_name(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob, "It's Ada")
        await answer(container, bob, ada)
        await container.services.profiles.update(ada.actor, ProfilePatch(name="Countess"))
        events = await event_data(container, bob, "contact.updated")
        assert [(event["user"]["name"], event["state"], event["message"]) for event in events] == [
            ("Countess", "pending_in", "It's Ada"),
            ("Countess", "mutual", None),
        ]

    async def test_blocking_stranger_notifies_only_blocker(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.people(2)
        published.clear()
        await container.services.contacts.block(ada.actor, bob.id)
        assert [(news.user_id, news.name) for news in published] == [(ada.id, "contact.updated")]


class TestUnblock:
    async def test_unblock_reveals_request_made_meanwhile(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await container.services.contacts.block(ada.actor, bob.id)
        await ask(container, bob, ada)
        assert (await container.services.contacts.unblock(ada.actor, bob.id)).state == "pending_in"

    async def test_unblock_without_block_changes_no_state(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        published.clear()
        assert (await container.services.contacts.unblock(ada.actor, bob.id)).state == "mutual"
        assert published == []


class TestAlias:
    async def set(self, container: Container, person: Person, target: Person, alias: str | None) -> ContactView:
        return await container.services.contacts.set_alias(person.actor, target.id, AliasDraft(alias=alias))

    async def test_alias_is_shown_only_to_owner(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        assert (await self.set(container, ada, bob, "  Bobby ")).alias == "Bobby"
        mine, theirs = await contact(container, ada, bob), await contact(container, bob, ada)
        assert mine is not None
        assert theirs is not None
        assert (mine.alias, theirs.alias) == ("Bobby", None)

    async def test_alias_change_notifies_only_owner(
        self, container: Container, make: Factory, published: list[WakeUp]
    ) -> None:
        ada, bob = await make.friends()
        published.clear()
        await self.set(container, ada, bob, "Bobby")
        assert [(news.user_id, news.name) for news in published] == [(ada.id, "contact.updated")]

    async def test_alias_can_be_removed(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await self.set(container, ada, bob, "Bobby")
        assert (await self.set(container, ada, bob, None)).alias is None

    async def test_alias_survives_change_of_state(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await ask(container, ada, bob)
        await self.set(container, ada, bob, "Bobby")
        await answer(container, bob, ada)
        shown = await contact(container, ada, bob)
        assert shown is not None
        assert shown.alias == "Bobby"

    async def test_alias_of_stranger_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        with pytest.raises(PeerNotFound):
            await self.set(container, ada, bob, "Bobby")

    async def test_blank_alias_is_refused(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        with pytest.raises(ValidationFailed) as caught:
            await self.set(container, ada, bob, " ")
        assert [(error.field, error.code) for error in caught.value.errors] == [("alias", "blank")]
