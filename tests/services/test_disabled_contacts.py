"""Contacts with a disabled account: they can be removed, and are not visible to strangers."""

from __future__ import annotations

from typing import ClassVar

import pytest

from messenger.container import Container
from messenger.errors import NotAContact, PeerNotFound
from messenger.testing import Factory, Person
from tests.services.test_contacts import STEPS, answer, ask, contact


class TestDisabledContact:
    """A disabled account stays in the lists of its contacts, and can be removed from them."""

    @pytest.fixture
    async def pair(self, container: Container, make: Factory, state: str) -> tuple[Person, Person]:
        ada, bob = await make.people(2)
        contacts = container.services.contacts
        if state == "pending_in":
            await ask(container, bob, ada)
        elif state == "blocked":
            await contacts.block(ada.actor, bob.id)
        elif state != "none":
            await ask(container, ada, bob)
        if state == "mutual":
            await answer(container, bob, ada)
        await container.services.administration.set_disabled(str(bob.id), disabled=True)
        return ada, bob

    STATES = ("pending_out", "pending_in", "mutual", "blocked")
    ENDINGS: ClassVar[dict[str, str]] = {"unsubscribe": "none", "block": "blocked", "unblock": "none"}

    @pytest.mark.parametrize("state", STATES)
    @pytest.mark.parametrize("step", ENDINGS)
    async def test_ending_a_contact_works_as_with_an_active_account(
        self, container: Container, make: Factory, pair: tuple[Person, Person], state: str, step: str
    ) -> None:
        ada, bob = pair
        found = await STEPS[step](container, ada, bob.id)
        await container.services.administration.set_disabled(str(bob.id), disabled=False)
        shown = await contact(container, ada, bob)
        assert found.state == (shown.state if shown else "none")
        changes_nothing = (state, step) == ("blocked", "unsubscribe") or (step == "unblock" and state != "blocked")
        assert found.state == (state if changes_nothing else self.ENDINGS[step])

    @pytest.mark.parametrize("state", STATES)
    @pytest.mark.parametrize("step", ["subscribe", "confirm"])
    async def test_starting_a_contact_finds_no_user(
        self, container: Container, pair: tuple[Person, Person], step: str
    ) -> None:
        ada, bob = pair
        with pytest.raises(PeerNotFound):
            await STEPS[step](container, ada, bob.id)

    @pytest.mark.parametrize("state", ["none"])
    @pytest.mark.parametrize("step", STEPS)
    async def test_strangers_do_not_find_disabled_account(
        self, container: Container, pair: tuple[Person, Person], step: str
    ) -> None:
        ada, bob = pair
        with pytest.raises(PeerNotFound):
            await STEPS[step](container, ada, bob.id)

    @pytest.mark.parametrize("state", ["mutual"])
    async def test_blocked_account_is_no_contact_after_enabling(
        self, container: Container, make: Factory, pair: tuple[Person, Person]
    ) -> None:
        ada, bob = pair
        await container.services.contacts.block(ada.actor, bob.id)
        await container.services.administration.set_disabled(str(bob.id), disabled=False)
        again = await make.device(bob)
        with pytest.raises(NotAContact):
            await make.message(again, ada)

    async def test_conversation_partner_can_be_blocked_after_the_contact_ended(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        await make.message(bob, ada)
        await container.services.administration.set_disabled(str(bob.id), disabled=True)
        assert (await container.services.contacts.unsubscribe(ada.actor, bob.id)).state == "none"
        assert (await container.services.contacts.block(ada.actor, bob.id)).state == "blocked"
        with pytest.raises(PeerNotFound):
            await ask(container, ada, bob)
