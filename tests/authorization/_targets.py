"""Targets that a caller cannot reach: users who do not exist, and users who accept nothing from strangers."""

from __future__ import annotations

import msgspec

from messenger.container import Container
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.testing import Factory, Person
from tests.authorization._matrix import Case
from tests.authorization._requests import Scene

NOBODY = 99_999_999_999
"""A number that nobody was ever given: there are none of eleven digits."""


def addressing(case: Case, actor: Person, target: Person) -> Scene:
    return Scene(case, actor, target, "-", "-", "-")


async def gone(container: Container, make: Factory) -> dict[str, Person]:
    """Users who do not exist, for three reasons."""
    erased, disabled = await make.people(2)
    await container.services.accounts.erase(erased.actor, erased.password)
    await container.services.administration.set_disabled(str(disabled.id), disabled=True)
    nobody = msgspec.structs.replace(erased, id=NOBODY, username="nobody-has-this-name")
    return {"nobody": nobody, "erased": erased, "disabled": disabled}


async def reserved(container: Container, make: Factory, stranger: Person) -> dict[str, Person]:
    """Users who accept nothing from a stranger, for three reasons."""
    usual, blocking, private = await make.people(3)
    await container.services.contacts.block(blocking.actor, stranger.id)
    privacy = PrivacyPatch(last_seen="nobody", messages_from="nobody", calls_from="nobody", groups_from="nobody")
    await container.services.profiles.update(private.actor, ProfilePatch(privacy=privacy))
    return {"usual": usual, "blocking": blocking, "private": private}
