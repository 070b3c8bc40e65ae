"""Deleted, hidden and expired messages are neither counted as unread nor shown as the last message."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any, Literal

import msgspec
import pytest

from messenger import migrations
from messenger.actor import Actor
from messenger.client import Event, State
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.repositories.conversations import _PAGE
from messenger.schemas.messages import ConversationPatch, ConversationView, MessageView, ReceiptDraft
from messenger.schemas.realtime import EventFrame
from messenger.testing import Factory, Person

Who = Literal["everyone", "me"]


async def only(container: Container, person: Person) -> ConversationView:
    """The only conversation of a user, from the list."""
    items = (await container.services.conversations.list_page(person.actor, cursor=None, limit=10)).items
    assert len(items) == 1
    return items[0]


async def shown(container: Container, person: Person) -> tuple[int, int | None]:
    """What the list shows of it: the unread count, and the `seq` of the last message."""
    view = await only(container, person)
    return view.unread, view.last_message.seq if view.last_message is not None else None


async def events(container: Container, person: Person, cursor: str, *, receipts: bool = False) -> list[EventFrame]:
    """What came after a cursor: receipts, or everything else."""
    found = (await container.services.sync.sync(person.actor, cursor=cursor, limit=200)).events
    return [event for event in found if (event.event == "receipt.updated") == receipts]


async def end(container: Container, person: Person) -> str:
    return (await container.services.sync.sync(person.actor, cursor=None, limit=1)).cursor


async def delete(container: Container, person: Person, message: MessageView, who: Who = "everyone") -> None:
    await container.services.messages.delete(person.actor, message.id, who=who)


async def read(container: Container, person: Person, other: Person, seq: int) -> None:
    await container.services.conversations.receipt(person.actor, ReceiptDraft(target_id=other.id, read_seq=seq))


class TestUnread:
    async def test_unread_omits_deleted_messages(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob) for _ in range(3)]
        for left, message in zip((2, 1, 0), messages, strict=True):
            await delete(container, ada, message)
            assert (await only(container, bob)).unread == left

    async def test_unread_omits_messages_hidden_by_reader(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        await make.message(ada, bob)
        await delete(container, bob, message, "me")
        assert ((await only(container, bob)).unread, (await only(container, ada)).unread) == (1, 0)

    async def test_unread_counts_messages_hidden_by_sender(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await delete(container, ada, await make.message(ada, bob), "me")
        assert (await shown(container, bob), await shown(container, ada)) == ((1, 1), (0, None))

    @pytest.mark.parametrize("hidden_first", [True, False])
    async def test_unread_omits_hidden_and_deleted_message_once(
        self, container: Container, make: Factory, hidden_first: bool
    ) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        await make.message(ada, bob)
        for mine in (hidden_first, not hidden_first):
            await (delete(container, bob, message, "me") if mine else delete(container, ada, message))
        assert (await only(container, bob)).unread == 1

    async def test_unread_counts_messages_after_receipt(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob) for _ in range(6)]
        for number in (1, 4):
            await delete(container, ada, messages[number])
        cursor = await end(container, bob)
        await read(container, bob, ada, 2)
        view = await only(container, bob)
        received: Any = [event.data for event in await events(container, bob, cursor, receipts=True)]
        assert view.unread == 3
        assert [(receipt.unread, receipt.version) for receipt in received] == [(3, view.version)]

    async def test_delivery_receipt_shows_same_unread(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob) for _ in range(3)]
        await delete(container, ada, messages[0])
        cursor = await end(container, bob)
        await container.services.sync.sync(bob.actor, cursor=cursor, limit=10)
        await container.realtime.acks.finish()
        view = await only(container, bob)
        received: Any = [event.data for event in await events(container, bob, cursor, receipts=True)]
        assert [(receipt.unread, receipt.version) for receipt in received] == [(2, view.version)]
        assert view.unread == 2


class TestLastMessage:
    async def test_last_message_precedes_deleted_messages(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob, str(number)) for number in range(4)]
        for message in (messages[2], messages[1], messages[3]):
            await delete(container, ada, message)
        for person in (ada, bob):
            last = (await only(container, person)).last_message
            assert last is not None
            assert last.body == "0"

    async def test_last_message_is_null_when_all_are_deleted(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await delete(container, ada, await make.message(ada, bob))
        view = await only(container, bob)
        assert (view.last_message, view.last_seq, view.unread) == (None, 1, 0)

    async def test_last_message_is_next_message_sent(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await delete(container, ada, await make.message(ada, bob))
        await make.message(bob, ada, "Next")
        assert (await shown(container, ada), await shown(container, bob)) == ((1, 2), (0, 2))

    async def test_last_message_is_not_an_expired_message(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob, "Stays")
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        await make.message(ada, bob, "Goes")
        clock.advance(seconds=61)
        assert (await only(container, bob)).last_message.body == "Stays"  # type: ignore[union-attr]

    async def test_last_message_is_found_without_recorded_numbers(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob) for _ in range(3)]
        await delete(container, ada, messages[2])
        await delete(container, bob, messages[1], "me")
        async with container.engine.begin() as connection:
            await connection.exec_driver_sql(f"UPDATE members SET gone = NULL WHERE user_id = {bob.id}")
        assert (await shown(container, bob))[1] == 1

    async def test_last_message_before_ten_thousand_deleted_is_found_cheaply(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob, "Before")
        async with container.engine.begin() as connection:
            await connection.exec_driver_sql(f"""
                WITH c AS (UPDATE conversations SET last_seq = 10001
                    WHERE id = (SELECT conversation_id FROM members WHERE user_id = {bob.id}) RETURNING id),
                old AS (UPDATE members SET gone = '{{[2,10002)}}' FROM c WHERE conversation_id = c.id)
                INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint,
                    kind, created_at, deleted_at)
                SELECT gen_random_uuid(), c.id, n, {ada.id}, '{ada.actor.device_id}', 'old ' || n, '', 'text', now(),
                    now() FROM c, generate_series(2, 10001) AS n
            """)
        view = await only(container, bob)
        assert view.last_message is not None
        assert (view.last_message.id, view.unread) == (message.id, 1)
        assert await _rows_read(container, bob) < 20


async def _rows_read(container: Container, person: Person) -> int:
    """How many rows of `messages` the list reads."""
    compiled = _PAGE.compiled_for(person.actor)
    values = {
        "user_id": person.id,
        "device_id": person.actor.device_id,
        "now": container.clock.now(),
        "stale_before": container.clock.now(),
        "before_at": container.clock.now() + timedelta(days=365),
        "before_id": 2**62,
        "limit": 50,
        "bytes": 2**40,
    }
    async with container.engine.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled.sql}"
        plan = await raw.fetchval(sql, *[values[name] for name in compiled.parameters])
    return sum(_scanned(node) for node in _nodes(plan[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(each for child in node.get("Plans", ()) for each in _nodes(child))]


def _scanned(node: dict[str, Any]) -> int:
    if node.get("Relation Name") != "messages":
        return 0
    loops, read = int(node["Actual Loops"]), float(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return round(read * loops)


class TestConversationUpdates:
    async def test_deletion_updates_the_conversation_of_both(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        cursors = {person: await end(container, person) for person in (ada, bob)}
        await delete(container, ada, message)
        for person, cursor in cursors.items():
            received = await events(container, person, cursor)
            assert [event.event for event in received] == ["message.deleted", "conversation.updated"]
            assert received[1].data == await only(container, person)

    async def test_hiding_updates_only_own_conversation(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        cursors = {person: await end(container, person) for person in (ada, bob)}
        await delete(container, bob, message, "me")
        received = await events(container, bob, cursors[bob])
        assert [event.event for event in received] == ["message.deleted", "conversation.updated"]
        assert await events(container, ada, cursors[ada]) == []

    async def test_deleting_hidden_message_does_not_update_conversation(
        self, container: Container, make: Factory
    ) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        await delete(container, bob, message, "me")
        cursor = await end(container, bob)
        await delete(container, ada, message)
        assert [event.event for event in await events(container, bob, cursor)] == ["message.deleted"]
        cursor = await end(container, bob)
        await delete(container, bob, message, "me")
        assert await events(container, bob, cursor) == []

    async def test_emptied_message_is_left_out_and_announced(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.friends()
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        for _ in range(2):
            await make.message(ada, bob)
        clock.advance(seconds=61)
        cursor = await end(container, bob)
        await container.services.maintenance._expire_messages()
        assert await shown(container, bob) == (0, None)
        received = await events(container, bob, cursor)
        assert [event.event for event in received] == ["conversation.updated"]
        assert received[0].data == await only(container, bob)


class TestRandomOrder:
    @pytest.mark.parametrize("seed", range(6))
    async def test_list_receipts_and_following_device_agree(
        self, container: Container, make: Factory, seed: int
    ) -> None:
        chance = random.Random(seed)
        ada, bob = await make.friends()
        people, sent = (ada, bob), list[tuple[Person, MessageView]]()
        gone: dict[int, set[int]] = {ada.id: set(), bob.id: set()}
        read_to = {ada.id: 0, bob.id: 0}
        last = {ada.id: (-1, -1), bob.id: (-1, -1)}
        states = {each.id: State(each.id) for each in people}
        cursors = {each.id: "e0" for each in people}
        for _ in range(40):
            me, other = chance.sample(people, 2)
            step = chance.choice(["send", "send", "delete", "hide", "read"])
            if step == "send" or not sent:
                message = await make.message(me, other)
                sent.append((me, message))
                read_to[me.id] = message.seq
            elif step == "read":
                read_to[me.id] = max(read_to[me.id], chance.randint(1, len(sent)))
                await read(container, me, other, read_to[me.id])
            else:
                sender, message = chance.choice(sent)
                if step == "delete":
                    await delete(container, sender, message)
                else:
                    await delete(container, me, message, "me")
                for each in people if step == "delete" else (me,):
                    gone[each.id].add(message.seq)
            for each in people:
                visible = set(range(1, len(sent) + 1)) - gone[each.id]
                unread = len([seq for seq in visible if seq > read_to[each.id]])
                view = await only(container, each)
                assert await shown(container, each) == (unread, max(visible, default=None))
                before, version = last[each.id]
                assert view.version > version if unread != before else view.version >= version
                last[each.id] = unread, view.version
                if chance.random() < 0.6:
                    await _follow(container, each.actor, states[each.id], cursors)
                    _agree(states[each.id], view)

    async def test_earlier_messages_are_collected_by_the_migration(
        self, container: Container, fresh_database_url: str
    ) -> None:
        fresh = Container(
            msgspec.structs.replace(container.settings, database_url=fresh_database_url), clock=container.clock
        )
        make = Factory(fresh)
        ada, bob = await make.friends()
        messages = [await make.message(ada, bob) for _ in range(5)]
        for number in (1, 2, 4):
            await delete(fresh, ada, messages[number])
        await delete(fresh, bob, messages[0], "me")
        expected = [await only(fresh, each) for each in (ada, bob)]
        async with fresh.engine.begin() as connection:
            await connection.exec_driver_sql("UPDATE members SET gone = NULL")
        await fresh.close()
        await asyncio.to_thread(migrations.downgrade, fresh_database_url, "0011")
        await asyncio.to_thread(migrations.upgrade, fresh_database_url)
        again = Container(fresh.settings, clock=container.clock)
        assert [await only(again, each) for each in (ada, bob)] == expected
        await again.close()


async def _follow(container: Container, actor: Actor, state: State, cursors: dict[int, str]) -> None:
    more = True
    while more:
        page = await container.services.sync.sync(actor, cursor=cursors[actor.user_id], limit=50)
        for frame in page.events:
            state.apply(Event(frame.cursor, frame.event, frame.at, frame.data))
        cursors[actor.user_id], more = page.cursor, page.more


def _agree(state: State, view: ConversationView) -> None:
    mine = state.conversations[view.target.id]
    assert (mine.unread, mine.version) == (view.unread, view.version)
    assert (mine.last_seq, mine.read_seq) == (view.last_seq, view.read_seq)
    last = state.last_message(view.target.id)
    assert (last and last.id) == (view.last_message and view.last_message.id)
