"""Failures of other projects with sockets and streams: false frame lengths, and what an echo reveals to a stranger."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from messenger.app import create_app
from messenger.container import Container
from messenger.realtime.frames import MSGPACK
from messenger.schemas.users import ProfilePatch
from messenger.testing import Factory, Person
from messenger.web.request import WireBody
from messenger.web.socket_methods import METHODS
from tests.support.sockets import Realtime

_HUGE = 0xFFFF_FFFF
_MIB = 1024 * 1024

# MessagePack's types with a 32-bit length, each announcing four thousand million elements and containing none.
LIES = {
    "array": b"\xdd\xff\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "extension": b"\xc9\xff\xff\xff\xff\x01",
    "array of arrays": b"\xdd\xff\xff\xff\xff" * 100,
    "map to maps": b"\xdf\xff\xff\xff\xff\xa1x" * 100,
    "nested": b"\x91" * 100_000,
}


def _request(data: bytes) -> bytes:
    """A socket request whose `data` is these bytes."""
    head = msgspec.msgpack.encode({"type": "request", "id": 1, "method": "message.send"})
    return bytes([head[0] + 1]) + head[1:] + b"\xa4data" + data


@pytest.mark.parametrize("lie", LIES)
def test_cve_2026_2454_false_length_allocates_no_memory(hosted: Container, lie: str) -> None:
    """Mattermost: memory was allocated for as many elements as a MessagePack frame announced."""
    create_app(hosted)
    decoders: list[Any] = [each.msgpack for each in METHODS.values()]
    decoders += [pair[1] for pair in WireBody.decoders.values()]
    assert len(decoders) > 15
    tracemalloc.start()
    try:
        for decoder in decoders:
            for payload in (LIES[lie], b"\x81\xa4body" + LIES[lie], b"\x81\xa8mentions" + LIES[lie]):
                with pytest.raises((msgspec.DecodeError, RecursionError)):
                    decoder.decode(payload)
        for payload in (LIES[lie], _request(LIES[lie])):
            with pytest.raises((msgspec.DecodeError, RecursionError)):
                MSGPACK.request(payload)
        assert tracemalloc.get_traced_memory()[1] < _MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lie", LIES)
async def test_cve_2026_2454_frame_with_false_length_is_refused_and_socket_stays_open(
    realtime: Realtime, people: Factory, lie: str
) -> None:
    async with realtime.wire(await people.person(), subprotocols=["messenger.msgpack"]) as wire:
        await wire.send(_request(LIES[lie]))
        assert (await wire.next("reply"))["error"]["status"] == 400
        await wire.send(msgspec.msgpack.encode({"type": "request", "id": 2, "method": "ping"}))
        assert (await wire.next("reply"))["id"] == 2


async def test_cve_2026_2454_websocket_frame_is_refused_by_announced_length(
    realtime: Realtime, people: Factory
) -> None:
    """Closed at the header, without waiting for the announced exbibytes."""
    async with realtime.wire(await people.person()) as wire:
        header = bytes([0x82, 0x80 | 127]) + struct.pack(">Q", 2**62) + bytes(4)
        wire.connection.transport.write(header)
        assert (await wire.closed())[0] == 1009


# --- silent receipts ------------------------------------------------------------------------------


def _privacy(**audiences: str) -> ProfilePatch:
    return msgspec.convert({"privacy": audiences}, ProfilePatch)


async def _names(realtime: Realtime, person: Person) -> set[str]:
    events = (await realtime.sync(person, cursor="e0", limit=200)).json()["events"]
    return {event["event"] for event in events}


async def test_careless_whisper_probe_of_stranger_triggers_no_response(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container
) -> None:
    """ "Careless Whisper": the victim's phone acknowledged probes that showed nothing to the victim. Bob lets everyone
    write and call. Mallory sends everything that reaches Bob's device, which receives it at once.
    """
    mallory, bob = await people.people(2)
    await hosted.services.profiles.update(bob.actor, _privacy(messages_from="everyone", calls_from="everyone"))
    async with realtime.wire(mallory) as hers, realtime.wire(bob) as his:
        sent = (await hers.ask("message.send", target_id=bob.id, client_id="probe", body="?"))["data"]
        path = f"/messages/{sent['id']}"
        (await http.patch(path, json={"body": "!"}, headers=mallory.headers)).raise_for_status()
        await hers.ask("typing", target_id=bob.id)
        await hers.ask("call.signal", target_id=bob.id, call_id=str(uuid4()), payload={"type": "probe"})
        await hers.ask("receipt.set", target_id=bob.id, read_seq=1)
        (await http.delete(path, headers=mallory.headers)).raise_for_status()
        # His device has received and read everything, disconnects and reconnects.
        await his.event("message.deleted", id=sent["id"])
        await his.signal("call.signal")
        await his.event("receipt.updated", user_id=bob.id, delivered_seq=1)
        assert (await his.ask("receipt.set", target_id=mallory.id, read_seq=1)).get("error") is None
        await his.event("receipt.updated", user_id=bob.id, read_seq=1)
        await his.ask("presence.set", status="busy")
        await hosted.realtime.presence._pass()
        frames = await hers.settled()
    names = {frame.get("event") for frame in frames if frame["type"] in ("event", "signal")}
    # Her own actions, and their effect on her own list.
    assert names == {"message.created", "message.edited", "message.deleted", "conversation.updated"}
    assert await _names(realtime, mallory) == {"device.added", *names}
    shown = (await http.get(f"/users/{bob.id}", headers=mallory.headers)).json()
    assert (shown["online"], shown["last_activity"], shown["status"], shown["status_text"]) == (False, None, None, None)
    listed = (await http.get("/conversations", headers=mallory.headers)).json()["items"][0]
    assert listed["target_receipt"] is None


async def test_careless_whisper_call_rings_only_at_contacts(realtime: Realtime, people: Factory) -> None:
    """By default, only contacts can ring a device."""
    mallory, bob = await people.people(2)
    async with realtime.wire(mallory) as hers, realtime.wire(bob) as his:
        await his.settled()
        for method, data in (
            ("call.signal", {"call_id": str(uuid4()), "payload": {}}),
            ("typing", {}),
            ("message.send", {"client_id": "probe", "body": "?"}),
        ):
            reply = await hers.ask(method, target_id=bob.id, **data)
            assert reply["error"]["code"] == "not_a_contact"
        assert await his.settled() == []
