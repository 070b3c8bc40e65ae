"""Sweeps remove expired rows, and nothing else. Each test has a database of its own, since whole tables are counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import CursorExpired, DatabaseUnavailable, StorageUnavailable, Unauthenticated
from messenger.media.processor import ImageProcessor
from messenger.repositories.sweeps import BATCH, SWEEPS
from messenger.schemas.messages import ConversationPatch
from messenger.services.avatars import AvatarService
from messenger.services.maintenance import MaintenanceService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory
from tests.services._avatars import Store, files_of, noise, row_of
from tests.support.tables import rows
from tests.support.units_of_work import Recorder


@pytest.fixture
async def fresh(fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
    container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
    yield container
    await container.close()


@pytest.fixture
def people(fresh: Container) -> Factory:
    return Factory(fresh)


@pytest.fixture(scope="module")
async def processor() -> AsyncIterator[ImageProcessor]:
    """The worker processes are started once."""
    processor = ImageProcessor(timeout=60)
    yield processor
    await processor.close()


async def swept(container: Container) -> dict[str, int]:
    """What a sweep removed."""
    return {name: count for name, count in (await container.services.maintenance.sweep()).items() if count}


async def count(container: Container, table: str) -> int:
    (row,) = await rows(container, f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


ACTIONS = (
    "expired_messages",
    "group_invitations",
    "group_requests",
    "idle_devices",
    "disabled_owners",
    "avatars",
)


class TestSweep:
    async def test_sweep_of_empty_database_removes_no_rows(self, fresh: Container) -> None:
        assert await fresh.services.maintenance.sweep() == dict.fromkeys([*SWEEPS, *ACTIONS], 0)

    async def test_recent_rows_stay(self, fresh: Container, people: Factory) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        assert await swept(fresh) == {}

    async def test_idempotency_answers_are_removed_after_a_day(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada = await people.person()
        async with fresh.uow() as uow:
            await uow.idempotency.claim(str(ada.id), "a key", b"1" * 32)
        clock.advance(hours=24)
        assert "idempotency_keys" not in await swept(fresh)
        clock.advance(milliseconds=1)
        assert (await swept(fresh))["idempotency_keys"] == 1 == 1 - await count(fresh, "idempotency_keys")

    async def test_rate_buckets_are_removed_after_two_days(self, fresh: Container, clock: FixedClock) -> None:
        async with fresh.uow.command() as uow:
            await uow.limits.consume("a bucket", capacity=5, rate=1)
        clock.advance(days=2)
        assert await swept(fresh) == {}
        clock.advance(milliseconds=1)
        assert await swept(fresh) == {"rate_buckets": 1}

    async def test_idle_device_is_removed_with_tokens(
        self, fresh: Container, people: Factory, clock: FixedClock, settings: Settings
    ) -> None:
        ada = await people.person()
        clock.advance(seconds=settings.refresh_token_ttl)
        assert not {"refresh_tokens", "idle_devices"} & set(await swept(fresh))
        clock.advance(milliseconds=1)
        removed = await swept(fresh)
        assert removed["idle_devices"] == 1
        assert [await count(fresh, table) for table in ("refresh_tokens", "devices", "users")] == [0, 0, 1]
        with pytest.raises(Unauthenticated):
            await fresh.services.devices.authenticate(ada.actor)

    async def test_removed_idle_device_notifies_only_owner(
        self, fresh: Container, people: Factory, clock: FixedClock, settings: Settings
    ) -> None:
        ada, bob = await people.people(2)
        for _ in range(2):
            await people.device(ada, "Old tablet")
        clock.advance(seconds=settings.refresh_token_ttl + 1)
        phones = [await people.device(ada, "Phone"), await people.device(bob, "Phone")]
        sync = fresh.services.sync.sync
        cursors = [(await sync(phone.actor, cursor=None, limit=1)).cursor for phone in phones]
        recorder = Recorder()
        fresh.uow.announcer = recorder
        ended = await rows(fresh, "SELECT id, user_id FROM devices WHERE access_expires_at < $1", clock.now())
        assert (await swept(fresh))["idle_devices"] == len(ended) == 4
        for phone, cursor in zip(phones, cursors, strict=True):
            events = (await sync(phone.actor, cursor=cursor, limit=10)).events
            gone = {("device.removed", row["id"]) for row in ended if row["user_id"] == phone.id}
            assert {(frame.event, frame.data.id) for frame in events} == gone
        await fresh.realtime.acks.finish()
        assert sorted((news.user_id, news.name) for news in recorder.news) == sorted(
            (row["user_id"], "device.removed") for row in ended
        )

    async def test_device_with_valid_refresh_token_stays(
        self, fresh: Container, people: Factory, clock: FixedClock, settings: Settings
    ) -> None:
        ada = await people.person()
        clock.advance(seconds=settings.refresh_token_ttl - 1)
        await fresh.services.devices.refresh(ada.refresh_token, address="192.0.2.1")
        # The used token expires; its successor and the device stay valid.
        clock.advance(seconds=settings.access_token_ttl + 2)
        removed = await swept(fresh)
        assert (removed["refresh_tokens"], removed.get("idle_devices")) == (1, None)
        assert await count(fresh, "devices") == 1

    async def test_events_are_removed_after_thirty_days(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        old = await count(fresh, "events")
        clock.advance(days=30)
        await people.message(bob, ada)
        assert "events" not in await swept(fresh)
        clock.advance(milliseconds=1)
        assert (await swept(fresh))["events"] == old
        assert await count(fresh, "events") == 2

    @pytest.mark.parametrize("days", [1, 90])
    async def test_event_retention_follows_settings(
        self, fresh_database_url: str, settings: Settings, clock: FixedClock, days: int
    ) -> None:
        changed = msgspec.structs.replace(settings, database_url=fresh_database_url, event_retention=days)
        container = Container(changed, clock=clock)
        ada = await Factory(container).person()
        clock.advance(days=days)
        assert "events" not in await swept(container)
        clock.advance(milliseconds=1)
        assert (await swept(container))["events"] == 1
        phone = await Factory(container).device(ada)
        with pytest.raises(CursorExpired):
            await container.services.sync.sync(phone.actor, cursor="e0", limit=1)
        await container.close()

    async def test_stream_positions_continue_after_sweep(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        (before,) = await rows(fresh, "SELECT position FROM streams WHERE user_id = $1", ada.id)
        clock.advance(days=31)
        await swept(fresh)
        await people.message(ada, bob)
        (event,) = await rows(fresh, "SELECT position FROM events WHERE user_id = $1", ada.id)
        assert event["position"] == before["position"] + 1

    async def test_expired_messages_are_emptied(self, fresh: Container, people: Factory, clock: FixedClock) -> None:
        ada, bob = await people.friends()
        lasting = await people.message(ada, bob)
        await fresh.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        expiring = await people.message(ada, bob, mentions=[bob.id])
        clock.advance(seconds=60)
        seen = await fresh.services.messages.get(bob.actor, expiring.id)
        assert await swept(fresh) == {}
        clock.advance(milliseconds=1)
        assert await swept(fresh) == {"expired_messages": 1}
        kept = await rows(fresh, "SELECT id, body, mentions FROM messages ORDER BY seq")
        assert [tuple(row.values()) for row in kept] == [(lasting.id, "Hello", []), (expiring.id, None, [])]
        assert await fresh.services.messages.get(bob.actor, expiring.id) == seen
        assert await swept(fresh) == {}

    async def test_seq_of_expired_message_is_not_reused(
        self, fresh: Container, people: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await people.friends()
        await fresh.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        await people.message(ada, bob)
        clock.advance(seconds=61)
        await swept(fresh)
        assert (await people.message(ada, bob)).seq == 2


class TestSweepBounds:
    async def _fill(self, fresh: Container, number: int, clock: FixedClock) -> None:
        sql = "INSERT INTO rate_buckets SELECT n::text, 1, $2 FROM generate_series(1, $1) AS n"
        await rows(fresh, sql, number, clock.now())
        clock.advance(days=3)

    async def test_sweep_pass_removes_bounded_number_of_rows(self, fresh: Container, clock: FixedClock) -> None:
        await self._fill(fresh, BATCH + 1, clock)
        assert [await swept(fresh) for _ in range(3)] == [{"rate_buckets": BATCH}, {"rate_buckets": 1}, {}]

    async def test_concurrent_sweeps_remove_each_row_once(self, fresh: Container, clock: FixedClock) -> None:
        await self._fill(fresh, 300, clock)
        removed = await asyncio.gather(*(fresh.services.maintenance.sweep() for _ in range(4)))
        assert sum(each["rate_buckets"] for each in removed) == 300

    async def test_locked_row_is_skipped(self, fresh: Container, clock: FixedClock) -> None:
        await self._fill(fresh, 3, clock)
        async with fresh.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                await driver.execute("SELECT FROM rate_buckets WHERE key = '2' FOR UPDATE")
                assert await swept(fresh) == {"rate_buckets": 2}
        assert await swept(fresh) == {"rate_buckets": 1}


class TestSweepLoop:
    async def test_sweep_loop_continues_after_failure(self, fresh: Container, clock: FixedClock, caplog: Any) -> None:
        twice = asyncio.Event()
        passes = 0

        class Failing(MaintenanceService):
            async def sweep(self) -> dict[str, int]:
                nonlocal passes
                passes += 1
                if passes == 2:
                    twice.set()
                raise DatabaseUnavailable

        failing = Failing(fresh.uow, clock, fresh.store, events_kept_for=timedelta(days=30))
        running = asyncio.create_task(failing.run(every=0.001))
        await asyncio.wait_for(twice.wait(), 10)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert "a sweep failed" in caplog.text

    async def test_container_sweeps_while_running(self, fresh: Container, clock: FixedClock) -> None:
        async with fresh.uow.command() as uow:
            await uow.limits.consume("a bucket", capacity=5, rate=1)
        clock.advance(days=3)
        async with fresh.running(), asyncio.timeout(10):
            while await count(fresh, "rate_buckets"):
                pass


class TestAvatarSweep:
    """Leftovers of a crash are removed after an hour."""

    @pytest.fixture
    def store(self) -> Store:
        return Store()

    @pytest.fixture
    def image(self) -> bytes:
        return noise()

    @pytest.fixture
    def sweeper(self, fresh: Container, clock: FixedClock, store: Store) -> MaintenanceService:
        return MaintenanceService(fresh.uow, clock, store, events_kept_for=timedelta(days=30))

    @pytest.fixture
    def uploads(self, fresh: Container, processor: ImageProcessor, store: Store) -> AvatarService:
        return AvatarService(fresh.uow, RateLimiter(fresh.uow, enabled=False), processor, store, key=b"k" * 32)

    @pytest.mark.parametrize("died", ["before the files", "after the files", "in the removal"])
    async def test_orphaned_avatar_files_are_removed(
        self,
        fresh: Container,
        people: Factory,
        sweeper: MaintenanceService,
        uploads: AvatarService,
        store: Store,
        clock: FixedClock,
        image: bytes,
        died: str,
    ) -> None:
        ada = await people.person()
        if died == "in the removal":
            await uploads.upload(ada.actor, image)
            store.down = frozenset({"delete"})
            await uploads.remove(ada.actor)
        else:
            store.down = frozenset({"put" if died == "before the files" else "put_thumb"})
            with pytest.raises(StorageUnavailable):
                await uploads.upload(ada.actor, image)
        store.down = frozenset()
        ((key,),) = [tuple(row.values()) for row in await rows(fresh, "SELECT key FROM avatars")]
        clock.advance(hours=1)
        assert (await sweeper.sweep())["avatars"] == 0
        assert await row_of(fresh, key) is not None
        clock.advance(milliseconds=1)
        assert (await sweeper.sweep())["avatars"] == 1
        assert (await files_of(store, key), await row_of(fresh, key)) == (0, None)

    async def test_avatar_in_use_stays(
        self,
        fresh: Container,
        people: Factory,
        sweeper: MaintenanceService,
        uploads: AvatarService,
        store: Store,
        clock: FixedClock,
        image: bytes,
    ) -> None:
        ada = await people.person()
        key = (await uploads.upload(ada.actor, image)).avatar.key
        clock.advance(days=400)
        assert (await sweeper.sweep())["avatars"] == 0
        assert await files_of(store, key) == 2

    async def test_sweep_is_retried_after_store_failure(
        self,
        fresh: Container,
        people: Factory,
        sweeper: MaintenanceService,
        uploads: AvatarService,
        store: Store,
        clock: FixedClock,
        image: bytes,
    ) -> None:
        ada = await people.person()
        key = (await uploads.upload(ada.actor, image)).avatar.key
        store.down = frozenset({"delete"})
        await uploads.remove(ada.actor)
        removed = []
        for down in (True, False):
            store.down = frozenset({"delete"} if down else ())
            clock.advance(hours=2)
            removed.append((await sweeper.sweep())["avatars"])
        assert removed == [0, 1]
        assert (await files_of(store, key), await row_of(fresh, key)) == (0, None)
