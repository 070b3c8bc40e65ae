"""Rate limits: what trips them, what refusals say, how they refill."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import (
    DatabaseUnavailable,
    InvalidCredentials,
    InvalidRefreshToken,
    PasswordWeak,
    RateLimited,
    RefreshTokenReused,
    SecretNotFound,
)
from messenger.limits import LIMITS
from messenger.repositories.limits import LimitRepository
from messenger.schemas.accounts import LoginDraft, RegisterDraft
from messenger.schemas.realtime import PresencePatch
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory
from messenger.testing.factories import PASSWORD
from tests.support.tables import rows

WRONG = "gravel-otter-violet-58"


def address() -> str:
    """An address that no other test uses."""
    return secrets.token_hex(8)


def home(login: str | int) -> str:
    """One address for all spellings of a login."""
    return f"home of {str(login).strip().lower().lstrip('0')}"


async def try_login(container: Container, login: str | int, *, source: str = "", password: str = WRONG) -> None:
    draft = LoginDraft(login=str(login), password=password)
    await container.services.accounts.login(draft, address=source or home(login))


async def wrong_logins(container: Container, login: str | int, count: int, *, source: str = "") -> None:
    for _ in range(count):
        with pytest.raises(InvalidCredentials):
            await try_login(container, login, source=source)


async def limited_login(container: Container, login: str | int, *, source: str = "") -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await try_login(container, login, source=source, password=PASSWORD)
    return caught.value


class TestLoginLimit:
    async def test_eleventh_attempt_is_refused_despite_correct_password(
        self, limited: Container, make: Factory
    ) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        assert (await limited_login(limited, ada.username)).status == 429

    async def test_refusal_states_retry_after(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        assert (await limited_login(limited, ada.username)).response_headers == {
            "Retry-After": "60",
            "RateLimit-Policy": '"login_account";q=10;w=600',
            "RateLimit": '"login_account";r=0;t=60',
        }

    async def test_retry_after_shrinks_and_rounds_up_to_seconds(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        clock.advance(seconds=20.5)
        assert (await limited_login(limited, ada.username)).response_headers["Retry-After"] == "40"

    async def test_single_attempt_returns_after_wait(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        clock.advance(seconds=60)
        await wrong_logins(limited, ada.username, 1)
        await limited_login(limited, ada.username)

    async def test_refused_attempts_are_not_counted(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        for _ in range(5):
            await limited_login(limited, ada.username)
        clock.advance(seconds=60)
        await try_login(limited, ada.username, password=PASSWORD)

    async def test_bucket_never_refills_above_burst(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 1)
        clock.advance(days=2)
        await wrong_logins(limited, ada.username, 10)
        await limited_login(limited, ada.username)

    async def test_spellings_of_username_share_limit(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        for spelled in (
            ada.username,
            ada.username.upper(),
            f" {ada.username}",
            f"{ada.username}  ",
            f"\t{ada.username}",
        ):
            await wrong_logins(limited, spelled, 2)
        await limited_login(limited, ada.username)

    async def test_spellings_of_user_number_share_limit(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        for spelled in (f"{ada.id}", f"0{ada.id}", f"000{ada.id}", f" {ada.id}", f"{ada.id} "):
            await wrong_logins(limited, spelled, 2)
        await limited_login(limited, ada.id)

    async def test_login_limit_does_not_affect_other_account(self, limited: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        await wrong_logins(limited, ada.username, 10)
        await try_login(limited, bob.username, password=PASSWORD)

    async def test_address_limit_covers_all_logins(self, limited: Container) -> None:
        source = address()
        for _ in range(LIMITS["login_address"].burst // 10):
            await wrong_logins(limited, f"u{secrets.token_hex(6)}", 10, source=source)
        refusal = await limited_login(limited, f"u{secrets.token_hex(6)}", source=source)
        assert refusal.response_headers["RateLimit-Policy"].startswith('"login_address"')

    async def test_refused_attempt_does_not_hash_password(
        self, limited: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        await wrong_logins(limited, ada.username, 10)
        monkeypatch.setattr(limited.hasher, "verify", None)
        await limited_login(limited, ada.username)


class TestOtherLimits:
    async def test_registrations_are_limited_per_address(self, limited: Container) -> None:
        source, draft = address(), RegisterDraft(username="unused-name", password="weak", name="Ada")
        for _ in range(LIMITS["register"].burst):
            with pytest.raises(PasswordWeak):
                await limited.services.accounts.register(draft, address=source)
        with pytest.raises(RateLimited):
            await limited.services.accounts.register(draft, address=source)

    async def test_invalid_refresh_tokens_are_limited_per_address(self, limited: Container) -> None:
        source = address()
        for _ in range(LIMITS["refresh"].burst):
            with pytest.raises(InvalidRefreshToken):
                await limited.services.devices.refresh("mrt_guessed", address=source)
        with pytest.raises(RateLimited):
            await limited.services.devices.refresh("mrt_guessed", address=source)

    async def test_refreshes_are_limited_per_device(self, limited: Container, make: Factory, clock: FixedClock) -> None:
        ada, limit = await make.person(), LIMITS["refresh_device"]
        services, tokens = limited.services.devices, [ada.refresh_token]
        for _ in range(limit.burst + limit.lease):
            tokens.append((await services.refresh(tokens[-1], address=address())).tokens.refresh_token)
        for shown in tokens[-2:]:
            with pytest.raises(RateLimited) as caught:
                await services.refresh(shown, address=address())
            assert caught.value.response_headers["RateLimit-Policy"].startswith('"refresh_device"')
        other = await make.device(ada)
        await services.refresh(other.refresh_token, address=address())
        clock.advance(seconds=limit.every)
        assert await services.refresh(tokens[-1], address=address())

    async def test_alarm_of_a_reused_refresh_token_is_not_limited(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, limit = await make.person(), LIMITS["refresh_device"]
        services, token = limited.services.devices, ada.refresh_token
        for _ in range(limit.burst + limit.lease):
            token = (await services.refresh(token, address=address())).tokens.refresh_token
        clock.advance(seconds=limit.every + 1)
        token = (await services.refresh(token, address=address())).tokens.refresh_token
        with pytest.raises(RateLimited):
            await services.refresh(token, address=address())
        with pytest.raises(RefreshTokenReused):
            await services.refresh(ada.refresh_token, address=address())

    async def test_valid_refresh_tokens_are_not_counted_by_address(self, limited: Container, make: Factory) -> None:
        source, token = address(), (await make.person()).refresh_token
        await RateLimiter(limited.uow, enabled=True).hit("refresh", source, cost=LIMITS["refresh"].burst)
        assert await limited.services.devices.refresh(token, address=source)

    async def test_password_confirmations_share_limit(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        accounts = limited.services.accounts
        for _ in range(2):
            with pytest.raises(InvalidCredentials):
                await accounts.change_password(ada.actor, WRONG, WRONG)
        for _ in range(3):
            with pytest.raises(InvalidCredentials):
                await accounts.erase(ada.actor, WRONG)
        with pytest.raises(RateLimited):
            await accounts.erase(ada.actor, PASSWORD)

    async def test_safe_reads_are_limited_to_ten_a_day(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        for _ in range(10):
            with pytest.raises(SecretNotFound):
                await limited.services.safe.get(ada.actor)
        with pytest.raises(RateLimited) as caught:
            await limited.services.safe.get(ada.actor)
        assert caught.value.response_headers["Retry-After"] == str(24 * 3600 // 10)
        clock.advance(days=1)
        with pytest.raises(SecretNotFound):
            await limited.services.safe.get(ada.actor)

    async def test_presence_changes_are_limited_per_account(
        self, limited: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, patch = await make.person(), PresencePatch(status="busy")
        await RateLimiter(limited.uow, enabled=True).hit("presence", ada.id, cost=LIMITS["presence"].burst)
        with pytest.raises(RateLimited):
            await limited.services.profiles.set_presence(ada.actor, patch)
        assert (await limited.services.profiles.get(ada.actor)).profile.status == "online"
        clock.advance(seconds=2)
        assert (await limited.services.profiles.set_presence(ada.actor, patch)).status == "busy"

    async def test_exports_are_limited_per_account(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        for _ in range(3):
            (await limited.services.exports.archive(ada.actor)).close()
        with pytest.raises(RateLimited):
            await limited.services.exports.archive(ada.actor)


class TestRateLimiter:
    @pytest.mark.parametrize("name", LIMITS)
    async def test_every_limit_allows_burst_and_then_refuses(self, limited: Container, name: str) -> None:
        limiter, subject = RateLimiter(limited.uow, enabled=True), address()
        await limiter.hit(name, subject, cost=LIMITS[name].burst)
        with pytest.raises(RateLimited):
            await limiter.hit(name, subject)

    @pytest.mark.parametrize("name", LIMITS)
    async def test_disabled_rate_limiter_counts_no_hits(self, container: Container, name: str) -> None:
        limiter, subject = RateLimiter(container.uow, enabled=False), address()
        for _ in range(2):
            await limiter.hit(name, subject, cost=LIMITS[name].burst)
        assert await rows(container, "SELECT key FROM rate_buckets WHERE key = $1", f"{name}:{subject}") == []

    async def test_concurrent_hits_pass_exactly_burst(self, limited: Container) -> None:
        limiter, subject = RateLimiter(limited.uow, enabled=True), address()
        takes = [limiter.hit("login_account", subject) for _ in range(15)]
        results = await asyncio.gather(*takes, return_exceptions=True)
        assert [type(result) for result in results if result is not None] == [RateLimited] * 5

    async def test_setting_disables_rate_limits_of_services(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await wrong_logins(container, ada.username, 11, source=address())
        await try_login(container, ada.username, password=PASSWORD)


class TestUnavailableCount:
    @pytest.fixture(autouse=True)
    def uncounted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: object, **__: object) -> float:
            raise DatabaseUnavailable

        monkeypatch.setattr(LimitRepository, "consume", fail)
        monkeypatch.setattr(LimitRepository, "consume_once", fail)

    async def test_login_is_refused_when_count_is_unavailable(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(DatabaseUnavailable):
            await try_login(limited, ada.username, password=PASSWORD)

    async def test_look_up_is_refused_when_count_is_unavailable(self, limited: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(DatabaseUnavailable):
            await limited.services.profiles.find(ada.actor, target_id=1)

    async def test_turn_credentials_are_issued_when_count_is_unavailable(
        self, limited: Container, make: Factory
    ) -> None:
        ada = await make.person()
        assert (await limited.services.calls.ice_servers(ada.actor)).ttl > 0
