"""The socket frame by frame: replay, live events, requests and their replies, both encodings."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from messenger.container import Container
from messenger.schemas.messages import ConversationPatch, MessagePatch, ReceiptDraft
from messenger.schemas.users import ProfilePatch
from messenger.testing import Factory, Person
from tests.support.sockets import Realtime


async def stream(realtime: Realtime, person: Person, cursor: str = "e0") -> list[dict[str, Any]]:
    answer = await realtime.sync(person, cursor=cursor, limit=200)
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


class TestSocketReplay:
    async def test_replay_sends_events_after_cursor_in_order(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        for number in range(5):
            await people.message(ada, bob, f"Message {number}")
        whole = await stream(realtime, bob)
        async with realtime.wire(bob, cursor=whole[2]["cursor"], live=False) as wire:
            frames = [await wire.receive() for _ in range(len(whole) - 3 + 2)]
        assert [frame["type"] for frame in frames[:1] + frames[-1:]] == ["welcome", "caught_up"]
        assert frames[1:-1] == whole[3:]
        assert frames[-1]["cursor"] == whole[-1]["cursor"]

    async def test_replay_of_several_pages_is_complete(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        sent = [await people.message(ada, bob, f"{number}") for number in range(250)]
        async with realtime.wire(bob, cursor="e0") as wire:
            bodies = [f["data"]["body"] for f in wire.frames if f.get("event") == "message.created"]
        assert bodies == [message.body for message in sent]

    async def test_replay_at_end_sends_no_events(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada, cursor="e1", live=False) as wire:
            assert [(await wire.receive())["type"] for _ in range(2)] == ["welcome", "caught_up"]

    async def test_replay_of_swept_events_sends_resync_then_live_events(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await _forget(hosted, bob)
        async with realtime.wire(bob, cursor="e1", live=False) as wire:
            assert (await wire.receive())["cursor"] == "e1"
            resync = await wire.receive()
            assert (resync["type"], (await wire.receive())["type"]) == ("resync", "caught_up")
            await people.message(ada, bob, "After")
            assert (await wire.event("message.created"))["body"] == "After"

    async def test_replay_from_ahead_of_stream_sends_resync(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada, cursor="e999", live=False) as wire:
            await wire.receive()
            assert await wire.receive() == {"type": "resync", "cursor": "e1"}


async def _forget(container: Container, person: Person) -> None:
    """Remove events as the sweep does after a month."""
    async with container.engine.begin() as connection:
        await connection.exec_driver_sql(f"DELETE FROM events WHERE user_id = {person.id} AND position <= 2")


class TestLiveEvents:
    async def test_message_event_has_target_id_of_each_side(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await people.message(ada, bob, "Hello")
            assert (await hers.event("message.created"))["target_id"] == bob.id
            assert (await his.event("message.created"))["target_id"] == ada.id

    async def test_live_event_equals_event_read_later(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as wire:
            await people.message(ada, bob, "Hello", mentions=[bob.id])
            frame = await wire.next("event", "message.created")
        assert frame == next(e for e in await stream(realtime, bob) if e["cursor"] == frame["cursor"])

    async def test_every_device_receives_same_stream(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        phone = await people.device(bob)
        async with realtime.wire(bob) as one, realtime.wire(phone) as other:
            await people.message(ada, bob)
            seen = []
            for wire in (one, other):
                # The receipt follows the message: up to and including it, the streams are equal.
                await wire.next("event", "receipt.updated", user_id=bob.id)
                seen.append([frame for frame in wire.frames if frame["type"] == "event"])
        assert seen[0] == seen[1]
        assert [frame["event"] for frame in seen[0]] == ["message.created"]

    async def test_edit_and_deletion_are_sent_live(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        message = await people.message(ada, bob, "Helo")
        async with realtime.wire(bob) as wire:
            await hosted.services.messages.edit(ada.actor, message.id, MessagePatch(body="Hello"))
            edited = await wire.event("message.edited")
            assert (edited["id"], edited["body"], edited["edited_at"] is not None) == (str(message.id), "Hello", True)
            await hosted.services.messages.delete(ada.actor, message.id, who="everyone")
            gone = await wire.event("message.deleted")
            assert (gone["id"], gone["body"], gone["deleted_at"] is not None) == (str(message.id), None, True)

    async def test_conversation_event_equals_listed_conversation(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        await people.message(bob, ada, "Hello")
        async with realtime.wire(ada) as wire:
            await hosted.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
            received = await wire.event("conversation.updated")
        listed = (await hosted.services.conversations.list_page(ada.actor, cursor=None, limit=1)).items[0]
        assert received == msgspec.to_builtins(listed)

    async def test_profile_event_of_contact_follows_privacy(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(bob) as wire, realtime.wire(ada) as hers:
            await hosted.services.profiles.update(ada.actor, ProfilePatch(name="Countess"))
            received, own = await wire.event("profile.updated"), await hers.event("profile.updated")
            person = await hosted.services.profiles.find(bob.actor, target_id=ada.id)
        assert received == msgspec.to_builtins(person)
        assert own == msgspec.to_builtins((await hosted.services.profiles.get(ada.actor)).profile)

    async def test_contact_event_includes_user(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.people(2)
        async with realtime.wire(bob) as wire:
            await people.befriend(ada, bob)
            asked = await wire.event("contact.updated")
            assert (asked["state"], asked["user"]["id"], asked["target_id"]) == ("pending_in", ada.id, ada.id)
            assert (await wire.event("contact.updated"))["state"] == "mutual"

    async def test_new_device_is_announced_to_other_devices(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            phone = await people.device(ada, "Phone")
            added = await wire.event("device.added")
        assert (added["id"], added["name"], added["current"]) == (str(phone.actor.device_id), "Phone", False)


class TestDeliveryReceipts:
    async def test_pong_advances_delivery_receipt_on_both_sides(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            await people.message(ada, bob)
            theirs = await hers.event("receipt.updated", user_id=bob.id)
            own = await his.event("receipt.updated", user_id=bob.id)
        assert theirs == {
            "target_id": bob.id,
            "user_id": bob.id,
            "read_seq": 0,
            "delivered_seq": 1,
            "unread": None,
            "version": None,
        }
        assert own == {**theirs, "target_id": ada.id, "unread": 1, "version": 1}

    async def test_returned_cursor_advances_delivery_receipt(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        cursor = (await realtime.sync(bob, cursor="e0", limit=200)).json()["cursor"]
        async with realtime.wire(ada) as wire:
            assert not [e for e in await stream(realtime, ada) if e["event"] == "receipt.updated"]
            await realtime.sync(bob, cursor=cursor)
            assert (await wire.event("receipt.updated", user_id=bob.id))["delivered_seq"] == 1

    async def test_stranger_receives_no_delivery_receipt(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada, bob = await people.people(2)
        await hosted.services.profiles.update(
            bob.actor, msgspec.convert({"privacy": {"messages_from": "everyone"}}, ProfilePatch)
        )
        async with realtime.wire(bob) as his:
            await people.message(ada, bob)
            await his.event("receipt.updated", user_id=bob.id)
        assert [e["event"] for e in await stream(realtime, ada)] == ["device.added", "message.created"]

    async def test_many_deliveries_are_single_receipt(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        for _ in range(30):
            await people.message(ada, bob)
        async with realtime.wire(ada) as hers, realtime.wire(bob, cursor="e0"):
            assert (await hers.event("receipt.updated", user_id=bob.id))["delivered_seq"] == 30


class TestSocketRequests:
    async def test_sent_message_returns_in_stream(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        async with realtime.wire(ada) as wire:
            reply = await wire.ask("message.send", target_id=bob.id, client_id="one", body="Hello")
            assert (await wire.event("message.created")) == reply["data"]
            again = await wire.ask("message.send", target_id=bob.id, client_id="one", body="Hello")
            assert again["data"] == reply["data"]

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ({"target_id": 1, "client_id": "x", "body": "Hello"}, "peer_not_found"),
            ({"client_id": "x", "body": "Hello"}, "validation_failed"),
            ({"target_id": 1, "client_id": "x", "body": "Hello", "extra": 1}, "unknown_field"),
            ({"target_id": "1", "client_id": "x", "body": "Hello"}, "validation_failed"),
            ({"target_id": 1, "client_id": "x", "body": "x" * 65537}, "message_too_large"),
            ({"target_id": 1, "client_id": "x", "body": " \u200b\u2800"}, "validation_failed"),
        ],
    )
    async def test_socket_error_equals_http_problem(
        self, realtime: Realtime, people: Factory, data: dict[str, Any], code: str
    ) -> None:
        async with realtime.wire(await people.person()) as wire:
            error = (await wire.ask("message.send", **data))["error"]
        assert (error["code"], set(error) >= {"type", "title", "status", "detail", "errors"}) == (code, True)

    async def test_receipt_set_advances_receipt(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        await people.message(ada, bob)
        async with realtime.wire(bob) as wire:
            assert await wire.ask("receipt.set", target_id=ada.id, read_seq=1) == {
                "type": "reply",
                "id": 1,
                "data": None,
            }
            assert (await wire.event("receipt.updated", read_seq=1))["unread"] == 0
            assert (await wire.ask("receipt.set", target_id=ada.id, read_seq=2))["error"]["status"] == 400

    async def test_presence_set_changes_profile_status(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            reply = await wire.ask("presence.set", status="busy", status_text="Reading")
            assert (reply["data"]["status"], reply["data"]["status_text"]) == ("busy", "Reading")
            assert (await wire.event("profile.updated"))["status"] == "busy"
            assert (await wire.ask("presence.set", status="asleep"))["error"]["code"] == "validation_failed"

    async def test_replies_arrive_in_order(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            for number in range(40):
                await wire.send({"type": "request", "id": number, "method": "ping"})
            assert [(await wire.next("reply"))["id"] for _ in range(40)] == list(range(40))

    @pytest.mark.parametrize(
        "payload",
        [
            "",
            "{",
            "null",
            "[]",
            '"x"',
            "{}",
            '{"type": "event"}',
            '{"type": "request"}',
            '{"type": "request", "id": "1", "method": "ping"}',
            '{"type": "request", "id": 1.5, "method": "ping"}',
            '{"type": "request", "id": 99999999999999999999999, "method": "ping"}',
            '{"type": "request", "id": null, "method": "ping"}',
            "[" * 100_000,
            '{"type": "request", "id": 1, "method": "ping", "data": ' + "[" * 100_000 + "}",
        ],
    )
    async def test_unreadable_frame_is_refused_and_socket_stays_open(
        self, realtime: Realtime, people: Factory, payload: str
    ) -> None:
        async with realtime.wire(await people.person()) as wire:
            await wire.send(payload)
            refused = await wire.next("reply")
            assert (refused["id"], refused["error"]["status"]) == (None, 400)
            assert (await wire.ask("ping"))["data"] is None

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            ({"type": "request", "id": 9, "method": "ping", "more": 1}, "unknown_field"),
            ({"more": {"id": 1}, "type": "request", "id": 9, "method": "ping"}, "unknown_field"),
            ({"type": "request", "id": 9, "method": None}, "validation_failed"),
            ({"type": "request", "id": 9}, "validation_failed"),
            ({"type": "event", "id": 9}, "validation_failed"),
            ({"type": "request", "id": 9, "method": "ping", "data": {"more": 1}}, "unknown_field"),
        ],
    )
    @pytest.mark.parametrize("protocol", ["messenger.json", "messenger.msgpack"])
    async def test_invalid_frame_is_refused_with_request_id(
        self, realtime: Realtime, people: Factory, frame: dict[str, Any], code: str, protocol: str
    ) -> None:
        async with realtime.wire(await people.person(), subprotocols=[protocol]) as wire:
            await wire.send(msgspec.msgpack.encode(frame) if protocol.endswith("msgpack") else frame)
            refused = await wire.next("reply")
            assert (refused["id"], refused["error"]["code"]) == (9, code)

    async def test_byte_order_mark_before_a_frame_is_ignored(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            await wire.send('\ufeff{"type": "request", "id": 7, "method": "ping"}')
            assert await wire.next("reply") == {"type": "reply", "id": 7, "data": None}

    async def test_all_faulty_fields_are_named(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            error = (await wire.ask("message.send", target_id="x", body=1, more=1))["error"]
        assert {fault["field"] for fault in error["errors"]} == {"target_id", "client_id", "body", "more"}

    @pytest.mark.parametrize("data", ["null", "{}"])
    async def test_missing_data_counts_as_empty(self, realtime: Realtime, people: Factory, data: str) -> None:
        async with realtime.wire(await people.person()) as wire:
            await wire.send(f'{{"type": "request", "id": 7, "method": "ping", "data": {data}}}')
            assert await wire.next("reply") == {"type": "reply", "id": 7, "data": None}

    async def test_unknown_method_is_named(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            assert (await wire.ask("message.burn"))["error"]["code"] == "unknown_method"

    async def test_server_error_is_reported_without_traceback(
        self, realtime: Realtime, people: Factory, hosted: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(hosted.services.conversations, "receipt", fail)
        async with realtime.wire(await people.person()) as wire:
            error = (await wire.ask("receipt.set", target_id=1, read_seq=1))["error"]
            assert (error["status"], "secret" in json.dumps(error)) == (500, False)
            assert (await wire.ask("ping"))["data"] is None

    async def test_call_signal_reaches_peer(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        call = str(uuid4())
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            reply = await hers.ask(
                "call.signal", target_id=bob.id, call_id=call, payload={"type": "offer", "sdp": "v=0"}
            )
            assert reply["data"] is None
            assert await his.signal("call.signal") == {
                "target_id": ada.id,
                "user_id": ada.id,
                "device_id": str(ada.actor.device_id),
                "call_id": call,
                "payload": {"type": "offer", "sdp": "v=0"},
            }
            big = {"sdp": "x" * 65537}
            assert (await hers.ask("call.signal", target_id=bob.id, call_id=call, payload=big))["error"][
                "status"
            ] == 413

    async def test_call_signal_of_a_stranger_is_refused(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.people(2)
        async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
            reply = await hers.ask("call.signal", target_id=bob.id, call_id=str(uuid4()), payload={})
            assert reply["error"]["code"] == "not_a_contact"
            assert [f for f in await his.settled() if f["type"] == "signal"] == []


class TestEncodings:
    async def test_messagepack_frames_equal_json_frames(self, realtime: Realtime, people: Factory) -> None:
        ada, bob = await people.friends()
        phone = await people.device(bob)
        async with (
            realtime.wire(bob) as text,
            realtime.wire(phone, subprotocols=["messenger.msgpack"]) as packed,
        ):
            await people.message(ada, bob, "Ж ☂")
            assert await packed.next("event", "message.created") == await text.next("event", "message.created")
            request = {"type": "request", "id": 1, "method": "message.send"}
            data = {"target_id": ada.id, "client_id": "packed", "body": "Hi"}
            await packed.send(msgspec.msgpack.encode({**request, "data": data}))
            assert (await packed.next("reply"))["data"]["body"] == "Hi"
            await packed.send(msgspec.msgpack.encode({"type": "request", "id": 2, "method": "ping", "data": None}))
            assert await packed.next("reply") == {"type": "reply", "id": 2, "data": None}

    @pytest.mark.parametrize(
        "payload", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\xa1", b"\x91" * 5000]
    )
    async def test_malformed_messagepack_is_refused(self, realtime: Realtime, people: Factory, payload: bytes) -> None:
        async with realtime.wire(await people.person(), subprotocols=["messenger.msgpack"]) as wire:
            await wire.send(payload)
            assert (await wire.next("reply"))["error"]["status"] == 400

    async def test_wrong_frame_type_is_closed(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada) as wire:
            await wire.send(b"{}")
            assert (await wire.closed())[0] == 1003
        async with realtime.wire(ada, subprotocols=["messenger.msgpack"]) as wire:
            await wire.send("{}")
            assert (await wire.closed())[0] == 1003

    async def test_oversized_frame_is_closed(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            await wire.send("x" * (512 * 1024 + 1))
            assert (await wire.closed())[0] == 1009

    async def test_fragmented_frames_form_single_request(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            await wire.connection.send(['{"type": "request",', ' "id": 3, "meth', 'od": "ping"}'])
            assert (await wire.next("reply"))["id"] == 3


async def test_read_receipt_over_http_is_sent_live(realtime: Realtime, people: Factory, hosted: Container) -> None:
    ada, bob = await people.friends()
    await people.message(ada, bob)
    async with realtime.wire(ada) as hers:
        await hosted.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=ada.id, read_seq=1))
        received = await hers.event("receipt.updated", read_seq=1)
    assert (received["user_id"], received["unread"]) == (bob.id, None)


async def test_fresh_load_shows_receipt_of_peer(realtime: Realtime, people: Factory, hosted: Container) -> None:
    ada, bob = await people.friends()
    await people.message(ada, bob)

    async def shown() -> Any:
        page = await hosted.services.conversations.list_page(ada.actor, cursor=None, limit=1)
        return msgspec.to_builtins(page.items[0].target_receipt)

    assert await shown() == {"read_seq": 0, "delivered_seq": 0}
    await hosted.services.conversations.receipt(bob.actor, ReceiptDraft(target_id=ada.id, read_seq=1))
    assert await shown() == {"read_seq": 1, "delivered_seq": 1}
    await hosted.services.contacts.unsubscribe(bob.actor, ada.id)
    assert await shown() is None


async def test_socket_without_cursor_proves_no_delivery(realtime: Realtime, people: Factory, hosted: Container) -> None:
    ada, bob = await people.friends()
    await people.message(ada, bob)
    async with realtime.wire(bob):
        await hosted.realtime.acks.finish()
    assert [e["event"] for e in await stream(realtime, ada)] == [
        "device.added",
        "contact.updated",
        "contact.updated",
        "message.created",
    ]
