"""Calls: ICE servers for a device, with credentials that expire and identify nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import Unauthenticated
from messenger.schemas.calls import IceServersView
from messenger.schemas.types import timestamp
from messenger.services.calls import CallService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person

STUN = ("stun:stun.example.org:3478",)
TURN = ("turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:5349?transport=tcp")
SECRET = "shared with the relay"


@pytest.fixture
def calls(container: Container, clock: FixedClock) -> Callable[..., CallService]:
    """The service of an operator with these servers."""

    def made(stun: tuple[str, ...] = STUN, turn: tuple[str, ...] = TURN, ttl: int = 43_201) -> CallService:
        return CallService(
            container.uow,
            clock,
            RateLimiter(container.uow, enabled=False),
            stun_urls=stun,
            turn_urls=turn,
            turn_secret=SECRET if turn else "",
            key=b"k" * 32,
            ttl=ttl,
        )

    return made


@pytest.fixture
async def ada(make: Factory) -> Person:
    return await make.person()


def names(view: IceServersView) -> tuple[int, str]:
    """The expiry and the pseudonym in the user names."""
    (turn,) = [server for server in view.ice_servers if server.username]
    expiry, _, pseudonym = str(turn.username).partition(":")
    return int(expiry), pseudonym


class TestIceServers:
    async def test_each_ice_server_has_urls(self, calls: Any, ada: Person) -> None:
        stun, turn = (await calls().ice_servers(ada.actor)).ice_servers
        assert (stun.urls, stun.username, stun.credential) == (list(STUN), None, None)
        assert turn.urls == list(TURN)

    async def test_credential_is_what_the_relay_expects(self, calls: Any, ada: Person) -> None:
        _, turn = (await calls().ice_servers(ada.actor)).ice_servers
        digest = hmac.new(SECRET.encode(), turn.username.encode(), hashlib.sha1).digest()
        assert turn.credential == base64.b64encode(digest).decode()

    async def test_view_states_expiry_and_refresh_time(self, calls: Any, ada: Person, clock: FixedClock) -> None:
        view = await calls(ttl=3601).ice_servers(ada.actor)
        ends = clock.now() + timedelta(seconds=3601)
        assert (view.ttl, view.refresh_after, view.expires_at) == (3601, 1800, timestamp(ends))
        assert names(view)[0] == int(ends.timestamp())

    async def test_expiry_is_whole_second_of_credential(self, calls: Any, ada: Person, clock: FixedClock) -> None:
        started = clock.now()
        clock.advance(milliseconds=999)
        view = await calls(ttl=60).ice_servers(ada.actor)
        assert view.expires_at == timestamp(started + timedelta(seconds=60))

    async def test_credential_name_does_not_contain_user_id(self, calls: Any, ada: Person) -> None:
        view = await calls().ice_servers(ada.actor)
        assert str(ada.id) not in names(view)[1]
        assert ada.username not in str(view.ice_servers[1].username)

    async def test_credential_name_is_same_for_all_devices_of_a_day(
        self, calls: Any, make: Factory, ada: Person, clock: FixedClock
    ) -> None:
        phone = await make.device(ada)
        morning = await calls().ice_servers(ada.actor)
        clock.advance(hours=23)
        assert names(await calls().ice_servers(phone.actor))[1] == names(morning)[1]
        clock.advance(hours=1)
        assert names(await calls().ice_servers(ada.actor))[1] != names(morning)[1]

    async def test_credential_name_differs_between_users(self, calls: Any, make: Factory, ada: Person) -> None:
        bob = await make.person()
        mine, theirs = await calls().ice_servers(ada.actor), await calls().ice_servers(bob.actor)
        assert names(mine)[1] != names(theirs)[1]

    async def test_stun_server_has_no_credentials(self, calls: Any, ada: Person) -> None:
        view = await calls(turn=()).ice_servers(ada.actor)
        assert [(server.urls, server.username) for server in view.ice_servers] == [(list(STUN), None)]

    async def test_missing_servers_give_empty_list(self, container: Container, ada: Person) -> None:
        view = await container.services.calls.ice_servers(ada.actor)
        assert view.ice_servers == []

    async def test_credential_is_hidden_in_repr(self, calls: Any, ada: Person) -> None:
        view = await calls().ice_servers(ada.actor)
        assert str(view.ice_servers[1].credential) not in repr(view)

    async def test_signed_out_device_gets_no_ice_servers(self, container: Container, calls: Any, ada: Person) -> None:
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await calls().ice_servers(ada.actor)
