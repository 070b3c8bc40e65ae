"""The number of round trips of each operation, BEGIN and COMMIT included. Budgets only go down."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.openapi_export import openapi_json
from messenger.testing import Factory, Person, StatementLog
from messenger.testing.factories import PASSWORD
from messenger.web.socket_methods import METHODS
from tests.budgets._group_budgets import GROUP_BUDGETS
from tests.budgets.conftest import METRICS_TOKEN
from tests.support.served import serving
from tests.support.sockets import Realtime

# Within the activity resolution; a stamp that is due costs one more statement, in a transaction three.
BUDGETS = {
    # The basic endpoints.
    "GET /profile": 1,
    "PUT /profile": 5,
    "GET /settings": 1,
    "PUT /settings": 4,
    "GET /contacts": 1,
    "POST /subscribe": 9,
    "POST /confirm_subscribe": 8,
    "GET /statuses": 1,
    "GET /history": 1,
    "POST /avatar/upload": 8,
    "DELETE /avatar": 8,
    "DELETE /avatar, with none": 4,
    "POST /e2e/secret_key": 5,
    "GET /ice_servers": 1,
    # Messages.
    "POST /messages": 1,
    "POST /messages, the first of a pair": 3,
    "POST /messages, again": 2,
    "GET /messages": 1,
    "PATCH /messages": 7,
    "DELETE /messages": 6,
    "GET /conversations": 1,
    "PUT /conversations": 6,
    "POST /receipts": 4,
    # Realtime.
    "GET /sync": 1,
    "GET /sync, with a cursor that proves something": 2,
    "GET /sync, waiting in vain": 2,
    "GET /sync, waiting for an event": 3,
    "POST /ws/ticket": 1,
    "GET /ws": 1,
    "a socket": 2,
    "a socket by ticket": 3,
    # The rest.
    "GET /users": 1,
    "GET /users?username=": 1,
    "GET /users?ids=": 1,
    "GET /devices": 1,
    "GET /e2e/secret_key": 1,
    "POST /logout": 5,
    "POST /token/refresh": 4,
    "POST /login": 5,
    "POST /register": 5,
    "PUT /contacts": 5,
    "POST /unsubscribe": 8,
    "POST /block": 8,
    "POST /unblock": 7,
    "POST /password": 6,
    "DELETE /account": 8,
    "GET /account/export": 8,
    "DELETE /devices": 5,
    "GET /avatars": 1,
    "GET /health/live": 0,
    "GET /health/ready": 1,
    "GET /metrics": 0,
    "unauthenticated": 1,
    "no token": 0,
}

# Over a socket whose device is notified of what it did; anything but a message is read for that.
METHODS_BUDGETS = {
    "message.send": BUDGETS["POST /messages"],
    "receipt.set": BUDGETS["POST /receipts"] + 1,
    "presence.set": 4 + 1,
    "typing": 1,
    "watch": 0,
    "call.signal": 1,
    "ping": 0,
}


@pytest_asyncio.fixture(loop_scope="session")
async def realtime(settled: Container, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Realtime]:
    """A server over the same services, without the background tasks that write for all sockets together."""
    board = settled.realtime.presence
    # That batch does not belong to one socket: it counts as written.
    monkeypatch.setattr(board, "connected", lambda socketed: board.on_registered(socketed))
    async with serving(settled) as (_, port):
        yield Realtime(port)


def _image() -> bytes:
    """An image that no other user has: shared images need fewer statements."""
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), os.urandom(8 * 8 * 3)).save(file, "PNG")
    return file.getvalue()


ENVELOPE = {
    "algorithm": "AES-256-GCM",
    "kdf": {"name": "hkdf"},
    "nonce": base64.b64encode(bytes(12)).decode(),
    "ciphertext": base64.b64encode(bytes(range(48))).decode(),
}

# On first use of a type asyncpg looks it up in the catalogue, once per connection; only the second run is counted.
RUNS = 2

Send = Callable[[httpx.AsyncClient, Person, Person, str], Awaitable[httpx.Response]]


def _get(path: str) -> Send:
    return lambda http, ada, bob, subject: http.get(path.format(bob=bob.id, subject=subject), headers=ada.headers)


def _send(method: str, path: str, **body: Any) -> Send:
    def send(http: httpx.AsyncClient, ada: Person, bob: Person, subject: str) -> Awaitable[httpx.Response]:
        target = {"target_id": bob.id} if "target_id" in body else {}
        url = path.format(bob=bob.id, subject=subject)
        return http.request(method, url, headers=ada.headers, json={**body, **target})

    return send


OF_FRIENDS: dict[str, Send] = {
    "GET /profile": _get("/profile"),
    "PUT /profile": _send("PUT", "/profile", about="New"),
    "GET /settings": _get("/settings"),
    "PUT /settings": _send("PUT", "/settings", auto_join="contacts"),
    "GET /contacts": _get("/contacts"),
    "GET /statuses": _get("/statuses"),
    "GET /history": _get("/history/{bob}"),
    "POST /avatar/upload": lambda http, ada, bob, subject: http.post(
        "/avatar/upload", headers=ada.headers, files={"file": ("a.png", _image())}
    ),
    "DELETE /avatar": _send("DELETE", "/avatar/"),
    "DELETE /avatar, with none": _send("DELETE", "/avatar/"),
    "POST /e2e/secret_key": _send("POST", "/e2e/secret_key", **ENVELOPE),
    "GET /ice_servers": _get("/ice_servers"),
    "POST /messages": _send("POST", "/messages", target_id=0, client_id="new", body="Hello"),
    "POST /messages, again": _send("POST", "/messages", target_id=0, client_id="first", body="Hello"),
    "GET /messages": _get("/messages/{subject}"),
    "PATCH /messages": _send("PATCH", "/messages/{subject}", body="Better"),
    "DELETE /messages": _send("DELETE", "/messages/{subject}"),
    "GET /conversations": _get("/conversations"),
    "PUT /conversations": _send("PUT", "/conversations/{bob}", pinned=True),
    "POST /receipts": _send("POST", "/receipts", target_id=0, read_seq=2),
    "GET /sync": _get("/sync?cursor=e0"),
    "POST /ws/ticket": _send("POST", "/ws/ticket"),
    "GET /users": _get("/users/{bob}"),
    "GET /devices": _get("/devices"),
    "GET /e2e/secret_key": _get("/e2e/secret_key"),
    "POST /logout": _send("POST", "/logout"),
    "PUT /contacts": _send("PUT", "/contacts/{bob}", alias="Bobby"),
    "POST /unsubscribe": _send("POST", "/unsubscribe", target_id=0),
    "POST /block": _send("POST", "/block", target_id=0),
    "POST /password": _send("POST", "/password", old_password=PASSWORD, new_password="marble-otter-winter-58"),
    "DELETE /account": _send("DELETE", "/account", password=PASSWORD),
    "GET /account/export": _get("/account/export"),
    "DELETE /devices": lambda http, ada, bob, subject: http.delete(
        f"/devices/{ada.actor.device_id}", headers=ada.headers
    ),
    "GET /avatars": _get("/avatars/{subject}"),
    "GET /health/live": _get("/health/live"),
    "GET /health/ready": _get("/health/ready"),
    "GET /metrics": lambda http, ada, bob, subject: http.get(
        "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}
    ),
}

# What must exist before the request, so that the request does not end early.
BEFORE: dict[str, Send] = {
    "GET /avatars": OF_FRIENDS["POST /avatar/upload"],
    "DELETE /avatar": OF_FRIENDS["POST /avatar/upload"],
    "GET /e2e/secret_key": OF_FRIENDS["POST /e2e/secret_key"],
}

OPERATIONS = [
    f"{method.upper()} {path}"
    for path, operations in json.loads(openapi_json())["paths"].items()
    for method in operations
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_statement_budget(operation: str) -> None:
    assert operation.partition("/{")[0].rstrip("/") in BUDGETS or operation in GROUP_BUDGETS


@pytest.mark.parametrize("what", OF_FRIENDS)
async def test_operation_between_contacts_stays_within_statement_budget(
    what: str, http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    for _ in range(RUNS):
        ada, bob = await Factory(settled).friends()
        message = await Factory(settled).message(ada, bob, client_id="first")
        await Factory(settled).message(bob, ada)
        subject = str(message.id)
        if what in BEFORE:
            made = await BEFORE[what](http, ada, bob, subject)
            assert made.status_code == 201
            subject = made.json().get("avatar", {}).get("key", subject)
        sent, answer = await _counted(OF_FRIENDS[what], http, log, ada, bob, subject)
        assert answer.is_success, answer.text
    assert len(sent) == BUDGETS[what], [" ".join(statement.split())[:60] for statement in sent]


async def _counted(
    send: Send, http: httpx.AsyncClient, log: StatementLog, ada: Person, bob: Person, subject: str
) -> tuple[list[str], httpx.Response]:
    async with log.recording() as sent:
        return sent, await send(http, ada, bob, subject)


async def test_first_message_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).friends()
    draft = {"target_id": bob.id, "client_id": "1", "body": "Hello"}
    async with log.recording() as sent:
        assert (await http.post("/messages", headers=ada.headers, json=draft)).status_code == 201
    assert len(sent) == BUDGETS["POST /messages, the first of a pair"], sent


async def test_subscribe_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).people(2)
    async with log.recording() as sent:
        assert (await http.post("/subscribe", headers=ada.headers, json={"target_id": bob.id})).status_code == 200
    assert len(sent) == BUDGETS["POST /subscribe"], sent


async def test_confirm_subscribe_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).people(2)
    await http.post("/subscribe", headers=ada.headers, json={"target_id": bob.id})
    async with log.recording() as sent:
        answer = await http.post("/confirm_subscribe", headers=bob.headers, json={"target_id": ada.id})
    assert answer.json()["state"] == "mutual"
    assert len(sent) == BUDGETS["POST /confirm_subscribe"], sent


async def test_unblock_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).friends()
    await http.post("/block", headers=ada.headers, json={"target_id": bob.id})
    async with log.recording() as sent:
        assert (await http.post("/unblock", headers=ada.headers, json={"target_id": bob.id})).status_code == 200
    assert len(sent) == BUDGETS["POST /unblock"], sent


async def test_find_by_name_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).people(2)
    async with log.recording() as sent:
        answer = await http.get("/users", params={"username": bob.username}, headers=ada.headers)
    assert answer.json()["id"] == bob.id
    assert len(sent) == BUDGETS["GET /users?username="], sent


async def test_list_by_ids_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).friends()
    async with log.recording() as sent:
        answer = await http.get("/users", params={"ids": f"{bob.id},7"}, headers=ada.headers)
    assert [each["id"] for each in answer.json()["items"]] == [bob.id]
    assert len(sent) == BUDGETS["GET /users?ids="], sent


async def test_register_stays_within_statement_budget(
    http: httpx.AsyncClient, log: StatementLog, settled: Container
) -> None:
    known = await Factory(settled).person()
    draft = {"username": f"new{known.id}", "password": known.password, "name": "Ada"}
    async with log.recording() as sent:
        assert (await http.post("/register", json=draft)).status_code == 201
    assert len(sent) == BUDGETS["POST /register"], sent


async def test_login_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    async with log.recording() as sent:
        answer = await http.post("/login", json={"login": ada.username, "password": ada.password})
    assert answer.status_code == 200
    assert len(sent) == BUDGETS["POST /login"], sent


async def test_refresh_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    async with log.recording() as sent:
        answer = await http.post("/token/refresh", json={"refresh_token": ada.refresh_token})
    assert answer.status_code == 200
    assert len(sent) == BUDGETS["POST /token/refresh"], sent


# --- realtime ---------------------------------------------------------------------------------------


async def _proved(settled: Container, person: Person) -> str:
    """The end of the user's stream, after a device has acknowledged everything up to there."""
    # The acknowledgement is announced in an event of its own; the second one changes nothing.
    for _ in range(2):
        cursor = (await settled.services.sync.sync(person.actor, cursor=None, limit=1)).cursor
        await settled.services.sync.sync(person.actor, cursor=cursor, limit=1)
        await settled.realtime.acks.finish()
    return cursor


