"""Unreadable rows are omitted, logged once and counted; everything else is delivered, over `GET /sync`, sockets and
pages.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import msgspec
import pytest

from messenger.config import Settings
from messenger.container import Container
from messenger.database.runner import Runner
from messenger.errors import DatabaseUnavailable
from messenger.realtime.frames import MSGPACK_PROTOCOL
from messenger.repositories.streams import StreamRepository
from messenger.testing import Factory, Person
from tests.realtime._poison import BEYOND, POISON, Poison, counted, insert
from tests.realtime.test_sync import execute
from tests.support.sockets import Realtime
from tests.support.units_of_work import Recorder


def bodies(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["body"] for event in events if event.get("event") == "message.created"]


async def get(realtime: Realtime, person: Person, path: str, **query: Any) -> Any:
    async with httpx.AsyncClient(base_url=realtime.http) as client:
        answer = await client.get(path, headers=person.headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestUnreadableStreamRows:
    @pytest.mark.parametrize("what", POISON)
    async def test_stream_continues_after_unreadable_row(
        self, what: str, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob, "Before")
        place = await insert(hosted, bob, POISON[what], ada)
        await people.message(ada, bob, "After")
        page = (await realtime.sync(bob, cursor="e0", limit=200)).json()
        assert [int(event["cursor"][1:]) for event in page["events"]] == [*range(1, place), place + 1]
        assert (page["cursor"], page["more"]) == (f"e{place + 1}", False)
        assert counted(hosted, "event") == 1
        async with realtime.wire(bob, cursor="e0", subprotocols=[MSGPACK_PROTOCOL]) as wire:
            assert bodies(wire.frames) == ["Before", "After"]

    async def test_live_socket_continues_after_unreadable_row(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        phone = await people.device(bob)
        async with realtime.wire(bob) as wire, realtime.wire(phone, subprotocols=[MSGPACK_PROTOCOL]) as other:
            for poison in (POISON["no such event"], POISON["a time beyond the calendar"]):
                place = await insert(hosted, bob, poison, ada)
                await people.message(ada, bob, str(place))
                for each in (wire, other):
                    assert (await each.event("message.created"))["body"] == str(place)

    @pytest.mark.parametrize("what", ["no such event", "a time beyond the calendar"])
    async def test_stream_continues_after_page_of_unreadable_rows(
        self, what: str, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        """More of them than a page holds: an empty page does not mean the end of a stream."""
        ada, bob = await people.friends()
        async with realtime.wire(bob) as live:
            place = await insert(hosted, bob, POISON[what], ada, times=230)
            await people.message(ada, bob, "After")
            async with asyncio.timeout(20):
                assert (await live.event("message.created"))["body"] == "After"
        async with realtime.wire(bob, cursor=f"e{place - 230}", live=False) as wire:
            assert int((await wire.next("caught_up"))["cursor"][1:]) > place
            assert bodies(wire.frames) == ["After"]

    async def test_poll_returns_page_of_unreadable_rows(
        self, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = await people.friends()
        last = await insert(hosted, bob, POISON["no such event"], ada, times=3)
        recorder = Recorder()
        monkeypatch.setattr(hosted.uow, "observer", recorder)
        page = await hosted.services.sync.sync(bob.actor, cursor=f"e{last - 3}", limit=2, wait=30)
        assert (page.events, page.cursor, page.more) == ([], f"e{last - 1}", True)
        assert recorder.seen == [("streams.read", False)]

    async def test_stream_does_not_show_foreign_message(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        eve = await people.person()
        message = await people.message(ada, bob, "Between us")
        await insert(hosted, eve, Poison("message.created", subject=f"'{message.id}'"), ada)
        page = await realtime.sync(eve, cursor="e0", limit=200)
        assert ("Between us" in page.text, [e["event"] for e in page.json()["events"]]) == (False, ["device.added"])

    async def test_gap_beside_unreadable_row_is_410(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        last = await insert(hosted, bob, POISON["a time beyond the calendar"], ada)
        await people.message(ada, bob)
        await execute(hosted, f"DELETE FROM events WHERE user_id = {bob.id} AND position = {last - 1}")
        assert (await realtime.sync(bob, cursor="e0")).status_code == 410
        assert (await realtime.sync(bob, cursor=f"e{last - 1}")).json()["cursor"] == f"e{last + 1}"

    async def test_unreadable_row_costs_bounded_reads(
        self, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = await people.friends()
        for _ in range(30):
            await people.message(ada, bob)
        place = await insert(hosted, bob, POISON["a time beyond the calendar"], ada)
        for _ in range(30):
            await people.message(ada, bob)
        recorder = Recorder()
        monkeypatch.setattr(hosted.uow, "observer", recorder)
        page = await hosted.services.streams.read_page(bob.actor, after=place - 25, limit=50)
        assert (len(page.events), page.end) == (49, place + 25)
        # The page, its positions, all of them again, and two halves of each part that contains it.
        assert recorder.seen[:2] == [("streams.read", True), ("streams.places", False)]
        assert 3 + 2 * 5 <= len(recorder.seen) <= 3 + 2 * 6


class TestLoggedRows:
    """The log line for the operator."""

    async def test_unreadable_row_is_logged_once_with_position_and_no_content(
        self, realtime: Realtime, people: Factory, hosted: Container, caplog: pytest.LogCaptureFixture
    ) -> None:
        ada, bob = await people.friends()
        secret = Poison("contact.updated", """'{"state": ["mutual"], "alias": "Canary"}'""", "{other}")
        places = [await insert(hosted, bob, secret, ada) for _ in range(2)]
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await realtime.sync(bob, cursor="e0", limit=200)
        logged = [record.getMessage() for record in caplog.records if "could not be shown" in record.getMessage()]
        assert [f"position {place} of user {bob.id}" in line for place, line in zip(places, logged, strict=True)] == [
            True,
            True,
        ]
        assert "Canary" not in caplog.text
        assert counted(hosted, "event") == 2


class TestUnreadablePageRows:
    @pytest.mark.parametrize("wrong", [f"created_at = {BEYOND}", "mentions = '{NULL}'"])
    async def test_history_omits_unreadable_message(
        self, wrong: str, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        sent = [await people.message(ada, bob, str(number)) for number in range(1, 8)]
        await execute(hosted, f"UPDATE messages SET {wrong} WHERE id = '{sent[3].id}'")

        async def history(**query: Any) -> tuple[list[int], int | None, int]:
            page = await get(realtime, bob, f"/history/{ada.id}", **query)
            return [item["seq"] for item in page["items"]], page["next"], page["last_seq"]

        assert await history() == ([1, 2, 3, 5, 6, 7], None, 7)
        # An omitted row does not end a list, and does not lose where the next page begins.
        assert await history(limit=4) == ([5, 6, 7], 4, 7)
        assert await history(before=5, limit=1) == ([], 4, 7)
        assert await history(before=4, limit=9) == ([1, 2, 3], None, 7)
        assert await history(after=2, limit=2) == ([3], 4, 7)
        assert await history(after=4) == ([5, 6, 7], None, 7)
        assert counted(hosted, "message") == 1

    @pytest.mark.parametrize("wrong", [f"created_at = {BEYOND}", "mentions = '{NULL}'"])
    async def test_conversations_omit_unreadable_conversation(
        self, wrong: str, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        bob = await people.person()
        others = await people.people(4)
        for other in others:
            await people.befriend(other, bob)
        sent = [await people.message(other, bob, "Hello") for other in others]
        await execute(hosted, f"UPDATE messages SET {wrong} WHERE id = '{sent[1].id}'")

        async def listed(limit: int) -> list[list[int]]:
            pages, cursor = [], None
            while True:
                query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
                page = await get(realtime, bob, "/conversations", **query)
                pages.append([item["target"]["id"] for item in page["items"]])
                cursor = page["next"]
                if cursor is None:
                    return pages

        ids = [other.id for other in others]
        assert await listed(50) == [[ids[3], ids[2], ids[0]]]
        assert await listed(1) == [[ids[3]], [ids[2]], [], [ids[0]]]
        cursor = (await get(realtime, bob, "/conversations"))["cursor"]
        assert (await realtime.sync(bob, cursor=cursor)).json()["events"] == []
        assert counted(hosted, "conversation") == 1

    async def test_conversation_with_group_is_listed(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        await execute(hosted, f"INSERT INTO peers (id, kind) VALUES ({bob.id} * 10, 'group')")
        await execute(
            hosted,
            "WITH made AS (INSERT INTO conversations (kind, peer_id, last_at) "
            f"VALUES ('group', {bob.id} * 10, now()) RETURNING id) "
            "INSERT INTO members (conversation_id, user_id, target_id, last_minute) "
            f"SELECT id, {bob.id}, {bob.id} * 10, date_trunc('minute', now()) FROM made",
        )
        page = await get(realtime, bob, "/conversations")
        assert [item["target"]["id"] for item in page["items"]] == [bob.id * 10, ada.id]

    async def test_contacts_omit_unreadable_contact(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        bob = await people.person()
        others = await people.people(5)
        for other in others:
            await people.befriend(other, bob)
        ids = sorted(other.id for other in others)
        await execute(
            hosted, f"UPDATE contacts SET since = {BEYOND} WHERE owner_id = {bob.id} AND target_id = {ids[2]}"
        )

        async def contacts(**query: Any) -> tuple[list[int], str | None]:
            page = await get(realtime, bob, "/contacts", **query)
            return [item["user"]["id"] for item in page["items"]], page["next"]

        whole = [ids[0], ids[1], ids[3], ids[4]]
        assert await contacts() == (whole, None)
        assert await contacts(state="mutual") == (whole, None)
        assert await contacts(limit=3) == ([ids[0], ids[1]], str(ids[2]))
        assert await contacts(limit=3, cursor=str(ids[2])) == ([ids[3], ids[4]], None)
        assert counted(hosted, "contact") == 1


# PostgreSQL reports reading these views like a damaged page (class XX).
DAMAGE = """
ALTER TABLE messages RENAME TO kept;
CREATE FUNCTION damaged(words text) RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN IF words = 'damaged' THEN RAISE EXCEPTION USING ERRCODE = 'data_corrupted'; END IF; RETURN words; END $$;
ALTER TABLE events RENAME TO kept_events;
CREATE VIEW events AS SELECT user_id, position, name, subject, peer_id,
    CASE WHEN name = 'damaged' THEN damaged(name)::jsonb ELSE payload END AS payload, at FROM kept_events;
