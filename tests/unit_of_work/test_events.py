"""Events: recorded with the commit, dropped with a rollback, announced afterwards, and never delaying the commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.clock import new_id
from messenger.events import (
    ContactUpdated,
    ConversationUpdated,
    MessageCreated,
    ProfileUpdated,
    ReceiptUpdated,
    WakeUp,
)
from messenger.testing import Factory
from messenger.unit_of_work import UnitOfWorkFactory
from tests.support.units_of_work import Recorder, checked_out, factory_over, until


async def stream(outside: Any, user_id: int) -> list[tuple[int, str]]:
    """Positions and names in a user's stream, without the device that signed in."""
    rows = await outside.fetch(
        "SELECT position, name FROM events WHERE user_id = $1 AND name <> 'device.added' ORDER BY position", user_id
    )
    return [tuple(row) for row in rows]


async def position(outside: Any, user_id: int) -> int:
    found: int = await outside.fetchval("SELECT position FROM streams WHERE user_id = $1", user_id)
    return found


class TestRecordEvents:
    async def test_event_is_stored_by_commit(self, factory: UnitOfWorkFactory, make: Factory, outside: Any) -> None:
        ada = await make.person()
        base = await position(outside, ada.id)
        async with factory() as uow:
            uow.record(ReceiptUpdated({"target_id": 1}), [ada.id])
        assert await stream(outside, ada.id) == [(base + 1, "receipt.updated")]

    async def test_payload_equals_recorded_data(self, factory: UnitOfWorkFactory, make: Factory, outside: Any) -> None:
        ada = await make.person()
        async with factory() as uow:
            uow.record(ReceiptUpdated({"target_id": 1, "alias": "Ж ☂"}), [ada.id])
        payload = await outside.fetchval(
            "SELECT payload::text FROM events WHERE user_id = $1 AND name = 'receipt.updated'", ada.id
        )
        assert payload == '{"alias": "Ж ☂", "target_id": 1}'

    async def test_event_references_message(self, factory: UnitOfWorkFactory, make: Factory, outside: Any) -> None:
        ada, message_id = await make.person(), new_id()
        async with factory() as uow:
            uow.record(MessageCreated(message_id), [ada.id])
        row = await outside.fetchrow(
            "SELECT subject, peer_id, payload FROM events WHERE user_id = $1 AND name = 'message.created'", ada.id
        )
        assert tuple(row) == (message_id, None, None)

    @pytest.mark.parametrize("kind", [ConversationUpdated, ProfileUpdated])
    async def test_event_references_peer(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any, kind: type[ConversationUpdated | ProfileUpdated]
    ) -> None:
        ada, bob = await make.people(2)
        async with factory() as uow:
            uow.record(kind(bob.id), [ada.id])
        row = await outside.fetchrow(
            "SELECT subject, peer_id, payload FROM events WHERE user_id = $1 AND name = $2", ada.id, kind.name
        )
        assert tuple(row) == (None, bob.id, None)

    async def test_contact_event_references_peer_and_stores_edge(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any
    ) -> None:
        ada, bob = await make.people(2)
        async with factory() as uow:
            uow.record(ContactUpdated(bob.id, {"state": "none"}), [ada.id])
        row = await outside.fetchrow(
            "SELECT subject, peer_id, payload::text FROM events WHERE user_id = $1 AND name = 'contact.updated'", ada.id
        )
        assert tuple(row) == (None, bob.id, '{"state": "none"}')

    async def test_recorded_order_is_stream_order(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any
    ) -> None:
        ada, bob = await make.people(2)
        base = await position(outside, ada.id)
        async with factory() as uow:
            uow.record(ReceiptUpdated({}), [ada.id])
            uow.record(ProfileUpdated(ada.id), [bob.id, ada.id])
            uow.record(ReceiptUpdated({}), [ada.id])
        names = ["receipt.updated", "profile.updated", "receipt.updated"]
        assert await stream(outside, ada.id) == list(enumerate(names, start=base + 1))
        assert [name for _, name in await stream(outside, bob.id)] == ["profile.updated"]

    async def test_event_without_recipients_is_ignored(self, factory: UnitOfWorkFactory, recorder: Recorder) -> None:
        async with factory() as uow:
            uow.record(ReceiptUpdated({}), [])
        assert recorder.news == []

    @pytest.mark.parametrize("mode", ["command", "read"])
    async def test_record_outside_transaction_is_refused(self, factory: UnitOfWorkFactory, mode: str) -> None:
        async with getattr(factory, mode)() as uow:
            with pytest.raises(RuntimeError, match="in a transaction"):
                uow.record(ReceiptUpdated({}), [1])

    async def test_rollback_drops_event(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any, recorder: Recorder
    ) -> None:
        ada = await make.person()
        base = await position(outside, ada.id)
        with pytest.raises(ValueError, match="a bug"):
            await _record_and_raise(factory, ada.id)
        assert (await stream(outside, ada.id), await position(outside, ada.id)) == ([], base)
        assert recorder.news == []