async def test_socket_request_without_upgrade_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    async with log.recording() as sent:
        assert (await http.get("/ws", headers=ada.headers)).status_code == 426
    assert len(sent) == BUDGETS["GET /ws"], sent


async def test_sync_proving_delivery_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    for _ in range(RUNS):
        ada, bob = await Factory(settled).friends()
        await Factory(settled).message(bob, ada)
        cursor = (await settled.services.sync.sync(ada.actor, cursor=None, limit=1)).cursor
        async with log.recording() as sent:
            answer = await http.get("/sync", params={"cursor": cursor}, headers=ada.headers)
            await settled.realtime.acks.finish()
        assert answer.status_code == 200
    assert len(sent) == BUDGETS["GET /sync, with a cursor that proves something"], sent


async def test_sync_timing_out_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    cursor = await _proved(settled, ada)
    async with log.recording() as sent:
        answer = await http.get("/sync", params={"cursor": cursor, "wait": 0.1}, headers=ada.headers)
    assert answer.json() == {"events": [], "cursor": cursor, "more": False}
    assert len(sent) == BUDGETS["GET /sync, waiting in vain"], sent


async def test_sync_waiting_for_event_stays_within_statement_budget(
    http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).friends()
    await Factory(settled).message(bob, ada)
    cursor = await _proved(settled, ada)
    async with log.recording() as sent:
        asked = asyncio.create_task(http.get("/sync", params={"cursor": cursor, "wait": 30}, headers=ada.headers))
        while len(sent) < BUDGETS["GET /sync, waiting in vain"]:
            await asyncio.sleep(0)
        await Factory(settled).message(bob, ada)
        assert [event["event"] for event in (await asked).json()["events"]] == ["message.created"]
    assert len(sent) - BUDGETS["POST /messages"] == BUDGETS["GET /sync, waiting for an event"], sent


