"""Refreshing: the next pair of tokens, a lost response, a superseded token, and a reused token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.actor import Bearer
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.database.runner import Stamp
from messenger.errors import (
    InvalidRefreshToken,
    NotAContact,
    PeerNotFound,
    RefreshTokenReused,
    RefreshTokenSuperseded,
    Unauthenticated,
)
from messenger.repositories.activity import touch
from messenger.repositories.devices import USED_TOKENS_KEPT
from messenger.schemas.accounts import TokensView
from messenger.schemas.messages import MessageDraft
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person, StatementLog
from tests.support.tables import event_data, rows

ADDRESS = "192.0.2.8"


def bearer(token: str) -> Bearer:
    return Bearer(token_hash(token))


async def refresh(container: Container, token: str) -> TokensView:
    return (await container.services.devices.refresh(token, address=ADDRESS)).tokens


async def opens(container: Container, token: str) -> bool:
    try:
        await container.services.devices.authenticate(bearer(token))
    except Unauthenticated:
        return False
    return True


async def device_count(container: Container, person: Person) -> int:
    return len(await rows(container, "SELECT FROM devices WHERE user_id = $1", person.id))


class TestRefresh:
    async def test_new_access_token_authenticates_same_device(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        tokens = await refresh(container, ada.refresh_token)
        assert await container.services.devices.authenticate(bearer(tokens.access_token)) == ada.actor

    async def test_previous_access_token_stops_working(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await refresh(container, ada.refresh_token)
        assert not await opens(container, ada.access_token)

    async def test_successor_can_be_refreshed(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        first = await refresh(container, ada.refresh_token)
        second = await refresh(container, first.refresh_token)
        assert await opens(container, second.access_token)

    async def test_concurrent_refreshes_return_same_pair(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        answers = await asyncio.gather(*[refresh(container, ada.refresh_token) for _ in range(5)])
        assert len({(tokens.access_token, tokens.refresh_token) for tokens in answers}) == 1
        assert await opens(container, answers[0].access_token)

    async def test_unknown_token_is_refused(self, container: Container) -> None:
        with pytest.raises(InvalidRefreshToken):
            await refresh(container, "mrt_guessed")

    async def test_expired_token_is_refused(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        clock.advance(seconds=container.settings.refresh_token_ttl)
        with pytest.raises(InvalidRefreshToken):
            await refresh(container, ada.refresh_token)

    async def test_counts_as_activity_of_device(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        now = clock.advance(seconds=100)
        await refresh(container, ada.refresh_token)
        found = await rows(container, "SELECT last_activity FROM devices WHERE user_id = $1", ada.id)
        assert found == [{"last_activity": now}]

    async def test_only_hashes_of_tokens_are_stored(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        tokens = await refresh(container, ada.refresh_token)
        stored = await rows(
            container,
            "SELECT d.access_hash, r.hash FROM devices AS d JOIN refresh_tokens AS r ON r.device_id = d.id"
            " WHERE d.user_id = $1",
            ada.id,
        )
        assert {row["access_hash"] for row in stored} == {token_hash(tokens.access_token)}
        assert {row["hash"] for row in stored} == {token_hash(ada.refresh_token), token_hash(tokens.refresh_token)}


class TestLostAnswer:
    """The successor is unused: the old token returns it again."""

    @pytest.mark.parametrize("later", [0, 60, 61, 3600, 60 * 86400])
    async def test_same_successor_is_returned_however_late(
        self, container: Container, make: Factory, clock: FixedClock, later: int
    ) -> None:
        ada = await make.person()
        lost = await refresh(container, ada.refresh_token)
        clock.advance(seconds=later)
        assert await refresh(container, ada.refresh_token) == lost

    async def test_repeated_answer_returns_access_token_with_full_lifetime(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        await refresh(container, ada.refresh_token)
        clock.advance(days=2)
        again = await refresh(container, ada.refresh_token)
        clock.advance(seconds=again.expires_in - 1)
        assert await opens(container, again.access_token)

    async def test_old_token_still_expires(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        await refresh(container, ada.refresh_token)
        clock.advance(seconds=container.settings.refresh_token_ttl)
        with pytest.raises(InvalidRefreshToken):
            await refresh(container, ada.refresh_token)

    async def test_second_lost_answer_returns_same_successor(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        first = await refresh(container, ada.refresh_token)
        clock.advance(hours=1)
        lost = await refresh(container, first.refresh_token)
        clock.advance(hours=1)
        assert await refresh(container, first.refresh_token) == lost

    async def test_access_token_of_rotated_pair_is_no_use_of_successor(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        lost = await refresh(container, ada.refresh_token)
        assert not await opens(container, ada.access_token)
        clock.advance(hours=1)
        assert await refresh(container, ada.refresh_token) == lost

    async def test_socket_opened_before_rotation_is_no_use_of_successor(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        lost = await refresh(container, ada.refresh_token)
        clock.advance(hours=1)
        # An open socket acts for a device whose token it presented once.
        await container.services.profiles.get(ada.actor)
        assert await refresh(container, ada.refresh_token) == lost

    async def test_late_stamp_of_previous_token_leaves_mark_of_successor(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        await container.services.profiles.get(bearer(successor.access_token))
        async with container.uow() as uow:
            late = Stamp(ada.actor, token_hash(ada.access_token))
            await touch(uow._checkout.driver, [late], clock.advance(seconds=1))
        with pytest.raises(RefreshTokenSuperseded):
            await refresh(container, ada.refresh_token)


async def _read(container: Container, token: str) -> None:
    await container.services.profiles.get(bearer(token))


async def _read_page(container: Container, token: str) -> None:
    await container.services.contacts.list_page(bearer(token), state=None, after=0, limit=50)


async def _fail(container: Container, token: str) -> None:
    with pytest.raises(PeerNotFound):
        await container.services.contacts.block(bearer(token), 10_000_019)


async def _open_socket(container: Container, token: str) -> None:
    await container.services.streams.open_socket(bearer(token))


async def _take_ticket(container: Container, token: str) -> None:
    await container.services.streams.issue_ticket(bearer(token))


async def _poll(container: Container, token: str) -> None:
    await container.services.sync.sync(bearer(token), cursor=None, limit=1)


async def _send_together(container: Container, token: str) -> None:
    async def send(number: int) -> None:
        draft = MessageDraft(target_id=10_000_019, client_id=f"c{number}", body="Hello")
        with pytest.raises((PeerNotFound, NotAContact)):
            await container.services.messages.send(bearer(token), draft)

    await asyncio.gather(*[send(number) for number in range(20)])


USES: dict[str, Callable[[Container, str], Awaitable[None]]] = {
    "a read": _read,
    "a page": _read_page,
    "a request that fails": _fail,
    "a socket": _open_socket,
    "a ticket": _take_ticket,
    "a poll": _poll,
    "a batch of messages": _send_together,
}


Use = Callable[[Container, TokensView], Awaitable[None]]


@pytest.fixture(params=[*USES, "its refresh token"])
def use(request: pytest.FixtureRequest) -> Use:
    """Each way to use a pair of tokens for the first time."""

    async def used(container: Container, tokens: TokensView) -> None:
        if request.param in USES:
            await USES[request.param](container, tokens.access_token)
        else:
            await refresh(container, tokens.refresh_token)

    return used


@pytest.fixture
async def other_worker(settings: Settings, engine: AsyncEngine, clock: FixedClock) -> AsyncIterator[Container]:
    """A second worker over the same database."""
    container = Container(settings, engine=engine, clock=clock)
    yield container
    await container.close()


class TestUsedSuccessor:
    async def test_old_token_is_superseded_for_a_minute_after_rotation(
        self, container: Container, make: Factory, clock: FixedClock, use: Use
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        await use(container, successor)
        for seconds in (0, 60):
            clock.advance(seconds=seconds)
            with pytest.raises(RefreshTokenSuperseded):
                await refresh(container, ada.refresh_token)
        assert await device_count(container, ada) == 1

    async def test_late_reuse_of_old_token_signs_device_out(
        self, container: Container, make: Factory, clock: FixedClock, use: Use
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        await use(container, successor)
        clock.advance(seconds=60.001)
        with pytest.raises(RefreshTokenReused):
            await refresh(container, ada.refresh_token)
        assert await device_count(container, ada) == 0

    async def test_use_of_successor_on_other_worker_counts(
        self, container: Container, other_worker: Container, make: Factory, use: Use
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        await use(other_worker, successor)
        with pytest.raises(RefreshTokenSuperseded):
            await refresh(container, ada.refresh_token)

    async def test_minute_counts_from_rotation_and_not_from_use(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        clock.advance(minutes=5)
        await _read(container, successor.access_token)
        with pytest.raises(RefreshTokenReused):
            await refresh(container, ada.refresh_token)

    async def test_repeated_answer_does_not_extend_the_minute(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        clock.advance(minutes=5)
        await refresh(container, ada.refresh_token)
        await _read(container, successor.access_token)
        with pytest.raises(RefreshTokenReused):
            await refresh(container, ada.refresh_token)

    async def test_superseded_answer_changes_no_rows(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        await _read(container, successor.access_token)
        tables = "SELECT d, r FROM devices AS d JOIN refresh_tokens AS r ON r.device_id = d.id WHERE d.user_id = $1"
        before = await rows(container, tables, ada.id)
        with pytest.raises(RefreshTokenSuperseded):
            await refresh(container, ada.refresh_token)
        assert await rows(container, tables, ada.id) == before
        assert await opens(container, successor.access_token)
        assert await opens(container, (await refresh(container, successor.refresh_token)).access_token)

    async def test_reuse_is_recorded_and_spares_other_devices(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        other = await make.device(ada)
        successor = await refresh(container, ada.refresh_token)
        await _read(container, successor.access_token)
        clock.advance(seconds=61)
        with pytest.raises(RefreshTokenReused):
            await refresh(container, ada.refresh_token)
        assert await event_data(container, other, "device.removed") == [{"id": str(ada.actor.device_id)}]
        left = await rows(container, "SELECT id FROM devices WHERE user_id = $1", ada.id)
        assert {row["id"] for row in left} == {other.actor.device_id}

    async def test_every_token_of_chain_is_detected_as_reused(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        second = await refresh(container, ada.refresh_token)
        third = await refresh(container, second.refresh_token)
        await _read(container, third.access_token)
        clock.advance(seconds=61)
        with pytest.raises(RefreshTokenReused):
            await refresh(container, ada.refresh_token)
        assert await device_count(container, ada) == 0


class TestStoredTokens:
    async def fill(self, container: Container, ada: Person, count: int) -> None:
        await rows(
            container,
            "INSERT INTO refresh_tokens (hash, device_id, expires_at, used_at)"
            " SELECT decode(md5(n || $1::uuid::text), 'hex'), $1::uuid, $2::timestamptz + interval '1 day',"
            " $2 - n * interval '1 second' FROM generate_series(1, $3::int) AS n",
            ada.actor.device_id,
            container.clock.now(),
            count,
        )

    async def ages(self, container: Container, ada: Person) -> list[int]:
        """Seconds since the use of each of the device's used tokens; the youngest first."""
        found = await rows(
            container,
            "SELECT extract(epoch FROM $2::timestamptz - used_at)::int AS age FROM refresh_tokens"
            " WHERE device_id = $1 AND used_at IS NOT NULL ORDER BY used_at DESC",
            ada.actor.device_id,
            container.clock.now(),
        )
        return [row["age"] for row in found]

    async def test_rotation_keeps_a_bounded_number_of_the_youngest(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await self.fill(container, ada, USED_TOKENS_KEPT + 100)
        await make.refreshed(ada)
        assert await self.ages(container, ada) == [*range(USED_TOKENS_KEPT + 1)]

    async def test_rotation_leaves_tokens_of_other_devices(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        other = await make.device(ada)
        await self.fill(container, other, USED_TOKENS_KEPT + 100)
        await make.refreshed(ada)
        assert len(await self.ages(container, other)) == USED_TOKENS_KEPT + 100


class TestSuccessorMark:
    async def _writes(self, container: Container, statements: StatementLog, token: str) -> int:
        async with statements.recording() as sent:
            await container.services.profiles.get(bearer(token))
        return len(sent) - 1

    async def test_mark_is_written_once(self, container: Container, make: Factory, statements: StatementLog) -> None:
        ada = await make.person()
        successor = await refresh(container, ada.refresh_token)
        assert [await self._writes(container, statements, successor.access_token) for _ in range(3)] == [1, 0, 0]

    async def test_tokens_of_sign_in_need_no_mark(
        self, container: Container, make: Factory, statements: StatementLog
    ) -> None:
        ada = await make.person()
        assert await self._writes(container, statements, ada.access_token) == 0
