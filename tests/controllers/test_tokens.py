"""Authentication: invalid tokens on every route that needs one, and foreign ids on all that accept ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from messenger.clock import FixedClock
from messenger.testing import Factory, Person
from tests.controllers.conftest import Snapshot
from tests.support.http import DOCUMENT, GUARDED, OPERATION, Operation, assert_problem
from tests.support.openapi_schema import sample

guarded = pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.id)

BAD: dict[str, str | None] = {
    "absent": None,
    "empty": "",
    "scheme alone": "Bearer",
    "scheme and blanks": "Bearer    ",
    "forged": "Bearer mat_" + "A" * 43,
    "one letter off": "Bearer {forged}",
    "refresh token": "Bearer {refresh}",
    "another scheme": "Basic {access}",
    "no scheme": "{access}",
    "two tokens": "Bearer {access} {access}",
    "quoted": 'Bearer "{access}"',
    "NUL": "Bearer \x00",
    "huge": "Bearer " + "A" * 100_000,
    "JWT without a signature": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
}


def _as(person: Person, template: str) -> dict[str, str]:
    last = "A" if person.access_token[-1] != "A" else "B"
    values = {
        "access": person.access_token,
        "refresh": person.refresh_token,
        "forged": person.access_token[:-1] + last,
    }
    return {"Authorization": template.format(**values)}


async def ask(client: httpx.AsyncClient, operation: Operation, headers: dict[str, str]) -> httpx.Response:
    """Send the operation with everything that it needs, except the token."""
    url = operation.url() + ("?username=nobody" if operation.id == "findUser" else "")
    schema = operation.body_schema
    body: dict[str, Any] = {} if schema is None else {"json": sample(DOCUMENT, schema)}
    return await client.request(operation.method, url, headers=headers, **body)


class TestBadTokens:
    @guarded
    async def test_bad_token_is_401(self, client: httpx.AsyncClient, ada: Person, operation: Operation) -> None:
        found = {}
        for kind, template in BAD.items():
            answer = await ask(client, operation, {} if template is None else _as(ada, template))
            found[kind] = (answer.status_code, answer.json()["code"])
        assert found == dict.fromkeys(BAD, (401, "unauthenticated"))

    @guarded
    async def test_expired_token_is_401(
        self, client: httpx.AsyncClient, make: Factory, clock: FixedClock, operation: Operation
    ) -> None:
        ada = await make.person()
        clock.advance(seconds=901)
        assert_problem(await ask(client, operation, ada.headers), 401, "unauthenticated")

    @guarded
    async def test_token_of_signed_out_device_is_401(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation
    ) -> None:
        await client.post("/logout", headers=ada.headers)
        assert_problem(await ask(client, operation, ada.headers), 401, "unauthenticated")

    @guarded
    async def test_missing_token_is_401_despite_invalid_body(
        self, client: httpx.AsyncClient, operation: Operation
    ) -> None:
        answer = await client.request(operation.method, operation.url(), content=b"\xff")
        assert_problem(answer, 401, "unauthenticated")

    @guarded
    async def test_forged_token_is_401_despite_invalid_body(
        self, client: httpx.AsyncClient, operation: Operation
    ) -> None:
        url = operation.url() + ("?username=nobody" if operation.id == "findUser" else "")
        headers = {"Authorization": "Bearer forged"}
        answer = await client.request(operation.method, url, headers=headers, content=b"{}")
        assert_problem(answer, 401, "unauthenticated")

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
    async def test_bearer_scheme_is_case_insensitive(self, client: httpx.AsyncClient, ada: Person, scheme: str) -> None:
        headers = {"Authorization": f"{scheme} {ada.access_token}"}
        assert (await client.get("/profile", headers=headers)).status_code == 200

    @pytest.mark.parametrize(
        ("path", "name"),
        [("/profile", "access_token"), ("/sync", "access_token"), ("/sync", "ticket"), ("/ws", "ticket")],
    )
    async def test_token_in_query_is_401(self, client: httpx.AsyncClient, ada: Person, path: str, name: str) -> None:
        answer = await client.get(path, params={name: ada.access_token})
        assert_problem(answer, 401, "unauthenticated")

    async def test_ticket_is_valid_only_for_socket(self, client: httpx.AsyncClient, ada: Person) -> None:
        ticket = (await client.post("/ws/ticket", headers=ada.headers)).json()["ticket"]
        answers = [await client.get(path, params={"ticket": ticket}) for path in ("/sync", "/ws", "/profile")]
        answers += [await client.get(path, headers={"Authorization": f"Bearer {ticket}"}) for path in ("/sync", "/ws")]
        for answer in answers:
            assert_problem(answer, 401, "unauthenticated")


# --- other people's ids -----------------------------------------------------------------------------


class Known:
    """What Mallory has obtained: every id of two users who exchange messages."""

    def __init__(self, ada: Person, bob: Person, message_id: UUID) -> None:
        self.ada, self.bob, self.message_id = ada, bob, message_id


Attempt = tuple[str, str, Callable[[Known], str], Callable[[Known], Any], int, str]


def _nothing(_: Known) -> None:
    return None


def _message(known: Known) -> str:
    return f"/messages/{known.message_id}"


ATTEMPTS: list[Attempt] = [
    ("read a message", "GET", _message, _nothing, 404, "message_not_found"),
    ("edit a message", "PATCH", _message, lambda _: {"body": "forged"}, 404, "message_not_found"),
    ("delete a message", "DELETE", _message, _nothing, 404, "message_not_found"),
    ("hide a message", "DELETE", lambda known: f"{_message(known)}?for=me", _nothing, 404, "message_not_found"),
    (
        "sign a device out",
        "DELETE",
        lambda known: f"/devices/{known.ada.actor.device_id}",
        _nothing,
        404,
        "device_not_found",
    ),
    (
        "name a contact",
        "PUT",
        lambda known: f"/contacts/{known.ada.id}",
        lambda _: {"alias": "x"},
        404,
        "peer_not_found",
    ),
    (
        "answer a request that was never made",
        "POST",
        lambda _: "/confirm_subscribe",
        lambda known: {"target_id": known.ada.id},
        409,
        "no_pending_request",
    ),
    (
        "write without contact",
        "POST",
        lambda _: "/messages",
        lambda known: {"target_id": known.ada.id, "client_id": "1", "body": "spam"},
        403,
        "not_a_contact",
    ),
    (
        "claim to have read beyond the end",
        "POST",
        lambda _: "/receipts",
        lambda known: {"target_id": known.ada.id, "read_seq": 1},
        404,
        "peer_not_found",
    ),
]


class TestOtherPeoplesIds:
    @pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt[0])
    async def test_foreign_id_is_refused_without_effect(
        self,
        client: httpx.AsyncClient,
        make: Factory,
        ada: Person,
        bob: Person,
        snapshot: Snapshot,
        attempt: Attempt,
    ) -> None:
        _, method, path, body, status, code = attempt
        known = Known(ada, bob, (await make.message(ada, bob)).id)
        mallory = await make.person(name="Mallory")
        before = [await snapshot(person) for person in (ada, bob)]
        answer = await client.request(method, path(known), headers=mallory.headers, json=body(known))
        assert_problem(answer, status, code)
        assert [await snapshot(person) for person in (ada, bob)] == before

    async def test_reply_to_foreign_message_is_404(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        message = await make.message(ada, bob)
        mallory, friend = await make.friends()
        body = {"target_id": friend.id, "client_id": "1", "body": "x", "reply_to": str(message.id)}
        answer = await client.post("/messages", headers=mallory.headers, json=body)
        assert_problem(answer, 404, "message_not_found")

    async def test_history_shows_only_own_conversation(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        await make.message(ada, bob)
        mallory = await make.person()
        answer = await client.get(f"/history/{ada.id}", headers=mallory.headers)
        assert (answer.status_code, answer.json()["items"]) == (200, [])

    @pytest.mark.parametrize("operation", ["getMessage", "editMessage", "deleteMessage", "signOutDevice"])
    async def test_foreign_id_looks_like_unknown_id(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person, operation: str
    ) -> None:
        message = await make.message(ada, bob)
        mallory = await make.person()
        requested = OPERATION[operation]
        body = {"body": "x"} if operation == "editMessage" else None
        urls = [requested.url(message_id=message.id, device_id=ada.actor.device_id), requested.url()]
        answers = [await client.request(requested.method, url, headers=mallory.headers, json=body) for url in urls]
        assert answers[0].text == answers[1].text
