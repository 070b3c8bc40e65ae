"""The client and the chat against a real server."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from messenger.chat.app import ChatApp
from messenger.chat.vault import Vault
from messenger.client import ApiError, ConnectedElsewhere, Event, OutcomeUnknown, Resync, Signal, SignedOut, Timing
from messenger.schemas.realtime import CallSignalView, TypingView
from messenger.schemas.types import timestamp
from messenger.schemas.users import StatusView
from tests.client.proxy import proxying
from tests.client.real import PASSWORD, Device, RealServer, befriend, device, serving
from tests.client.screen import seen, until

SEED = 20261122


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    with serving() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def pair(server: RealServer) -> AsyncIterator[tuple[Device, Device]]:
    """Two contacts, both following their streams."""
    async with device(server.url) as ada, device(server.url) as bob:
        await befriend(ada, bob)
        await ada.follow()
        await bob.follow()
        yield ada, bob


async def assert_true(*devices: Device) -> None:
    """Every device has the state of a fresh load and of the user's other devices."""
    ends = [await each.newest() for each in devices]
    while True:
        for each, end in zip(devices, ends, strict=True):
            await each.until(end)
        followed, loaded = await _snapshots(devices)
        # Delivery receipts are written a moment later: compare states of the same moment.
        ends, before = [await each.newest() for each in devices], ends
        if ends == before:
            break
    for mine, fresh in zip(followed, loaded, strict=True):
        assert {**mine, "receipts": None} == {**fresh, "receipts": None}
    by_user: dict[int, Any] = {}
    for each, mine in zip(devices, followed, strict=True):
        assert by_user.setdefault(each.user_id, mine) == mine


async def _snapshots(devices: tuple[Device, ...]) -> tuple[list[Any], list[Any]]:
    at = timestamp(datetime.now(UTC))
    fresh = [(await each.client.load_state(messages=None, members=True)).state for each in devices]
    states = [each.state for each in devices]
    return [state.snapshot(at=at, receipts=True) for state in states], [state.snapshot(at=at) for state in fresh]


class TestStreamWithServer:
    @pytest.mark.parametrize(
        ("encoding", "options"),
        [
            ("json", {}),
            ("msgpack", {}),
            ("json", {"with_ticket": True}),
            ("msgpack", {"polling_only": True}),
        ],
    )
    async def test_replay_equals_fresh_load(self, server: RealServer, encoding: Any, options: dict[str, Any]) -> None:
        async with device(server.url, encoding=encoding) as ada, device(server.url) as bob:
            await ada.follow(**options)
            await bob.follow()
            await befriend(ada, bob)
            first = await ada.client.send(bob.user_id, "one")
            await bob.client.send(ada.user_id, "two", reply_to=first.id)
            await ada.client.edit(first.id, "one, better")
            third = await ada.client.send(bob.user_id, "three")
            await ada.client.delete(third.id)
            await bob.client.delete(first.id, who="me")
            await bob.client.mark(ada.user_id, read_seq=3)
            await ada.client.update_conversation(bob.user_id, pinned=True, expire_after=3600)
            await ada.client.set_alias(bob.user_id, "Bobby")
            await ada.client.set_presence(status="away", status_text="thinking")
            await assert_true(ada, bob)
            assert ada.state.name_of(bob.user_id) == "Bobby"

    async def test_random_operations_of_many_devices_converge(self, server: RealServer) -> None:
        draw = random.Random(SEED)
        async with AsyncExitStack() as stack:
            first = [await stack.enter_async_context(device(server.url)) for _ in range(3)]
            second = [await stack.enter_async_context(device(server.url, each.username)) for each in first]
            devices = [*first, *second]
            for each in devices:
                await each.follow(polling_only=draw.random() < 0.3)
            for _ in range(120):
                await _deed(draw, draw.choice(devices), draw.choice(first))
                if draw.random() < 0.2:
                    draw.choice(devices).cut()
            await assert_true(*devices)

    async def test_cut_connections_lose_and_repeat_no_message(self, pair: tuple[Device, Device]) -> None:
        ada, bob = pair
        draw = random.Random(SEED)

        async def cut(turns: int) -> None:
            for _ in range(turns):
                draw.choice(pair).cut()
                await asyncio.sleep(draw.random() * 0.05)

        sending = [ada.client.send(bob.user_id, f"message {number}") for number in range(60)]
        sent, *_ = await asyncio.gather(asyncio.gather(*sending), cut(20))
        assert sorted(message.seq for message in sent) == list(range(1, 61))
        await assert_true(ada, bob)
        created = [item.data.id for item in bob.items if isinstance(item, Event) and item.name == "message.created"]
        assert sorted(created) == sorted({message.id for message in sent})

    async def test_unknown_cursor_gets_resync(self, pair: tuple[Device, Device]) -> None:
        ada, bob = pair
        async with bob.client.stream("e999999") as stream:
            assert isinstance(await anext(stream), Resync)
            await ada.client.send(bob.user_id, "still there")
            while getattr(await anext(stream), "name", "") != "message.created":
                pass

    async def test_second_stream_of_device_ends_first(self, pair: tuple[Device, Device]) -> None:
        ada, _ = pair
        async with ada.client.stream(ada.cursor) as stream:
            await anext(stream)
            assert isinstance(await ada.ended(), ConnectedElsewhere)

    async def test_sign_out_by_other_device_ends_stream(self, server: RealServer) -> None:
        async with device(server.url) as ada, device(server.url, ada.username) as other:
            await ada.follow()
            mine = next(each for each in [each async for each in ada.client.devices()] if each.current)
            await other.client.sign_out_device(mine.id)
            assert isinstance(await ada.ended(), SignedOut)
            with pytest.raises(SignedOut):
                await ada.client.profile()


