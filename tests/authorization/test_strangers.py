"""Receipts, presence and ringing reveal nothing to users who are no mutual contacts, over HTTP and over sockets."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.container import Container
from messenger.testing import Factory, Person
from tests.authorization._matrix import CASES, Case
from tests.authorization._people import Cast
from tests.authorization._requests import CALL_ID, data
from tests.authorization._targets import addressing, gone, reserved
from tests.support.sockets import Realtime, Wire

NO_CONTACTS = ("stranger", "asker", "blocked", "blocker", "former")
EVERYONE = "everyone"


@pytest_asyncio.fixture(loop_scope="session")
async def client(realtime: Realtime) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the worker that serves the sockets."""
    async with httpx.AsyncClient(base_url=realtime.http) as client:
        yield client


@contextlib.asynccontextmanager
async def sockets(realtime: Realtime, cast: Cast, *roles: str) -> AsyncIterator[dict[str, Wire]]:
    """A socket for each of these roles, after all earlier events."""
    async with contextlib.AsyncExitStack() as stack:
        persons = {role: await cast.person(role) for role in roles}
        wires = {role: await stack.enter_async_context(realtime.wire(person)) for role, person in persons.items()}
        assert realtime._settle is not None
        await realtime._settle()
        for wire in wires.values():
            await wire.settled()
        yield wires


async def received_events(realtime: Realtime, wires: dict[str, Wire]) -> dict[str, list[str]]:
    """The kinds of signals that each role received; roles without any are omitted. A mark in the role's own stream
    shows that everything before it has arrived.
    """
    assert realtime._settle is not None
    await realtime._settle()
    events: dict[str, list[str]] = {}
    for role, wire in wires.items():
        mark = secrets.token_hex(8)
        await wire.ask("presence.set", status_text=mark)
        await wire.event("profile.updated", status_text=mark)
        if frames := await wire.settled():
            events[role] = [frame.get("event", frame["type"]) for frame in frames]
    return events


async def show_all(client: httpx.AsyncClient, person: Person) -> None:
    """The widest privacy settings."""
    privacy = dict.fromkeys(("last_seen", "messages_from", "calls_from"), EVERYONE)
    answer = await client.put("/profile", headers=person.headers, json={"privacy": privacy})
    assert answer.status_code == 200


class TestOwnerSendsSignals:
    """What the owner does reaches the contact, and no other role."""

    async def test_presence_reaches_only_mutual_contacts(
        self, realtime: Realtime, client: httpx.AsyncClient, cast: Cast
    ) -> None:
        await show_all(client, await cast.person("owner"))
        async with sockets(realtime, cast, "contact", *NO_CONTACTS) as wires:
            async with realtime.wire(await cast.person("owner")) as owner:
                await owner.ask("presence.set", status="busy", status_text="In a meeting")
                await wires["contact"].signal("presence", status="busy")
            await wires["contact"].signal("presence", online=False)
            events = await received_events(realtime, {role: wires[role] for role in NO_CONTACTS})
        assert events == {}

    async def test_statuses_list_only_mutual_contacts(self, client: httpx.AsyncClient, cast: Cast) -> None:
        owner = await cast.person("owner")
        await show_all(client, owner)
        seen = {}
        for role in ("contact", *NO_CONTACTS):
            answer = await client.get("/statuses", headers=await cast.headers(role))
            seen[role] = [item["user_id"] for item in answer.json()["items"]]
        assert seen == {"contact": [owner.id], **{role: [] for role in NO_CONTACTS}}

    @pytest.mark.parametrize("role", NO_CONTACTS)
    async def test_typing_reaches_former_contacts_but_not_blocks(
        self, realtime: Realtime, client: httpx.AsyncClient, cast: Cast, role: str
    ) -> None:
        person = await cast.person(role)
        await show_all(client, person)
        async with sockets(realtime, cast, "owner", role) as wires:
            reply = await wires["owner"].ask("typing", target_id=person.id)
            events = await received_events(realtime, {role: wires[role]})
        # An audience of everyone allows everyone to write, except after a block.
        assert ("error" in reply, events) == ((True, {}) if role.startswith("block") else (False, {role: ["typing"]}))

    @pytest.mark.parametrize("role", ["blocked", "blocker", "former"])
    async def test_receipts_do_not_reach_non_contacts(
        self, realtime: Realtime, client: httpx.AsyncClient, cast: Cast, role: str
    ) -> None:
        owner, person = await cast.person("owner"), await cast.person(role)
        async with sockets(realtime, cast, "owner", role) as wires:
            reply = await wires["owner"].ask("receipt.set", target_id=person.id, read_seq=2)
            assert "error" not in reply
            assert await received_events(realtime, wires) == {"owner": ["receipt.updated"]}
        listed = (await client.get("/conversations", headers=person.headers)).json()["items"]
        assert [(each["target"]["id"], each["target_receipt"]) for each in listed] == [(owner.id, None)]
        events = (await client.get("/sync?cursor=e0&limit=200", headers=person.headers)).json()["events"]
        receipts = [event["data"] for event in events if event["event"] == "receipt.updated"]
        assert {receipt["user_id"] for receipt in receipts} <= {person.id}

    @pytest.mark.parametrize("role", ["blocked", "blocker", "former"])
    async def test_proof_of_delivery_does_not_reach_non_contacts(
        self, realtime: Realtime, cast: Cast, role: str
    ) -> None:
        """Delivery of events is acknowledged without a request: this is a receipt, too."""
        owner, person = await cast.person("owner"), await cast.person(role)
        async with sockets(realtime, cast, role) as wires:
            async with realtime.wire(owner, cursor="e0") as wire:
                await wire.event("receipt.updated", target_id=person.id, delivered_seq=2)
            assert await received_events(realtime, wires) == {}


