"""Rate limits over a socket are the same as over HTTP, and do not close the socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.exceptions import InvalidStatus

from messenger.config import Settings
from messenger.container import Container
from messenger.limits import LIMITS
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from tests.support.served import serving
from tests.support.sockets import Realtime


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(settings: Settings, engine: AsyncEngine) -> AsyncIterator[Container]:
    """Services with rate limits."""
    limited = msgspec.structs.replace(settings, rate_limits="on", activity_resolution=3600.0)
    container = Container(limited, engine=engine)
    async with container.realtime.running():
        yield container
    await container.close()


@pytest_asyncio.fixture(loop_scope="session")
async def realtime(hosted: Container) -> AsyncIterator[Realtime]:
    """The server, and its sockets."""
    async with serving(hosted) as (_, port):
        yield Realtime(port, hosted.realtime.presence._pass)


async def test_http_and_socket_requests_share_bucket(hosted: Container, realtime: Realtime, people: Factory) -> None:
    ada, limit = await people.person(), LIMITS["request"]
    await RateLimiter(hosted.uow, enabled=True).hit("request", ada.actor.device_id, cost=limit.burst)
    async with realtime.wire(ada) as wire:
        # Meanwhile the bucket refills a little.
        answers = [await wire.ask("presence.set", status="away", extra=1) for _ in range(2 * limit.lease)]
        codes = [answer["error"]["code"] for answer in answers]
        assert codes[: limit.lease] == ["unknown_field"] * limit.lease
        assert codes.count("rate_limited") > limit.lease // 2
        # The socket stays open.
        assert (await wire.ask("nonsense"))["error"]["code"] == "unknown_method"


async def test_http_and_socket_messages_share_limit(hosted: Container, realtime: Realtime, people: Factory) -> None:
    ada, bob = await people.friends()
    await people.message(bob, ada)
    message, message_to = LIMITS["message"], LIMITS["message_to"]
    async with realtime.wire(ada) as wire, httpx.AsyncClient(base_url=realtime.http, headers=ada.headers) as client:
        for number in range(message.burst):
            draft = {"target_id": bob.id, "client_id": f"c{number}", "body": "Hello"}
            if (await client.post("/messages", json=draft)).status_code == 429:
                break
        # This many, plus what was refilled meanwhile.
        assert message_to.burst <= number < message.burst - 1
        refused = await wire.ask("message.send", target_id=bob.id, client_id="one-more", body="Hello")
    assert (refused["error"]["code"], refused["error"]["retry_after"]) == ("rate_limited", 1)


class TestHandshakeLimits:
    async def test_handshakes_are_limited_by_device(
        self, hosted: Container, realtime: Realtime, people: Factory
    ) -> None:
        ada, limit = await people.person(), LIMITS["handshake"]
        await RateLimiter(hosted.uow, enabled=True).hit("handshake", ada.actor.device_id, cost=limit.burst)
        statuses = [await self._status(realtime, ada) for _ in range(limit.lease + 5)]
        assert statuses[: limit.lease] == [101] * limit.lease
        assert 429 in statuses[limit.lease :]
        # Another device of the same account has a limit of its own.
        assert await self._status(realtime, await people.device(ada)) == 101

    async def test_ticket_handshakes_share_limit(self, hosted: Container, realtime: Realtime, people: Factory) -> None:
        ada, limit = await people.person(), LIMITS["handshake"]
        await RateLimiter(hosted.uow, enabled=True).hit("handshake", ada.actor.device_id, cost=limit.burst)
        statuses = []
        for _ in range(limit.lease + 5):
            ticket = (await hosted.services.streams.issue_ticket(ada.actor)).ticket
            statuses.append(await self._status(realtime, None, query=f"?ticket={ticket}"))
        assert (statuses[: limit.lease], 429 in statuses) == ([101] * limit.lease, True)

    async def _status(self, realtime: Realtime, person: Person | None, **options: Any) -> int:
        try:
            async with realtime.wire(person, live=False, **options):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code