async def test_socket_handshake_stays_within_statement_budget(
    realtime: Realtime, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    cursor = await _proved(settled, ada)
    async with log.recording() as sent, realtime.wire(ada, cursor=cursor):
        pass
    assert len(sent) == BUDGETS["a socket"], sent


async def test_socket_handshake_by_ticket_stays_within_statement_budget(
    realtime: Realtime, settled: Container, log: StatementLog
) -> None:
    ada = await Factory(settled).person()
    cursor = await _proved(settled, ada)
    ticket = (await settled.services.streams.issue_ticket(ada.actor)).ticket
    async with log.recording() as sent, realtime.wire(query=f"?ticket={ticket}&cursor={cursor}"):
        pass
    assert len(sent) == BUDGETS["a socket by ticket"], sent


def test_every_socket_method_has_statement_budget() -> None:
    assert set(METHODS_BUDGETS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS_BUDGETS)
async def test_socket_method_stays_within_statement_budget(
    method: str, realtime: Realtime, settled: Container, log: StatementLog
) -> None:
    for _ in range(RUNS):
        ada, bob = await Factory(settled).friends()
        await Factory(settled).message(ada, bob)
        await Factory(settled).message(bob, ada)
        asked: dict[str, tuple[dict[str, Any], str | None]] = {
            "message.send": ({"target_id": bob.id, "client_id": "new", "body": "Hello"}, "message.created"),
            "receipt.set": ({"target_id": bob.id, "read_seq": 2}, "receipt.updated"),
            "presence.set": ({"status": "busy"}, "profile.updated"),
            "typing": ({"target_id": bob.id}, None),
            "watch": ({"target_ids": [bob.id]}, None),
            "call.signal": ({"target_id": bob.id, "call_id": str(UUID(int=1)), "payload": {}}, None),
            "ping": ({}, None),
        }
        data, event = asked[method]
        async with realtime.wire(ada, cursor=await _proved(settled, ada)) as wire, log.recording() as sent:
            assert "error" not in await wire.ask(method, **data)
            if event is not None:
                await wire.event(event)
    assert len(sent) == METHODS_BUDGETS[method], sent


async def test_connected_sockets_add_no_statements_to_send(
    realtime: Realtime, settled: Container, log: StatementLog
) -> None:
    ada, bob = await Factory(settled).friends()
    await Factory(settled).message(ada, bob)
    cursors = [await _proved(settled, person) for person in (ada, bob)]
    async with (
        realtime.wire(ada, cursor=cursors[0]) as hers,
        realtime.wire(bob, cursor=cursors[1]) as his,
        log.recording() as sent,
    ):
        await hers.ask("message.send", target_id=bob.id, client_id="new", body="Hello")
        await his.event("message.created", body="Hello")
        # His pong acknowledges the message: both sides are notified, and each stream is read once.
        await his.event("receipt.updated", delivered_seq=2)
        await hers.event("receipt.updated", delivered_seq=2)
    assert len(sent) == METHODS_BUDGETS["message.send"] + 1, sent


# --- who asks -----------------------------------------------------------------------------------------


async def test_forged_token_stays_within_statement_budget(http: httpx.AsyncClient, log: StatementLog) -> None:
    async with log.recording() as sent:
        assert (await http.get("/profile", headers={"Authorization": "Bearer forged"})).status_code == 401
    assert len(sent) == BUDGETS["unauthenticated"], sent


async def test_missing_token_stays_within_statement_budget(http: httpx.AsyncClient, log: StatementLog) -> None:
    async with log.recording() as sent:
        assert (await http.get("/profile")).status_code == 401
    assert len(sent) == BUDGETS["no token"], sent


async def test_due_activity_stamp_adds_single_statement(
    http: httpx.AsyncClient, settled: Container, log: StatementLog, clock: FixedClock
) -> None:
    ada = await Factory(settled).person()
    clock.advance(seconds=31)
    async with log.recording() as sent:
        assert (await http.get("/profile", headers=ada.headers)).status_code == 200
    assert len(sent) == BUDGETS["GET /profile"] + 1, sent
