"""Presence and typing: sent to mutual contacts, as privacy settings allow, throttled, and never stored."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

import msgspec
import pytest

from messenger.actor import Actor
from messenger.container import Container
from messenger.realtime import presence as presence_module
from messenger.realtime import typing_signals as typing_board
from messenger.realtime.interfaces import Presence, SocketRef
from messenger.realtime.presence import BURST, PresenceTracker
from messenger.schemas.realtime import PresencePatch
from messenger.schemas.users import ProfilePatch, StatusView, SubscribeDraft
from messenger.testing import Factory, Person
from tests.support.sockets import Realtime, Wire


async def online(container: Container, viewer: Person, person: Person) -> bool:
    items = (await container.services.contacts.statuses(viewer.actor)).items
    return next(item.online for item in items if item.user_id == person.id)


async def signals(wire: Wire) -> list[dict[str, Any]]:
    return [frame for frame in await wire.settled() if frame["type"] == "signal"]


class TestOnlineSignals:
    async def test_presence_follows_socket(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        assert not await online(hosted, bob, ada)
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada):
                received = await his.signal("presence", user_id=ada.id)
                assert (received["online"], await online(hosted, bob, ada)) == (True, True)
            gone = await his.signal("presence", user_id=ada.id)
            assert (gone["online"], await online(hosted, bob, ada)) == (False, False)
            assert gone == msgspec.to_builtins((await hosted.services.contacts.statuses(bob.actor)).items[0])

    async def test_presence_covers_all_devices_of_user(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        phone = await people.device(ada)
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada):
                await his.signal("presence", online=True)
                async with realtime.wire(phone):
                    pass
                await hosted.realtime.presence._pass()
                assert await online(hosted, bob, ada)
            await his.signal("presence", online=False)
            assert await signals(his) == []

    async def test_end_of_last_socket_sets_last_activity(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        before = (await hosted.services.profiles.get(ada.actor)).profile.last_activity
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada):
                await his.signal("presence", online=True)
            gone = await his.signal("presence", online=False)
        assert gone["last_activity"] > before

    async def test_strangers_and_pending_contacts_get_no_presence(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob, eve = await people.people(3)
        await hosted.services.contacts.subscribe(bob.actor, SubscribeDraft(target_id=ada.id))
        async with realtime.wire(bob) as his, realtime.wire(eve) as hers:
            async with realtime.wire(ada):
                await hosted.services.profiles.set_presence(ada.actor, PresencePatch(status="busy"))
            await hosted.realtime.presence._pass()
            assert (await signals(his), await signals(hers)) == ([], [])

    async def test_user_hiding_last_seen_is_never_online(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        hide = msgspec.convert({"privacy": {"last_seen": "nobody"}}, ProfilePatch)
        async with realtime.wire(bob) as his, realtime.wire(ada):
            await his.signal("presence", online=True)
            await hosted.services.profiles.update(ada.actor, hide)
            received = await his.signal("presence", online=False)
            assert (received["last_activity"], await online(hosted, bob, ada)) == (None, False)

    async def test_invisible_user_looks_offline(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his, realtime.wire(ada) as hers:
            await his.signal("presence", online=True)
            await hers.ask("presence.set", status="invisible")
            received = await his.signal("presence", user_id=ada.id)
            assert (received["online"], received["status"]) == (False, "online")
            await hers.ask("presence.set", status="away")
            received = await his.signal("presence", user_id=ada.id)
            assert (received["online"], received["status"]) == (True, "away")

    async def test_status_set_by_socket_writes_no_contact_stream(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        end = (await realtime.sync(bob)).json()["cursor"]
        async with realtime.wire(ada) as hers:
            await hers.ask("presence.set", status="busy")
        assert (await realtime.sync(bob)).json()["cursor"] == end

    async def test_presence_is_signalled_at_start_and_end_of_contact(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.people(2)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await people.befriend(ada, bob)
            assert (await hers.signal("presence", user_id=bob.id))["online"] is True
            assert (await his.signal("presence", user_id=ada.id))["online"] is True
            await hosted.services.contacts.block(bob.actor, ada.id)
            gone = {"status": "online", "status_text": "", "online": False, "last_activity": None}
            assert await hers.signal("presence", user_id=bob.id, online=False) == {"user_id": bob.id, **gone}
            assert await his.signal("presence", user_id=ada.id, online=False) == {"user_id": ada.id, **gone}

    async def test_users_of_dead_worker_are_signalled_offline(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        other = uuid4()
        await hosted.services.presence.renew(other)
        await hosted.services.presence.write(other, [SocketRef(ada.actor, 1)], [])
        assert await online(hosted, bob, ada)
        async with hosted.engine.begin() as connection:
            await connection.exec_driver_sql(
                f"UPDATE workers SET seen_at = seen_at - interval '31 seconds' WHERE id = '{other}'"
            )
        assert not await online(hosted, bob, ada)
        async with realtime.wire(bob) as his:
            await hosted.realtime.presence.renew()
            assert (await his.signal("presence", user_id=ada.id))["online"] is False


class _Table:
    """Presences in memory."""

    def __init__(self) -> None:
        self.connected: set[int] = set()
        self.written: list[tuple[int, int]] = []
        self.described = 0

    async def write(self, worker_id: Any, up: Any, down: Any) -> list[int]:
        self.written.append((len(up), len(down)))
        turned = {s.actor.user_id for s in up} ^ {s.actor.user_id for s in down}
        self.connected |= {s.actor.user_id for s in up}
        self.connected -= {s.actor.user_id for s in down}
        return sorted(turned)

    async def describe(self, users: Any) -> dict[int, Presence]:
        self.described += 1
        return {
            user: Presence(StatusView(user, "online", "", user in self.connected, None), (99,), False) for user in users
        }

    async def renew(self, worker_id: Any) -> list[int]:
        return []


class TestPresenceBoard:
    async def test_flapping_presence_is_signalled_at_intervals_with_latest_state(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence_module, "EVERY_SECONDS", 0.05)
        table, received = _Table(), asyncio.Queue[bool]()
        board = PresenceTracker(uuid4(), table, lambda _, __, view: received.put_nowait(cast(StatusView, view).online))
        socket = SocketRef(Actor(1, uuid4()), 1)
        for _ in range(50):
            board.connected(socket)
            await board._pass()
            board.disconnected(socket)
            await board._pass()
        assert BURST <= received.qsize() < 60
        board.connected(socket)
        await board._pass()
        running = asyncio.create_task(board.run())
        async with asyncio.timeout(5):
            while not await received.get() or not received.empty():
                pass
        running.cancel()

    async def test_many_presence_changes_need_few_statements(self) -> None:
        table, received = _Table(), []
        board = PresenceTracker(uuid4(), table, lambda users, _, view: received.append(cast(StatusView, view).user_id))
        for user in range(1000):
            board.connected(SocketRef(Actor(user, uuid4()), user))
        await board._pass()
        await board._pass()
        assert (table.written, table.described, len(received)) == ([(500, 0), (500, 0)], 2, 1000)

    async def test_reconnected_device_is_written_once(self) -> None:
        table, received = _Table(), []
        board = PresenceTracker(uuid4(), table, lambda users, _, view: received.append(view))
        actor = Actor(1, uuid4())
        old, new = SocketRef(actor, 1), SocketRef(actor, 2)
        board.disconnected(old)
        board.connected(new)
        await board._pass()
        assert table.written == [(1, 0)]


class TestTypingSignals:
    async def test_typing_is_signalled_to_peer(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            assert (await hers.ask("typing", target_id=bob.id))["data"] is None
            received = await his.signal("typing")
            assert (received["target_id"], received["user_id"], received["typing"]) == (ada.id, ada.id, True)
            assert received["expires_at"] is not None

    async def test_repeated_typing_is_throttled(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            for typing in (True, True, False, True, True, False):
                await hers.ask("typing", target_id=bob.id, typing=typing)
            assert [f["data"]["typing"] for f in await signals(his) if f["event"] == "typing"] == [True, False]

    async def test_typing_ends_after_timeout(
        self, realtime: Realtime, people: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(typing_board, "EXPIRY_SECONDS", 0.05)
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await hers.ask("typing", target_id=bob.id)
            await his.signal("typing", typing=True)
            assert (await his.signal("typing", typing=False))["expires_at"] is None

    async def test_typing_ends_with_message_and_with_socket(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        phone = await people.device(ada)
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada) as hers:
                await hers.ask("typing", target_id=bob.id)
                await his.signal("typing", typing=True)
                await hers.ask("message.send", target_id=bob.id, client_id="x", body="Hello")
                await his.signal("typing", typing=False)
            async with realtime.wire(phone) as hers:
                await hers.ask("typing", target_id=bob.id)
                await his.signal("typing", typing=True)
            await his.signal("typing", typing=False)

    async def test_typing_to_stranger_is_refused(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.people(2)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            assert (await hers.ask("typing", target_id=bob.id))["error"]["code"] == "not_a_contact"
            assert (await hers.ask("typing", target_id=ada.id))["error"]["code"] == "cannot_target_self"
            assert (await hers.ask("typing", target_id=1))["error"]["code"] == "peer_not_found"
            assert await signals(his) == []

    async def test_typing_is_never_stored(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        end = (await realtime.sync(bob)).json()["cursor"]
        async with realtime.wire(ada) as hers:
            await hers.ask("typing", target_id=bob.id)
        assert (await realtime.sync(bob)).json()["cursor"] == end
