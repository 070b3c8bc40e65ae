"""Client-chosen values may be longer than the key of a rate limit's bucket."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest

from messenger.app import create_app
from messenger.container import Container
from messenger.errors import InvalidCredentials, RateLimited
from messenger.limits import LIMITS
from messenger.schemas.accounts import LoginDraft

# Its lower-case form has two characters.
LOGIN = "İ" * 64


class TestLongLogin:
    async def test_overlong_login_gets_invalid_credentials(self, limited: Container) -> None:
        with pytest.raises(InvalidCredentials):
            await limited.services.accounts.login(LoginDraft(login=LOGIN, password="x"), address="192.0.2.66")

    async def test_overlong_login_is_rate_limited(self, limited: Container) -> None:
        draft = LoginDraft(login="x" + LOGIN[1:], password="x")
        for _ in range(LIMITS["login_account"].burst):
            with pytest.raises(InvalidCredentials):
                await limited.services.accounts.login(draft, address="192.0.2.67")
        with pytest.raises(RateLimited):
            await limited.services.accounts.login(draft, address="192.0.2.67")


class TestLongAddress:
    async def test_overlong_proxy_address_causes_no_server_error(self, limited: Container) -> None:
        transport = httpx.ASGITransport(cast(Any, create_app(limited)), client=("x" * 5000, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post(
                "/login", json={"login": "nobody", "password": "x"}, headers={"Idempotency-Key": "1"}
            )
        assert answer.status_code == 401