CREATE VIEW messages AS SELECT id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind,
    damaged(body) AS body, reply_to, forwarded_from, mentions, created_at, edited_at, deleted_at, deleted_by, expires_at
    FROM kept
"""


class TestDamagedRows:
    async def test_damaged_row_on_disk_is_skipped(self, fresh_database_url: str, settings: Settings) -> None:
        settings = msgspec.structs.replace(settings, database_url=fresh_database_url, pool_size=2)
        container = Container(settings)
        try:
            people = Factory(container)
            ada, bob = await people.friends()
            place = await insert(container, bob, Poison("damaged"), ada)
            for words in ("One", "damaged", "Three"):
                await people.message(ada, bob, words)
            async with container.engine.begin() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.execute(DAMAGE)
            await container.engine.dispose()
            history = await container.services.messages.history(bob.actor, ada.id, before=None, after=None, limit=50)
            assert [item.body for item in history.items] == ["One", "Three"]
            page = await container.services.streams.read_page(bob.actor, after=0, limit=place + 1)
            assert [event.position for event in page.events] == [*range(1, place), place + 1]
        finally:
            await container.close()

    @pytest.mark.parametrize("error", [DatabaseUnavailable(), TypeError("a bug"), OSError("away")])
    async def test_other_errors_are_not_treated_as_damage(self, error: Exception, people: Factory) -> None:
        """Errors that affect every row must not count as unreadable rows: a device would skip them all."""
        ada = await people.person()

        class Failing(Runner):
            """Fails once, so that a second read succeeds."""

            def __init__(self) -> None:
                self.failed = False

            async def all(self, *_: Any, **__: Any) -> list[Any]:
                if not self.failed:
                    self.failed = True
                    raise error
                return []

        with pytest.raises(type(error)):
            await StreamRepository(Failing()).read(ada.actor, after=0, limit=10)
