"""Logins: failed attempts from elsewhere lock the owner out neither by limits nor by filling the queue."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import InvalidCredentials, RateLimited
from messenger.limits import LIMITS
from messenger.repositories.familiar import ADDRESSES_KEPT
from messenger.schemas.accounts import LoginDraft
from messenger.security.passwords import Verdict
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import rows

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
"""Where `Factory` registers people, and where none of them was."""

STRANGERS = LIMITS["login_strangers"]


async def sign_in(container: Container, login: str, address: str, password: str = PASSWORD) -> None:
    await container.services.accounts.login(LoginDraft(login=login, password=password), address=address)


async def refused(container: Container, login: str, address: str) -> str:
    """The limit that refuses a login with the right password."""
    with pytest.raises(RateLimited) as caught:
        await sign_in(container, login, address)
    return caught.value.response_headers["RateLimit-Policy"].split('"')[1]


@pytest.fixture
def cheap(limited: Container, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Passwords cost nothing; how each check was queued."""
    asked: list[dict[str, Any]] = []

    async def verify(password: str, _: str | None, **how: Any) -> Verdict:
        asked.append(how)
        return Verdict(ok=password == PASSWORD, rehash=False)

    monkeypatch.setattr(limited.hasher, "verify", verify)
    return asked


async def attack(container: Container, login: str) -> None:
    """Try passwords from many addresses, until the attack is stopped."""
    for number in range(STRANGERS.burst):
        with pytest.raises((InvalidCredentials, RateLimited)):
            await sign_in(container, login, f"203.0.113.{number}", "gravel-otter-violet-58")
    assert await refused(container, login, "203.0.113.254") == STRANGERS.name


@pytest.mark.usefixtures("cheap")
class TestAttack:
    async def test_attempts_from_single_address_do_not_affect_other_addresses(
        self, limited: Container, make: Factory
    ) -> None:
        ada = await make.person()
        for _ in range(LIMITS["login_account"].burst):
            with pytest.raises(InvalidCredentials):
                await sign_in(limited, ada.username, ELSEWHERE, "gravel-otter-violet-58")
        assert await refused(limited, ada.username, ELSEWHERE) == "login_account"
        await sign_in(limited, ada.username, "198.51.100.8")

    async def test_owner_signs_in_where_the_account_was_registered(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        await attack(limited, ada.username)
        await sign_in(limited, ada.username, HOME)
        await sign_in(limited, str(ada.id), HOME)

    async def test_owner_signs_in_where_a_device_refreshed(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        await limited.services.devices.refresh(ada.refresh_token, address=ELSEWHERE)
        await attack(limited, ada.username)
        await sign_in(limited, ada.username, ELSEWHERE)

    async def test_owner_signs_in_from_familiar_address(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        await sign_in(limited, ada.username, ELSEWHERE)
        await attack(limited, ada.username)
        await sign_in(limited, ada.username, ELSEWHERE)

    async def test_failed_sign_in_makes_no_address_familiar(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(InvalidCredentials):
            await sign_in(limited, ada.username, ELSEWHERE, "gravel-otter-violet-58")
        await limited.services.accounts._limiter.hit(
            STRANGERS.name, limited.services.accounts._issuer.keyed_login(ada.username), cost=STRANGERS.burst - 1
        )
        assert await refused(limited, ada.username, ELSEWHERE) == STRANGERS.name

    async def test_address_familiar_to_other_account_stays_unfamiliar(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await sign_in(limited, bob.username, ELSEWHERE)
        await attack(limited, ada.username)
        assert await refused(limited, ada.username, ELSEWHERE) == STRANGERS.name

    async def test_unknown_login_is_counted_in_the_same_way(self, limited: Container) -> None:
        login = f"u{secrets.token_hex(6)}"
        await attack(limited, login)

    async def test_owner_at_an_unfamiliar_address_shares_the_limit(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await attack(limited, ada.username)
        clock.advance(seconds=STRANGERS.every)
        await sign_in(limited, ada.username, ELSEWHERE)

    async def test_addresses_of_same_48_prefix_share_limit(self, limited: Container, make: Factory) -> None:
        site = f"2001:db8:{secrets.randbelow(65536):x}"
        limit = LIMITS["login_site"]
        people = await make.people(4)
        for number in range(limit.burst):
            with pytest.raises(InvalidCredentials):
                await sign_in(limited, f"{people[0].username}x{number}", f"{site}:{number:x}::/64", "wrong")
        assert await refused(limited, people[1].username, f"{site}:ffff::/64") == limit.name
        await sign_in(limited, people[1].username, "2001:db9::/64")


class TestQueue:
    async def test_queue_sources_are_addresses_and_sites(
        self, limited: Container, make: Factory, cheap: list[dict[str, Any]]
    ) -> None:
        ada = await make.person()
        for address in (HOME, ELSEWHERE, "2001:db8:1:2::/64"):
            await sign_in(limited, ada.username, address)
        assert cheap == [
            {"source": HOME, "known": True},
            {"source": ELSEWHERE, "known": False},
            {"source": "2001:db8:1::/48", "known": False},
        ]


async def digests(container: Container, person: Person) -> list[bytes]:
    found = await rows(
        container, "SELECT digest FROM familiar_addresses WHERE user_id = $1 ORDER BY seen_at", person.id
    )
    return [row["digest"] for row in found]


class TestFamiliarAddresses:
    async def test_newest_addresses_are_kept_up_to_a_limit(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        seen = await digests(container, ada)
        for number in range(ADDRESSES_KEPT + 3):
            clock.advance(minutes=1)
            ada = await make.refreshed(ada, address=f"203.0.113.{number}")
            seen.append((await digests(container, ada))[-1])
        assert await digests(container, ada) == seen[-ADDRESSES_KEPT:]

    async def test_repeated_address_is_written_once_a_day(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, begun = await make.person(), clock.now()
        for days, moved in ((0.9, 0), (0.2, 1.1)):
            clock.advance(days=days)
            ada = await make.refreshed(ada)
            (row,) = await rows(container, "SELECT seen_at FROM familiar_addresses WHERE user_id = $1", ada.id)
            assert (row["seen_at"] - begun).total_seconds() == pytest.approx(moved * 86400)

    async def test_stored_digest_does_not_reveal_the_address(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        (hers,), (his,) = await digests(container, ada), await digests(container, bob)
        assert hers != his
        assert HOME.encode() not in hers

    async def test_erasure_removes_familiar_addresses(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await container.services.accounts.erase(ada.actor, PASSWORD)
        assert await digests(container, ada) == []

    async def test_concurrent_sign_ins_from_same_address_store_single_digest(
        self, container: Container, make: Factory
    ) -> None:
        ada = await make.person()
        await asyncio.gather(*[sign_in(container, ada.username, ELSEWHERE) for _ in range(5)])
        assert len(await digests(container, ada)) == 2
