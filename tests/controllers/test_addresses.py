"""Limits by address: addresses that count as one subscriber."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest
from litestar import Litestar

from messenger.addresses import site, subscriber
from messenger.app import create_app
from messenger.container import Container
from messenger.limits import LIMITS
from messenger.testing import Person
from messenger.testing.factories import PASSWORD


class TestSubscriber:
    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("192.0.2.8", "192.0.2.8"),
            ("192.0.2.8:51123", "192.0.2.8"),
            ("::ffff:192.0.2.8", "192.0.2.8"),
            ("::ffff:c000:208", "192.0.2.8"),
            ("64:ff9b::192.0.2.8", "192.0.2.8"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:0001:2::", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::6", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("unix:", "unix:"),
            ("x" * 1000, "x" * 64),
        ],
    )
    def test_address_is_reduced_to_subscriber(self, address: str, counted: str) -> None:
        assert subscriber(address) == counted


class TestSite:
    @pytest.mark.parametrize("address", ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1:ffff::1"])
    def test_ipv6_site_is_48_prefix(self, address: str) -> None:
        assert site(address) == "2001:db8:1::/48"

    @pytest.mark.parametrize("address", ["192.0.2.8", "::ffff:192.0.2.8", "unknown"])
    def test_ipv4_and_unknown_addresses_have_no_site(self, address: str) -> None:
        assert site(address) is None


@pytest.fixture
def limited_app(limited: Container) -> Litestar:
    """The application with rate limits."""
    return create_app(limited)


async def answers(app: Litestar, path: str, body: dict[str, str], addresses: list[str]) -> list[int]:
    """The status of one request from each address."""
    found = []
    for address in addresses:
        transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False, client=(address, 51123))
        async with httpx.AsyncClient(transport=transport, base_url="http://messenger.test") as client:
            found.append((await client.post(path, json=body)).status_code)
    return found


BODIES = {
    "register": ("/register", {"username": "unused-name", "password": "weak", "name": "Ada"}, 422),
    "refresh": ("/token/refresh", {"refresh_token": "mrt_guessed"}, 401),
}


@pytest.mark.parametrize("name", BODIES)
async def test_addresses_of_same_64_prefix_share_limit(limited_app: Litestar, name: str, ada: Person) -> None:
    path, body, status = BODIES[name]
    burst, network = LIMITS[name].burst, f"2001:db8:{ada.id % 65536:x}:{len(name)}"
    last = await answers(limited_app, path, body, [f"{network}::{n:x}" for n in range(burst + 1)])
    assert last == [status] * burst + [429]
    assert await answers(limited_app, path, body, [f"{network}1::1"]) == [status]


async def test_mapped_address_shares_the_limit_of_the_ipv4_address(limited_app: Litestar, ada: Person) -> None:
    path, body, status = BODIES["refresh"]
    burst, address = LIMITS["refresh"].burst, f"10.{ada.id % 250}.{ada.id // 250 % 250}.7"
    mixed = [f"::ffff:{address}" if n % 2 else address for n in range(burst + 1)]
    assert await answers(limited_app, path, body, mixed) == [status] * burst + [429]


async def test_logins_from_same_64_prefix_share_limit(limited_app: Litestar, ada: Person) -> None:
    burst, network = LIMITS["login_address"].burst, f"2001:db8:{ada.id % 65536:x}:7"
    found = [
        (
            await answers(
                limited_app, "/login", {"login": f"u{n}x{ada.id}", "password": PASSWORD}, [f"{network}::{n:x}"]
            )
        )[0]
        for n in range(burst + 1)
    ]
    assert found == [401] * burst + [429]
