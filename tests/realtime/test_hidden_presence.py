"""Hidden users: contacts are only sent signals and events about visible changes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from messenger.container import Container
from messenger.realtime import typing_signals as typing_board
from messenger.realtime.interfaces import SocketRef
from messenger.schemas.realtime import PresencePatch
from messenger.schemas.users import ProfilePatch
from messenger.testing import Factory, Person
from tests.support.images import encoded, plain
from tests.support.sockets import Realtime, Wire

INVISIBLE: dict[str, Any] = {"status": "invisible"}
UNSEEN: dict[str, Any] = {"privacy": {"last_seen": "nobody"}}


async def change(hosted: Container, person: Person, **fields: Any) -> None:
    """`PUT /profile`."""
    await hosted.services.profiles.update(person.actor, msgspec.convert(fields, ProfilePatch))


async def presences(hosted: Container, wire: Wire) -> list[bool]:
    """The `online` values of all presence signals so far."""
    await hosted.realtime.presence._pass()
    return [frame["data"]["online"] for frame in await wire.settled() if frame.get("event") == "presence"]


async def typings(wire: Wire) -> list[bool]:
    return [frame["data"]["typing"] for frame in await wire.settled() if frame.get("event") == "typing"]


async def stream_end(realtime: Realtime, person: Person) -> str:
    cursor: str = (await realtime.sync(person)).json()["cursor"]
    return cursor


@pytest.fixture(params=[INVISIBLE, UNSEEN], ids=["invisible", "last_seen nobody"])
def hiding(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings that hide a user."""
    fields: dict[str, Any] = request.param
    return fields


