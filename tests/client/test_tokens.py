"""Tokens are renewed in time, once for concurrent calls, and never lost."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from messenger.client import ApiError, Client, SignedOut, Tokens, Unreachable
from messenger.client.tokens import TokenKeeper
from messenger.schemas.accounts import TokensView
from tests.client.fake import Fake, refused

NOTHING = httpx.Response(200, json={"items": [], "next": None})


def _view(number: int, expires_in: int = 900) -> TokensView:
    return TokensView(access_token=f"a{number}", refresh_token=f"r{number}", token_type="Bearer", expires_in=expires_in)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class TestRenewal:
    async def test_refused_token_is_renewed_and_call_repeated(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", NOTHING)
        fake.access = "another"
        assert await client.statuses() == []
        assert fake.refreshes == 1
        assert client.tokens is not None
        assert client.tokens.access_token == fake.access

    async def test_concurrent_calls_renew_token_once(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", NOTHING)
        fake.access = "another"
        await asyncio.gather(*(client.statuses() for _ in range(20)))
        assert fake.refreshes == 1
        assert [tokens.access_token for tokens in fake.kept if tokens] == ["a2"]

    async def test_new_pair_is_stored_before_use(self, fake: Fake) -> None:
        used_before: list[str] = []

        async def keep(tokens: Tokens | None) -> None:
            assert tokens is not None
            used_before.extend(
                call.url.path for call in fake.calls if call.headers.get("authorization", "").endswith("a2")
            )

        fake.on("GET", "/statuses", NOTHING)
        async with fake.client(on_tokens=keep) as client:
            fake.access = "another"
            await client.statuses()
        assert used_before == []

    async def test_cancelled_call_does_not_lose_pair(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", NOTHING)
        fake.access = "another"
        call = asyncio.create_task(client.statuses())
        while not any(each.url.path == "/token/refresh" for each in fake.calls):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.statuses() == []
        assert fake.refreshes == 1

    async def test_second_refusal_raises_signed_out(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/statuses", refused(401, "unauthenticated"))
        with pytest.raises(SignedOut):
            await client.statuses()
        assert fake.refreshes == 1

    async def test_refused_renewal_removes_tokens(self, fake: Fake, client: Client) -> None:
        fake.access, fake.refresh = "another", "stolen"
        with pytest.raises(SignedOut) as caught:
            await client.statuses()
        assert caught.value.code == "refresh_token_reused"
        assert fake.kept == [None]
        with pytest.raises(SignedOut):
            await client.statuses()

    async def test_wrong_password_does_not_renew_token(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/password", refused(401, "invalid_credentials"))
        with pytest.raises(ApiError) as caught:
            await client.change_password("wrong", "new")
        assert caught.value.code == "invalid_credentials"
        assert not isinstance(caught.value, SignedOut)
        assert fake.refreshes == 0


class TestTokenExpiry:
    async def test_token_is_renewed_shortly_before_expiry(self) -> None:
        clock, asked = Clock(), []

        async def refresh(token: str) -> TokensView:
            asked.append(token)
            return _view(2)

        tokens = Tokens.of(_view(1), clock.now)
        keeper = TokenKeeper(tokens, on_tokens=None, refresh=refresh, now=clock)
        clock.now += 869
        assert await keeper.access() == "a1"
        clock.now += 2
        assert await keeper.access() == "a2"
        assert asked == ["r1"]

    async def test_short_lived_token_is_used_for_most_of_lifetime(self) -> None:
        assert Tokens.of(_view(1, expires_in=10), 100.0).renew_at == 108.0

    async def test_expiring_token_is_used_while_server_is_unreachable(self) -> None:
        clock = Clock()

        async def refresh(token: str) -> TokensView:
            raise Unreachable("no")

        keeper = TokenKeeper(Tokens.of(_view(1), clock.now), on_tokens=None, refresh=refresh, now=clock)
        clock.now += 880
        assert await keeper.access() == "a1"

    async def test_repr_hides_tokens(self) -> None:
        assert "secret" not in repr(Tokens("secret", "secret"))


class TestStoredTokens:
    async def test_login_stores_tokens(self, fake: Fake) -> None:
        device = {
            "id": "01a20418-583e-771e-90f2-ae65a906bdf7",
            "name": "d",
            "created_at": "2026-11-22T10:15:30.123Z",
            "last_activity": "2026-11-22T10:15:30.123Z",
            "current": True,
        }
        user = {"id": 11111111, "username": "ada", "name": "Ada", "avatar": None}
        fake.on("POST", "/login", httpx.Response(200, json={"user": user, "device": device, "tokens": fake.tokens()}))
        async with fake.client(tokens=None) as client:
            view = await client.login("ada", "password")
            assert view.user.id == 11111111
            assert client.tokens is not None
        assert [tokens.access_token for tokens in fake.kept if tokens] == ["a1"]

    async def test_logout_of_signed_out_device_removes_tokens(self, fake: Fake, client: Client) -> None:
        fake.on("POST", "/logout", refused(401, "unauthenticated"))
        await client.logout()
        assert client.tokens is None
        assert fake.kept[-1] is None