async def _deed(draw: random.Random, one: Device, other: Device) -> None:
    """Perform a random operation; a refusal is a valid outcome."""
    if one.user_id == other.user_id:
        await one.client.set_presence(status_text=f"text {draw.random()}")
        return
    client, peer = one.client, other.user_id
    known = one.state.messages.get(peer, {})
    message = draw.choice(list(known.values())) if known else None
    deeds: list[Any] = [
        lambda: client.send(peer, f"said {draw.random()}"),
        lambda: client.send(peer, "again"),
        lambda: client.subscribe(peer, "hello"),
        lambda: client.confirm(peer, accept=draw.random() < 0.8),
        lambda: client.unsubscribe(peer),
        lambda: client.block(peer) if draw.random() < 0.3 else client.unblock(peer),
        lambda: client.set_alias(peer, draw.choice(["Alias", None])),
        lambda: client.update_conversation(peer, pinned=draw.random() < 0.5, archived=draw.random() < 0.5),
        lambda: client.mark(peer, read_seq=draw.randint(0, max(known, default=0))),
    ]
    if message is not None:
        deeds += [
            lambda: client.edit(message.id, f"edited {draw.random()}"),
            lambda: client.delete(message.id, who=draw.choice(["everyone", "me"])),
        ]
    try:
        await draw.choice(deeds)()
    except OutcomeUnknown:
        # Cut before the reply and refused afterwards: the states show what happened.
        return
    except ApiError as error:
        if error.status >= 500:
            raise


class TestSignals:
    async def test_signals_of_typing_presence_and_calls_arrive(self, pair: tuple[Device, Device]) -> None:
        ada, bob = pair
        await bob.client.typing(ada.user_id)
        typing = await ada.receive(Signal, "typing")
        assert isinstance(typing, Signal)
        assert isinstance(typing.data, TypingView)
        assert (typing.data.user_id, typing.data.typing) == (bob.user_id, True)
        call = uuid4()
        await bob.client.signal_call(ada.user_id, call, {"kind": "offer"})
        signalled = await ada.receive(Signal, "call.signal")
        assert isinstance(signalled, Signal)
        assert isinstance(signalled.data, CallSignalView)
        assert (signalled.data.call_id, signalled.data.payload) == (call, {"kind": "offer"})
        await bob.client.set_presence(status="busy")
        async with asyncio.timeout(10):
            while ada.state.presence.get(bob.user_id, None) != _busy(ada, bob):
                await ada._next()