class TestOwnerReceivesSignals:
    """Users who are no contacts reach the owner only by a contact request."""

    @pytest.mark.parametrize("role", NO_CONTACTS)
    async def test_owner_receives_no_signals_from_non_contacts(self, realtime: Realtime, cast: Cast, role: str) -> None:
        owner = await cast.person("owner")
        async with sockets(realtime, cast, "owner", role) as wires:
            wire = wires[role]
            replies = [
                await wire.ask("typing", target_id=owner.id),
                await wire.ask("typing", target_id=owner.id, typing=False),
                await wire.ask("call.signal", target_id=owner.id, call_id=CALL_ID, payload={"type": "offer"}),
                await wire.ask("message.send", target_id=owner.id, client_id="1", body="Hello?"),
                await wire.ask("receipt.set", target_id=owner.id, read_seq=1),
                await wire.ask("presence.set", status="away"),
            ]
            events = await received_events(realtime, {"owner": wires["owner"]})
        codes = [reply.get("error", {}).get("code") for reply in replies]
        assert codes[:4] == ["not_a_contact", None, "not_a_contact", "not_a_contact"]
        assert events == {}

    @pytest.mark.parametrize("role", NO_CONTACTS)
    async def test_owner_receives_no_presence_of_non_contacts(self, realtime: Realtime, cast: Cast, role: str) -> None:
        person = await cast.person(role)
        async with sockets(realtime, cast, "owner") as wires:
            async with realtime.wire(person):
                pass
            assert await received_events(realtime, wires) == {}


ADDRESSED = [case for case in CASES if case.method == "SOCKET" and case.of == "owner" and case.actor == "stranger"]


@pytest.mark.parametrize("case", ADDRESSED, ids=lambda case: case.id)
class TestEnumeration:
    """The same as over HTTP in `test_enumeration.py`."""

    async def errors(
        self, realtime: Realtime, case: Case, actor: Person, targets: dict[str, Person]
    ) -> dict[str, dict[str, Any]]:
        async with realtime.wire(actor) as wire:
            return {
                reason: (await wire.ask(case.path, **data(addressing(case, actor, target))))["error"]
                for reason, target in targets.items()
            }

    async def test_erased_and_disabled_users_look_nonexistent_to_sockets(
        self, realtime: Realtime, container: Container, make: Factory, case: Case
    ) -> None:
        errors = await self.errors(realtime, case, await make.person(), await gone(container, make))
        assert errors["nobody"]["code"] == "peer_not_found"
        assert errors["erased"] == errors["disabled"] == errors["nobody"]

    async def test_socket_errors_hide_why_stranger_is_refused(
        self, realtime: Realtime, container: Container, make: Factory, case: Case
    ) -> None:
        actor = await make.person()
        errors = await self.errors(realtime, case, actor, await reserved(container, make, actor))
        assert errors["blocking"] == errors["private"] == errors["usual"]


class TestRinging:
    async def answers(self, realtime: Realtime, caller: Person, target: Person) -> dict[str, Any]:
        async with realtime.wire(caller) as wire:
            reply = await wire.ask("call.signal", target_id=target.id, call_id=CALL_ID, payload={"type": "offer"})
        return {key: value for key, value in reply.items() if key != "id"}

    async def test_ringing_does_not_reveal_presence_to_stranger(self, realtime: Realtime, cast: Cast) -> None:
        owner, stranger = await cast.person("owner"), await cast.person("stranger")
        away = await self.answers(realtime, stranger, owner)
        async with realtime.wire(owner) as wire:
            here = await self.answers(realtime, stranger, owner)
            assert [frame for frame in await wire.settled() if frame["type"] == "signal"] == []
        assert here == away
        assert away["error"]["code"] == "not_a_contact"

    async def test_ringing_does_not_reveal_presence_to_callers(
        self, realtime: Realtime, client: httpx.AsyncClient, cast: Cast
    ) -> None:
        owner, stranger = await cast.person("owner"), await cast.person("stranger")
        await show_all(client, owner)
        away = await self.answers(realtime, stranger, owner)
        async with realtime.wire(owner) as wire:
            here = await self.answers(realtime, stranger, owner)
            rung = await wire.signal("call.signal")
        assert here == away == {"type": "reply", "data": None}
        assert set(rung) == {"target_id", "user_id", "device_id", "call_id", "payload"}
        assert msgspec.json.encode(rung).find(stranger.access_token.encode()) == -1
