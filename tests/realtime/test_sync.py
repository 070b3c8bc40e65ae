"""The long poll: pages, waiting, expired cursors, unreadable rows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from messenger.container import Container
from messenger.errors import CursorExpired, Unauthenticated
from messenger.realtime import channel
from messenger.testing import Factory, Person
from tests.support.sockets import Realtime


async def waiting(hosted: Container, person: Person) -> None:
    """Wait until a request of this user is waiting."""
    while person.id not in hosted.hub.waiting_users():
        await asyncio.sleep(0)


async def execute(hosted: Container, sql: str) -> None:
    async with hosted.engine.begin() as connection:
        await connection.exec_driver_sql(sql)


class TestSyncPages:
    async def test_sync_without_cursor_starts_now(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        assert (await realtime.sync(ada)).json() == {"events": [], "cursor": "e1", "more": False}

    async def test_sync_pages_are_contiguous_and_in_order(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        for number in range(7):
            await people.message(ada, bob, str(number))
        cursor, more, events = "e0", True, []
        while more:
            page = (await realtime.sync(bob, cursor=cursor, limit=3)).json()
            assert len(page["events"]) <= 3
            cursor, more = page["cursor"], page["more"]
            events += page["events"]
        assert [event["cursor"] for event in events] == [f"e{n}" for n in range(1, len(events) + 1)]
        assert [e["data"]["body"] for e in events if e["event"] == "message.created"] == [str(n) for n in range(7)]

    async def test_cursor_of_conversation_page_resumes_sync(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob, "Before")
        cursor = (await hosted.services.conversations.list_page(bob.actor, cursor=None, limit=50)).cursor
        await people.message(ada, bob, "After")
        events = (await realtime.sync(bob, cursor=cursor)).json()["events"]
        assert [event["data"]["body"] for event in events if event["event"] == "message.created"] == ["After"]

    async def test_sync_reads_only_own_stream(self, realtime: Realtime, people: Factory) -> None:
        ada, bob, eve = await people.people(3)
        await people.befriend(ada, bob)
        await people.message(ada, bob, "Secret")
        assert [e["event"] for e in (await realtime.sync(eve, cursor="e0")).json()["events"]] == ["device.added"]

    async def test_deleted_text_is_not_replayed(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        message = await people.message(ada, bob, "Regret")
        await hosted.services.messages.delete(ada.actor, message.id, who="everyone")
        for person in (ada, bob):
            assert "Regret" not in (await realtime.sync(person, cursor="e0", limit=200)).text

    async def test_hidden_text_is_replayed_only_to_peer(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        message = await people.message(ada, bob, "Hidden")
        await hosted.services.messages.delete(bob.actor, message.id, who="me")
        assert "Hidden" not in (await realtime.sync(bob, cursor="e0", limit=200)).text
        assert "Hidden" in (await realtime.sync(ada, cursor="e0", limit=200)).text

    async def test_erased_contact_is_replayed_without_name(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        bob = await people.person()
        carol = await people.person("carol_the_secret", name="Carol Canary")
        await people.befriend(carol, bob)
        await hosted.services.accounts.erase(carol.actor, carol.password)
        text = (await realtime.sync(bob, cursor="e0", limit=200)).text
        assert ("carol_the_secret" in text, "Canary" in text) == (False, False)

    @pytest.mark.parametrize(
        "query",
        [
            {"cursor": "garbage"},
            {"cursor": ""},
            {"cursor": "e1", "wait": 31},
            {"cursor": "e1", "wait": -1},
            {"cursor": "e1", "wait": "nan"},
            {"cursor": "e1", "wait": "inf"},
            {"cursor": "e1", "limit": 0},
            {"cursor": "e1", "limit": 201},
        ],
    )
    async def test_invalid_sync_query_is_400(self, realtime: Realtime, people: Factory, query: dict[str, Any]) -> None:
        answer = await realtime.sync(await people.person(), **query)
        assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")


class TestCursorExpiry:
    async def test_cursor_before_the_sweep_is_410(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        await execute(
            hosted, f"UPDATE events SET at = at - interval '31 days' WHERE user_id = {bob.id} AND position < 3"
        )
        # A pass removes a bounded number of rows of any user.
        swept = 1
        while swept:
            async with hosted.uow.command() as uow:
                swept = await uow.sweeps.sweep("events", events_kept_for=timedelta(days=30))
        answer = await realtime.sync(bob, cursor="e1")
        assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
        assert (await realtime.sync(bob, cursor="e2")).json()["events"][0]["cursor"] == "e3"

    async def test_swept_stream_is_410_except_at_end(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        await people.device(ada)
        await execute(hosted, f"DELETE FROM events WHERE user_id = {ada.id}")
        assert (await realtime.sync(ada, cursor="e1")).status_code == 410
        assert (await realtime.sync(ada, cursor="e2")).json() == {"events": [], "cursor": "e2", "more": False}

    async def test_gap_in_stream_is_410(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        await execute(hosted, f"DELETE FROM events WHERE user_id = {bob.id} AND position = 3")
        assert (await realtime.sync(bob, cursor="e0")).status_code == 410

    async def test_cursor_ahead_of_the_stream_is_410(self, realtime: Realtime, people: Factory) -> None:
        answer = await realtime.sync(await people.person(), cursor="e999", wait=5)
        assert answer.status_code == 410


class TestLongPoll:
    async def test_poll_ends_with_first_event(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        cursor = (await realtime.sync(bob)).json()["cursor"]
        asked = asyncio.create_task(realtime.sync(bob, cursor=cursor, wait=30))
        await waiting(hosted, bob)
        await people.message(ada, bob, "Hello")
        page = (await asyncio.wait_for(asked, 5)).json()
        assert [event["data"]["body"] for event in page["events"]] == ["Hello"]

    async def test_poll_timeout_returns_same_cursor(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        answer = await realtime.sync(ada, cursor="e1", wait=0.05)
        assert answer.json() == {"events": [], "cursor": "e1", "more": False}

    async def test_newer_poll_of_device_ends_older_poll(
        self, realtime: Realtime, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(channel, "REPLACED_SECONDS", 0.2)
        ada = await people.person()
        older = await self._polling(realtime, hosted, ada)
        newer = await self._polling(realtime, hosted, ada, of=2)
        assert (await asyncio.wait_for(older, 5)).json() == {"events": [], "cursor": "e1", "more": False}
        assert not newer.done()
        hosted.hub.close()
        await newer

    async def test_concurrent_polls_of_device_all_return_event(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        cursor = (await realtime.sync(bob)).json()["cursor"]
        polls = [await self._polling(realtime, hosted, bob, cursor, of=number) for number in (1, 2, 3)]
        await people.message(ada, bob, "Hello")
        for answer in await asyncio.wait_for(asyncio.gather(*polls), 5):
            assert [event["data"]["body"] for event in answer.json()["events"]] == ["Hello"]

    @pytest.mark.parametrize("programs", [2, 3])
    async def test_competing_polls_of_device_make_few_requests(
        self, realtime: Realtime, people: Factory, monkeypatch: pytest.MonkeyPatch, programs: int
    ) -> None:
        monkeypatch.setattr(channel, "REPLACED_SECONDS", 0.3)
        ada, bob = await people.friends()
        cursor = (await realtime.sync(ada)).json()["cursor"]
        answers: list[float] = []

        async def poll() -> None:
            while True:
                await realtime.sync(ada, cursor=cursor, wait=30)
                answers.append(asyncio.get_running_loop().time())

        began = asyncio.get_running_loop().time()
        tasks = [asyncio.create_task(poll()) for _ in range(programs)]
        while len(answers) < programs:
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Answer the polls of closed connections: the server would wait for them when it ends.
        await people.message(bob, ada, "Hello")
        assert min(answers) - began >= 0.3

    async def test_poll_and_socket_of_device_both_receive_events(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        cursor = (await realtime.sync(bob)).json()["cursor"]
        poll = await self._polling(realtime, hosted, bob, cursor)
        async with realtime.wire(bob) as wire:
            assert not poll.done()
            await people.message(ada, bob, "Hello")
            assert (await wire.event("message.created"))["body"] == "Hello"
        # A slow poll also returns the receipt of the socket's acknowledgement.
        created = (await poll).json()["events"][0]
        assert (created["event"], created["data"]["body"]) == ("message.created", "Hello")

    async def test_replaced_poll_ends_when_server_drains(
        self, realtime: Realtime, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(channel, "REPLACED_SECONDS", 60.0)
        ada = await people.person()
        polls = [await self._polling(realtime, hosted, ada, of=number) for number in (1, 2)]
        hosted.drain()
        for answer in await asyncio.wait_for(asyncio.gather(*polls), 5):
            assert answer.json()["events"] == []

    async def _polling(
        self, realtime: Realtime, hosted: Container, person: Person, cursor: str = "e1", *, of: int = 1
    ) -> asyncio.Task[Any]:
        """A waiting request, the `of`th of this user."""
        poll = asyncio.create_task(realtime.sync(person, cursor=cursor, wait=30))
        while len(hosted.hub._channel(person.id).long_polls) < of:
            await asyncio.sleep(0)
        return poll

    async def test_poll_holds_no_database_connection(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        asked = asyncio.create_task(realtime.sync(ada, cursor="e1", wait=0.5))
        await waiting(hosted, ada)
        await asyncio.sleep(0.1)
        pool: Any = hosted.engine.sync_engine.pool
        assert pool.checkedout() == 0
        await asked

    async def test_poll_of_signed_out_device_is_401(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        asked = asyncio.create_task(realtime.sync(ada, cursor="e1", wait=30))
        await waiting(hosted, ada)
        await hosted.services.devices.logout(ada.actor)
        assert (await asyncio.wait_for(asked, 5)).status_code == 401

    async def test_poll_ends_when_server_drains(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada = await people.person()
        asked = asyncio.create_task(realtime.sync(ada, cursor="e1", wait=30))
        await waiting(hosted, ada)
        hosted.drain()
        answer = await asyncio.wait_for(asked, 5)
        assert (answer.status_code, answer.json()["events"]) == (200, [])
        async with httpx.AsyncClient(base_url=realtime.http) as client:
            ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["process"]) == (503, "draining")


class TestUnreadableEvents:
    async def test_unreadable_event_is_skipped(
        self, realtime: Realtime, people: Factory, hosted: Container, caplog: pytest.LogCaptureFixture
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob, "Before")
        await execute(
            hosted, f"UPDATE events SET name = 'no.such', subject = NULL WHERE user_id = {bob.id} AND position = 2"
        )
        page = (await realtime.sync(bob, cursor="e0", limit=200)).json()
        assert [event["cursor"] for event in page["events"]] == ["e1", "e3", "e4"]
        assert "could not be shown" in caplog.text

    async def test_page_of_unreadable_events_does_not_end_stream(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        _, bob = await people.friends()
        await execute(hosted, f"UPDATE events SET name = 'no.such' WHERE user_id = {bob.id} AND position <= 2")
        page = (await realtime.sync(bob, cursor="e0", limit=2)).json()
        assert page == {"events": [], "cursor": "e2", "more": True}
        async with realtime.wire(bob, cursor="e0") as wire:
            assert [frame["cursor"] for frame in wire.frames if frame["type"] == "event"] == ["e3"]


class TestSyncService:
    async def test_unknown_caller_is_refused(self, hosted: Container, people: Factory) -> None:
        ada = await people.person()
        await hosted.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await hosted.services.sync.sync(ada.actor, cursor="e0", limit=1)

    async def test_expired_cursor_raises_cursor_expired(self, hosted: Container, people: Factory) -> None:
        ada = await people.person()
        with pytest.raises(CursorExpired):
            await hosted.services.sync.sync(ada.actor, cursor="e7", limit=1)