class TestHiddenConnections:
    async def test_hidden_user_connects_and_disconnects_without_signal(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        phone = await people.device(ada)
        await change(hosted, ada, **hiding)
        async with realtime.wire(bob) as his:
            for device in (ada, phone):
                async with realtime.wire(device):
                    assert await presences(hosted, his) == []
                await hosted.realtime.presence._pass()
                assert await presences(hosted, his) == []

    async def test_end_of_a_hidden_user_s_worker_is_not_signalled(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, **hiding)
        await _lose_worker(hosted, ada)
        async with realtime.wire(bob) as his:
            await hosted.realtime.presence.renew()
            assert await presences(hosted, his) == []

    async def test_device_on_a_living_worker_keeps_the_user_online(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        phone = await people.device(ada)
        async with realtime.wire(bob) as his, realtime.wire(phone):
            await his.signal("presence", online=True)
            await _lose_worker(hosted, ada)
            await hosted.realtime.presence.renew()
            assert await presences(hosted, his) == []

    async def test_device_reconnecting_before_worker_is_removed_stays_online(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        phone = await people.device(ada)
        async with realtime.wire(bob) as his:
            await _lose_worker(hosted, ada)
            async with realtime.wire(phone):
                await hosted.realtime.presence.renew()
                assert await presences(hosted, his) == []
            await his.signal("presence", online=False)

    async def test_hidden_user_is_signalled_only_to_new_contact(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        carol = await people.person()
        await people.befriend(ada, carol)
        await change(hosted, ada, **hiding)
        board = hosted.realtime.presence
        async with realtime.wire(bob) as his, realtime.wire(carol) as hers:
            assert await presences(hosted, his) == []
            await presences(hosted, hers)
            board._mark_switched([ada.id])
            board.contact_started(ada.id, carol.id)
            await board._pass()
            assert (await hers.signal("presence", user_id=ada.id))["online"] is False
            assert await presences(hosted, his) == []

    async def test_queued_signal_is_dropped_after_user_hides(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        board = hosted.realtime.presence
        async with realtime.wire(bob) as his, realtime.wire(ada):
            await his.signal("presence", online=True)
            await change(hosted, ada, **INVISIBLE)
            assert await presences(hosted, his) == [False]
            board._mark_switched([ada.id])
            assert await presences(hosted, his) == []
            board._mark_switched([ada.id])
            board.status_changed(ada.id)
            assert await presences(hosted, his) == [False]


class TestHidingSettings:
    async def test_second_hiding_setting_sends_no_signal(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his, realtime.wire(ada) as hers:
            await his.signal("presence", online=True)
            await change(hosted, ada, **UNSEEN)
            assert await presences(hosted, his) == [False]
            end = await stream_end(realtime, bob)
            await hers.ask("presence.set", status="invisible")
            await change(hosted, ada, status="online")
            await change(hosted, ada, status="invisible")
            assert await presences(hosted, his) == []
            assert await stream_end(realtime, bob) == end

    async def test_repeated_status_is_neither_signalled_nor_written(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, **hiding, status_text="Lunch")
        version = (await hosted.services.profiles.get(ada.actor)).version
        async with realtime.wire(bob) as his:
            ends = [await stream_end(realtime, each) for each in (ada, bob)]
            await change(hosted, ada, **hiding, status_text="Lunch")
            await hosted.services.profiles.set_presence(ada.actor, PresencePatch(status_text="Lunch"))
            assert await presences(hosted, his) == []
            assert [await stream_end(realtime, each) for each in (ada, bob)] == ends
        assert (await hosted.services.profiles.get(ada.actor)).version == version

    @pytest.mark.parametrize("setting", ["messages_from", "calls_from", "groups_from"])
    async def test_invisible_setting_is_recorded_only_for_owner(
        self, realtime: Realtime, people: Factory, hosted: Container, setting: str
    ) -> None:
        ada, bob = await people.friends()
        hers, his = [await stream_end(realtime, each) for each in (ada, bob)]
        await change(hosted, ada, privacy={setting: "nobody"})
        assert await stream_end(realtime, bob) == his
        assert await stream_end(realtime, ada) != hers

    async def test_wider_audience_looks_the_same_to_a_contact(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his, realtime.wire(ada):
            await his.signal("presence", online=True)
            end = await stream_end(realtime, bob)
            await change(hosted, ada, privacy={"last_seen": "everyone", "avatar": "contacts"})
            assert (await presences(hosted, his), await stream_end(realtime, bob)) == ([], end)

    async def test_hiding_while_offline_sends_no_signal(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his:
            end = await stream_end(realtime, bob)
            await change(hosted, ada, **INVISIBLE)
            assert (await presences(hosted, his), await stream_end(realtime, bob)) == ([], end)

    async def test_text_and_status_of_a_hidden_user_are_signalled(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, **hiding)
        async with realtime.wire(bob) as his:
            await change(hosted, ada, status_text="Lunch")
            await hosted.realtime.presence._pass()
            assert (await his.signal("presence"))["status_text"] == "Lunch"
            await change(hosted, ada, status="away")
            await hosted.realtime.presence._pass()
            assert (await his.signal("presence"))["status"] == "away"

    async def test_user_showing_again_is_announced(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, **hiding)
        async with realtime.wire(bob) as his, realtime.wire(ada):
            assert await presences(hosted, his) == []
            await change(hosted, ada, status="online", privacy={"last_seen": "contacts"})
            assert await presences(hosted, his) == [True]

    async def test_avatar_hidden_from_contacts_is_recorded_only_for_owner(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, privacy={"avatar": "nobody"})
        end = await stream_end(realtime, bob)
        await hosted.services.avatars.upload(ada.actor, encoded(plain()))
        hers = await stream_end(realtime, ada)
        await hosted.services.avatars.remove(ada.actor)
        assert await stream_end(realtime, bob) == end
        assert await stream_end(realtime, ada) != hers

    async def test_unchanged_avatar_is_not_recorded(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await hosted.services.avatars.upload(ada.actor, encoded(plain()))
        ends = [await stream_end(realtime, each) for each in (ada, bob)]
        await hosted.services.avatars.upload(ada.actor, encoded(plain()))
        assert [await stream_end(realtime, each) for each in (ada, bob)] == ends


class TestHiddenTyping:
    async def test_typing_of_hidden_user_is_not_signalled(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        await change(hosted, ada, **hiding)
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada) as hers:
                for typing in (True, False):
                    assert "error" not in await hers.ask("typing", target_id=bob.id, typing=typing)
                await hers.ask("typing", target_id=bob.id)
            assert await typings(his) == []

    async def test_typing_end_is_not_signalled_after_hiding(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his:
            async with realtime.wire(ada) as hers:
                await hers.ask("typing", target_id=bob.id)
                assert await typings(his) == [True]
                await change(hosted, ada, **hiding)
                await hers.ask("typing", target_id=bob.id, typing=False)
            await hosted.realtime.presence._pass()
            assert await typings(his) == []

    async def test_typing_ends_by_timeout_after_hiding(
        self, realtime: Realtime, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(typing_board, "EXPIRY_SECONDS", 0.2)
        ada, bob = await people.friends()
        async with realtime.wire(bob) as his, realtime.wire(ada) as hers:
            await hers.ask("typing", target_id=bob.id)
            await his.signal("typing", typing=True)
            await change(hosted, ada, **INVISIBLE)
            await hers.ask("typing", target_id=bob.id, typing=False)
            assert (await his.signal("typing", typing=False))["user_id"] == ada.id

    async def test_typing_of_hidden_user_to_stranger_is_refused(
        self, realtime: Realtime, people: Factory, hosted: Container, hiding: dict[str, Any]
    ) -> None:
        ada, bob = await people.people(2)
        await change(hosted, ada, **hiding)
        async with realtime.wire(ada) as hers:
            assert (await hers.ask("typing", target_id=bob.id))["error"]["code"] == "not_a_contact"


async def _lose_worker(hosted: Container, person: Person) -> None:
    """Simulate that the device was connected to a worker whose lease has expired."""
    worker = uuid4()
    handshake = await hosted.services.streams.open_socket(person.actor)
    await hosted.services.presence.renew(worker)
    await hosted.services.presence.write(worker, [SocketRef(handshake.actor, handshake.generation)], [])
    async with hosted.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE workers SET seen_at = seen_at - interval '31 seconds' WHERE id = '{worker}'"
        )
