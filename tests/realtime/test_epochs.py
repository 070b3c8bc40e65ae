"""Stream epochs: after a restore all older cursors expire, even once the streams have passed them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from messenger.config import Settings
from messenger.container import Container
from messenger.database import stream_epoch
from messenger.errors import ValidationFailed
from messenger.schemas.realtime import Place, cursor_place, require_place, stream_cursor, unknown_cursor
from messenger.testing import Factory, Person
from messenger.testing.databases import temporary_database
from tests.support.sockets import Realtime


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(settings: Settings, fresh_database_url: str) -> AsyncIterator[Container]:
    """Over a separate database, since the epoch applies to all users."""
    own = msgspec.structs.replace(settings, database_url=fresh_database_url, activity_resolution=3600.0, pool_size=5)
    container = Container(own)
    async with container.realtime.running():
        yield container
    await container.close()


async def sync(realtime: Realtime, person: Person, cursor: str | None = None, **query: Any) -> Any:
    return await realtime.sync(person, **({} if cursor is None else {"cursor": cursor}), limit=200, **query)


def bodies(answer: Any) -> list[str]:
    return [event["data"]["body"] for event in answer.json()["events"] if event["event"] == "message.created"]


class TestCursorEpoch:
    @pytest.mark.parametrize("place", [Place(0, ""), Place(42, ""), Place(42, "1f3a9c2b")])
    def test_cursor_contains_position_and_epoch(self, place: Place) -> None:
        assert cursor_place(stream_cursor(*place)) == place

    @pytest.mark.parametrize("cursor", ["", "e", "42", "e-1", "e1-", "e1-A", "e1-a-b", "e1 ", "e1\n", "e" + "1" * 16])
    def test_invalid_cursor_cannot_be_parsed(self, cursor: str) -> None:
        assert cursor_place(cursor) is None
        with pytest.raises(ValidationFailed) as refusal:
            require_place(cursor)
        assert refusal.value.errors == unknown_cursor().errors

    async def test_cursor_without_epoch_belongs_to_first_epoch(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        assert (await sync(realtime, ada)).json()["cursor"] == "e1"
        assert [event["cursor"] for event in (await sync(realtime, ada, "e0")).json()["events"]] == ["e1"]


class TestNewEpoch:
    async def test_older_cursor_expires_despite_stream_progress(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        old = (await sync(realtime, bob)).json()["cursor"]
        epoch = await stream_epoch.begin_at(hosted.settings.database_url)
        for number in range(3):
            await people.message(ada, bob, str(number))
            answer = await sync(realtime, bob, old)
            assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
        page = await hosted.services.conversations.list_page(bob.actor, cursor=None, limit=50)
        assert page.cursor.endswith(f"-{epoch}")
        await people.message(ada, bob, "New")
        answer = await sync(realtime, bob, page.cursor)
        assert bodies(answer) == ["New"]
        assert all(event["cursor"].endswith(f"-{epoch}") for event in answer.json()["events"])
        assert bodies(await sync(realtime, bob, answer.json()["cursor"])) == []

    async def test_waiting_poll_returns_cursor_expired(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        asked = asyncio.create_task(sync(realtime, ada, "e1", wait=30))
        while ada.id not in hosted.hub.waiting_users():
            await asyncio.sleep(0)
        await stream_epoch.begin_at(hosted.settings.database_url)
        hosted.realtime.upkeep.suspect(None)
        assert (await asyncio.wait_for(asked, 5)).status_code == 410

    async def test_socket_with_an_older_cursor_is_resynced(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        for number in range(3):
            await people.message(ada, bob, str(number))
        epoch = await stream_epoch.begin_at(hosted.settings.database_url)
        async with realtime.wire(bob, cursor="e1") as wire:
            frames = [frame["type"] for frame in wire.frames]
            assert frames == ["welcome", "resync"]
            assert wire.frames[1]["cursor"] == f"e6-{epoch}"
            await people.message(ada, bob, "New")
            event = await wire.next("event", "message.created")
            assert (event["cursor"], event["data"]["body"]) == (f"e7-{epoch}", "New")
        async with realtime.wire(bob, cursor=f"e7-{epoch}") as wire:
            assert "resync" not in [frame["type"] for frame in wire.frames]

    async def test_open_socket_is_resynced(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as wire:
            epoch = await stream_epoch.begin_at(hosted.settings.database_url)
            hosted.realtime.upkeep.suspect(None)
            assert (await wire.next("resync"))["cursor"].endswith(f"-{epoch}")
            assert (await wire.next("caught_up"))["cursor"].endswith(f"-{epoch}")
            await people.message(ada, bob, "New")
            assert (await wire.next("event", "message.created"))["cursor"].endswith(f"-{epoch}")

    async def test_older_cursor_acknowledges_no_delivery(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        old = (await sync(realtime, bob)).json()["cursor"]
        await stream_epoch.begin_at(hosted.settings.database_url)
        async with realtime.wire(bob, cursor=old):
            pass
        await sync(realtime, bob, old)
        await hosted.realtime.acks.finish()
        page = await hosted.services.conversations.list_page(ada.actor, cursor=None, limit=1)
        assert page.items[0].target_receipt is not None
        assert page.items[0].target_receipt.delivered_seq == 0


async def epoch_of(connection: Any) -> str:
    epoch: str = await connection.fetchval("SELECT epoch FROM stream_epoch")
    return epoch


@pytest_asyncio.fixture(loop_scope="session")
async def database(fresh_database_url: str) -> AsyncIterator[Any]:
    """A database that a server has used before."""
    connection = await asyncpg.connect(fresh_database_url)
    await stream_epoch.check_epoch(connection, "folder 1")
    yield connection
    await connection.close()


class TestRestoredDatabase:
    async def test_same_folder_keeps_epoch(self, database: Any) -> None:
        assert await epoch_of(database) == ""
        for folder in ("folder 1", None, "folder 1"):
            await stream_epoch.check_epoch(database, folder)
        assert await epoch_of(database) == ""

    async def test_other_folder_begins_an_epoch_once(self, database: Any, caplog: pytest.LogCaptureFixture) -> None:
        await stream_epoch.check_epoch(database, "folder 2")
        first = await epoch_of(database)
        assert len(first) == 8
        assert "cursors from before have expired" in caplog.text
        await stream_epoch.check_epoch(database, "folder 2")
        await stream_epoch.check_epoch(database)
        assert await epoch_of(database) == first

    async def test_other_cluster_or_timeline_begins_an_epoch(self, database: Any) -> None:
        origin: str = await database.fetchval("SELECT origin FROM stream_epoch")
        cluster, timeline, *_ = origin.split("/")
        seen = {await epoch_of(database)}
        for before in (origin.replace(cluster, "1", 1), origin.replace(timeline, "0000000A", 1)):
            await database.execute("UPDATE stream_epoch SET origin = $1", before)
            await stream_epoch.check_epoch(database)
            seen.add(await epoch_of(database))
        assert len(seen) == 3

    async def test_concurrent_processes_begin_single_epoch(self, database: Any, fresh_database_url: str) -> None:
        await database.execute("UPDATE stream_epoch SET origin = 'elsewhere'")
        others = [await asyncpg.connect(fresh_database_url) for _ in range(4)]
        async with database.transaction():
            await database.execute("SELECT FROM stream_epoch FOR UPDATE")
            following = [asyncio.create_task(stream_epoch.check_epoch(other)) for other in others]
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1"
            while await database.fetchval(waiting, "transactionid") + await database.fetchval(waiting, "tuple") < 4:
                await database.execute("SELECT pg_stat_clear_snapshot()")
        await asyncio.gather(*following)
        for other in others:
            await other.close()
        epochs = await database.fetch("SELECT epoch FROM stream_epoch")
        assert len(epochs) == 1
        assert len(epochs[0]["epoch"]) == 8

    async def test_new_connections_of_running_server_detect_new_epoch(
        self, database: Any, fresh_database_url: str, settings: Settings
    ) -> None:
        await database.execute("UPDATE stream_epoch SET origin = 'elsewhere'")
        container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url))
        ada = await Factory(container).person()
        cursor = (await container.services.sync.sync(ada.actor, cursor=None, limit=1)).cursor
        await container.close()
        assert cursor == f"e1-{await epoch_of(database)}"
        assert cursor != "e1-"

    async def test_copied_database_begins_an_epoch(self, database: Any, postgres_url: str) -> None:
        name = await database.fetchval("SELECT current_database()")
        await database.close()
        async with temporary_database(postgres_url, name) as url:
            connection = await asyncpg.connect(url)
            await stream_epoch.check_epoch(connection)
            assert len(await epoch_of(connection)) == 8
            await connection.close()

    async def test_database_without_the_table_is_left_alone(self, database: Any) -> None:
        await database.execute("DROP TABLE stream_epoch")
        await stream_epoch.check_epoch(database, "folder 1")