def _busy(ada: Device, bob: Device) -> StatusView | None:
    seen = ada.state.presence.get(bob.user_id)
    return seen if seen is not None and seen.status == "busy" and seen.online else None


class TestUnreliableNetwork:
    async def test_stream_returns_to_websocket_after_refused_upgrades(self, server: RealServer) -> None:
        eager = Timing(poll=0.2, socket_again=0.5)
        async with proxying(server.url) as proxy, device(server.url) as bob, device(proxy.url, timing=eager) as ada:
            proxy.refuses_upgrades = True
            await ada.follow()
            assert ada.stream.status == "polling"
            await befriend(ada, bob)
            sent = await bob.client.send(ada.user_id, "by long poll")
            async with asyncio.timeout(20):
                while sent.seq not in ada.state.messages.get(bob.user_id, {}):
                    await ada._next()
            proxy.refuses_upgrades = False
            async with asyncio.timeout(20):
                while not ada.stream.has_socket:
                    await ada.client.profile()
            await assert_true(ada)
            assert proxy.refused >= 1

    async def test_dead_connection_is_detected(self, server: RealServer) -> None:
        watchful = Timing(ping=0.2, first_wait=0.1, answer=1.0)
        async with proxying(server.url) as proxy, device(server.url) as bob, device(proxy.url, timing=watchful) as ada:
            await ada.follow()
            await befriend(bob, ada)
            proxy.freeze()
            await bob.client.send(ada.user_id, "into the void")
            await assert_true(ada)
            assert ada.state.messages[bob.user_id][1].body == "into the void"


class TestOutages:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    async def test_sends_and_streams_survive_server_restart(self, how: signal.Signals) -> None:
        hasty = Timing(first_wait=0.1, longest_wait=1.0, reply=5.0)
        with serving() as server:
            async with device(server.url, timing=hasty) as ada, device(server.url, timing=hasty) as bob:
                await befriend(ada, bob)
                await ada.follow()
                await bob.follow()
                sending = [
                    asyncio.create_task(ada.client.send(bob.user_id, f"message {number}", within=None))
                    for number in range(200)
                ]
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(server.end, how)
                await asyncio.to_thread(server.start)
                sent = await asyncio.gather(*sending)
                assert sorted(message.seq for message in sent) == list(range(1, 201))
                await assert_true(ada, bob)
                assert sorted(bob.state.messages[ada.user_id]) == list(range(1, 201))


class TestChatWithServer:
    async def test_chat_exchanges_messages(self, server: RealServer, tmp_path: Path) -> None:
        async with device(server.url) as bob:
            await bob.follow()
            app = ChatApp(server.url, username=f"{bob.username}-ada", vault=Vault(tmp_path))
            async with app.run_test(size=(100, 30)) as pilot:
                await pilot.press("ctrl+s", *PASSWORD, "tab", *"Ada", "enter")
                await seen(pilot, app, "■ live  Ada @")
                await pilot.press("ctrl+n", *bob.username, "enter", *"hello", "enter")
                await seen(pilot, app, "You have sent a contact request.")
                assert app.talk is not None
                me = app.talk.state.me
                await bob.client.confirm(me)
                await seen(pilot, app, "● ")
                await pilot.press(*"how are you", "enter")
                await seen(pilot, app, "You how are you ✓✓")
                await bob.client.mark(me, read_seq=1)
                await seen(pilot, app, "You how are you ✓✓ read")
                await bob.client.typing(me)
                await seen(pilot, app, "is typing …")
                await bob.client.send(me, "well, thank you")
                await seen(pilot, app, f"{bob.username} well, thank you")
                await until(pilot, lambda: bob.state.receipts and bob.state.receipts[me, me].read_seq == 2)
                await pilot.press("ctrl+q")
            assert app.return_code == 0