class TestStreamOrder:
    async def test_position_order_is_commit_order(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any
    ) -> None:
        ada = await make.person()
        base = await position(outside, ada.id)

        async def record() -> None:
            async with factory() as uow:
                uow.record(ProfileUpdated(ada.id), [ada.id])

        # The transaction that holds the stream has its next position; a later one waits, and gets a later position.
        async with outside.transaction():
            await outside.execute("UPDATE streams SET position = position + 1 WHERE user_id = $1", ada.id)
            await outside.execute(
                "INSERT INTO events (user_id, position, name, at) VALUES ($1, $2, 'contact.updated', now())",
                ada.id,
                base + 1,
            )
            waiting = asyncio.create_task(record())
            await until(
                outside,
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))",
            )
            assert not waiting.done()
        await waiting
        assert await stream(outside, ada.id) == [(base + 1, "contact.updated"), (base + 2, "profile.updated")]

    async def test_concurrent_events_leave_no_gap(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any
    ) -> None:
        ada, bob = await make.people(2)
        base = await position(outside, ada.id)

        async def record(audience: list[int]) -> None:
            async with factory() as uow:
                uow.record(ProfileUpdated(ada.id), audience)

        audiences = [[ada.id, bob.id], [bob.id, ada.id]]
        await asyncio.gather(*(record(audiences[n % 2]) for n in range(40)))
        assert [place for place, _ in await stream(outside, ada.id)] == list(range(base + 1, base + 41))


class TestWakeUp:
    async def test_wake_up_names_newest_position(
        self, factory: UnitOfWorkFactory, make: Factory, outside: Any, recorder: Recorder
    ) -> None:
        ada, bob = await make.people(2)
        async with factory() as uow:
            uow.record(ProfileUpdated(ada.id), [ada.id, bob.id])
        expected = [WakeUp(each.id, await position(outside, each.id), "profile.updated") for each in (ada, bob)]
        assert sorted(recorder.news, key=lambda news: news.user_id) == sorted(expected, key=lambda news: news.user_id)

    async def test_wake_up_follows_commit_without_connection(
        self, engine: AsyncEngine, make: Factory, outside: Any
    ) -> None:
        ada = await make.person()
        found: list[tuple[list[tuple[int, str]], int]] = []

        class Looking(Recorder):
            async def announce(self, news: list[WakeUp]) -> None:
                found.append((await stream(outside, ada.id), checked_out(engine)))

        async with factory_over(engine, Looking())() as uow:
            uow.record(ProfileUpdated(ada.id), [ada.id])
        (events, connections) = found[0]
        assert [name for _, name in events] == ["profile.updated"]
        assert connections == 0

    async def test_failed_wake_up_does_not_fail_commit(
        self, engine: AsyncEngine, make: Factory, outside: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ada = await make.person()

        class Broken(Recorder):
            async def announce(self, news: list[WakeUp]) -> None:
                raise ConnectionError("the bus is away")

        async with factory_over(engine, Broken())() as uow:
            uow.record(ProfileUpdated(ada.id), [ada.id])
        assert [name for _, name in await stream(outside, ada.id)] == ["profile.updated"]
        assert "a wake-up failed" in caplog.text

    async def test_event_written_by_statement_is_announced(
        self, factory: UnitOfWorkFactory, recorder: Recorder
    ) -> None:
        news = [WakeUp(1, 7, "message.created")]
        async with factory.command() as uow:
            uow.announce(news)
            assert recorder.news == []
        assert recorder.news == news

    async def test_event_of_rolled_back_statement_is_not_announced(
        self, factory: UnitOfWorkFactory, recorder: Recorder
    ) -> None:
        async def use_case() -> None:
            async with factory.command() as uow:
                uow.announce([WakeUp(1, 7, "message.created")])
                _raise()

        with pytest.raises(ValueError, match="a bug"):
            await use_case()
        assert recorder.news == []


async def _record_and_raise(factory: UnitOfWorkFactory, user_id: int) -> None:
    async with factory() as uow:
        uow.record(ProfileUpdated(user_id), [user_id])
        _raise()


def _raise() -> None:
    raise ValueError("a bug")
