"""Rate limits over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.container import Container
from messenger.limits import LIMITS
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Person
from tests.support.http import CANARY, Witness, assert_problem, client_of


@pytest_asyncio.fixture(loop_scope="session")
async def limited_client(limited: Container) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with rate limits."""
    witness = Witness()
    async with client_of(create_app(limited), event_hooks={"response": [witness.see]}) as client:
        yield client
    assert witness.faults == []


async def _guess(client: httpx.AsyncClient, login: str, **headers: str) -> httpx.Response:
    return await client.post("/login", headers=headers, json={"login": login, "password": CANARY})


async def test_login_beyond_limit_is_429_with_rate_limit_headers(
    limited_client: httpx.AsyncClient, ada: Person
) -> None:
    limit = LIMITS["login_account"]
    answers = [await _guess(limited_client, ada.username) for _ in range(limit.burst + 1)]
    assert [answer.status_code for answer in answers] == [401] * limit.burst + [429]
    assert_problem(answers[-1], 429, "rate_limited")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert re.fullmatch(r'"login_account";q=\d+;w=\d+', answers[-1].headers["ratelimit-policy"])
    assert re.fullmatch(r'"login_account";r=0;t=\d+', answers[-1].headers["ratelimit"])


async def test_case_of_login_and_claimed_addresses_share_limit(limited_client: httpx.AsyncClient, ada: Person) -> None:
    logins = [ada.username.upper() if number % 2 else ada.username for number in range(LIMITS["login_account"].burst)]
    for number, login in enumerate(logins):
        await _guess(limited_client, login, **{"X-Forwarded-For": f"192.0.2.{number}"})
    answer = await _guess(limited_client, ada.username, **{"X-Forwarded-For": "192.0.2.99"})
    assert_problem(answer, 429, "rate_limited")


class TestRequestLimit:
    """Every request of a device counts, on either path."""

    LIMIT = LIMITS["request"]

    async def test_refreshing_opens_no_further_bucket(self, limited_client: httpx.AsyncClient, ada: Person) -> None:
        passed, tokens = 0, {"access_token": ada.access_token, "refresh_token": ada.refresh_token}
        for _ in range(15):
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            answers = [await limited_client.get("/profile", headers=headers) for _ in range(self.LIMIT.lease - 1)]
            passed += sum(answer.status_code == 200 for answer in answers)
            body = {"refresh_token": tokens["refresh_token"]}
            tokens = (await limited_client.post("/token/refresh", json=body)).json()["tokens"]
        assert passed == self.LIMIT.burst + self.LIMIT.lease

    async def refuse(self, limited: Container, ada: Person, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        """Requests are served as often as a worker's lease allows, and then refused."""
        await RateLimiter(limited.uow, enabled=True).hit("request", ada.actor.device_id, cost=self.LIMIT.burst)
        statuses = [(await ask()).status_code for _ in range(self.LIMIT.lease)]
        assert 429 not in statuses
        refused = await ask()
        assert_problem(refused, 429, "rate_limited")
        assert re.fullmatch(r'"request";r=0;t=\d+', refused.headers["ratelimit"])

    @pytest.mark.parametrize("path", ["/profile", "/devices", f"/history/{10_000_019}"])
    async def test_fast_and_framework_requests_share_limit(
        self, limited: Container, limited_client: httpx.AsyncClient, ada: Person, path: str
    ) -> None:
        await self.refuse(limited, ada, lambda: limited_client.get(path, headers=ada.headers))

    async def test_unreadable_body_counts_as_request(
        self, limited: Container, limited_client: httpx.AsyncClient, ada: Person
    ) -> None:
        await self.refuse(limited, ada, lambda: limited_client.post("/messages", headers=ada.headers, content=b"{"))

    async def test_unknown_token_is_401_beyond_limit(self, limited_client: httpx.AsyncClient) -> None:
        headers = {"Authorization": "Bearer nobody"}
        statuses = {(await limited_client.get("/profile", headers=headers)).status_code for _ in range(100)}
        assert statuses == {401}
