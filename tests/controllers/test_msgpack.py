"""MessagePack in requests and responses."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from messenger.testing import Factory, Person
from tests.controllers._shapes import CONVERSATION, EVENT, MESSAGE, PROFILE, SYNC, TICKET
from tests.controllers.test_accounts import registration
from tests.support.http import MSGPACK, WITH_JSON, Operation, assert_problem, decoded


async def post(client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    """Send MessagePack, and request it as the response."""
    packed = body if isinstance(body, bytes) else msgspec.msgpack.encode(body)
    return await client.post(path, headers={**headers, "Content-Type": MSGPACK, "Accept": MSGPACK}, content=packed)


class TestMessagePackBodies:
    async def test_register_accepts_and_returns_msgpack(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, "/register", registration(), {})
        assert (answer.status_code, answer.headers["content-type"]) == (201, MSGPACK)
        assert set(decoded(answer)) == {"user", "device", "tokens"}

    async def test_message_is_sent_and_returned_as_msgpack(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        answer = await post(client, "/messages", {"target_id": bob.id, "client_id": "1", "body": "é"}, ada.headers)
        assert (answer.status_code, set(decoded(answer)), decoded(answer)["body"]) == (201, MESSAGE, "é")

    async def test_message_is_the_same_in_json(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        body = {"target_id": bob.id, "client_id": "1", "body": "é"}
        packed = await post(client, "/messages", body, ada.headers)
        plain = await client.post("/messages", headers=ada.headers, json=body)
        assert (plain.status_code, plain.json()) == (200, decoded(packed))

    @pytest.mark.parametrize(
        "path",
        [
            "/profile",
            "/contacts",
            "/statuses",
            "/devices",
            "/conversations",
            "/ice_servers",
            "/sync",
            "/sync?cursor=e0",
        ],
    )
    async def test_reads_are_the_same_in_json(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, path: str
    ) -> None:
        packed = await client.get(path, headers={**ada.headers, "Accept": MSGPACK})
        plain = await client.get(path, headers=ada.headers)
        assert (packed.headers["content-type"], decoded(packed)) == (MSGPACK, plain.json())

    @pytest.mark.parametrize("accept", ["text/html, application/msgpack;q=0.9", "application/msgpack, */*"])
    async def test_accept_may_be_a_list(self, client: httpx.AsyncClient, ada: Person, accept: str) -> None:
        answer = await client.get("/profile", headers={**ada.headers, "Accept": accept})
        assert set(decoded(answer)) == PROFILE
        assert answer.headers["content-type"] == MSGPACK

    @pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
    async def test_other_accept_headers_get_json(self, client: httpx.AsyncClient, ada: Person, accept: str) -> None:
        answer = await client.get("/profile", headers={**ada.headers, "Accept": accept})
        assert answer.headers["content-type"] == "application/json"

    async def test_events_have_the_keys_of_the_contract(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        await make.message(bob, ada, "Ж ☂")
        page = decoded(await client.get("/sync?cursor=e0", headers={**ada.headers, "Accept": MSGPACK}))
        assert set(page) == SYNC
        assert [set(event) for event in page["events"]] == [EVENT] * len(page["events"])
        assert (set(page["events"][-1]["data"]), page["events"][-1]["data"]["body"]) == (MESSAGE, "Ж ☂")

    async def test_ticket_may_be_packed(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.post("/ws/ticket", headers={**ada.headers, "Accept": MSGPACK})
        assert (answer.status_code, set(decoded(answer)), decoded(answer)["expires_in"]) == (201, TICKET, 30)

    async def test_put_accepts_msgpack(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.put(
            f"/conversations/{bob.id}",
            headers={**ada.headers, "Content-Type": MSGPACK},
            content=msgspec.msgpack.encode({"pinned": True}),
        )
        assert (answer.status_code, set(answer.json())) == (200, CONVERSATION)


class TestMessagePackRefusals:
    async def test_problem_is_json_despite_msgpack(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/profile", headers={"Accept": MSGPACK})
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "operation", [each for each in WITH_JSON if each.id != "storeSecret"], ids=lambda each: each.id
    )
    async def test_unknown_field_is_named(self, client: httpx.AsyncClient, ada: Person, operation: Operation) -> None:
        headers = {**ada.headers, "Content-Type": MSGPACK}
        body = msgspec.msgpack.encode({"shoe_size": 43})
        answer = await client.request(operation.method, operation.url(), headers=headers, content=body)
        assert_problem(answer, 400, "unknown_field", field="shoe_size")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            pytest.param(b"", "malformed_body", id="empty"),
            pytest.param(b"\xc1", "malformed_body", id="never used byte"),
            pytest.param(b"\xdf\xff\xff\xff\xff", "malformed_body", id="map of four billion"),
            pytest.param(b"\xdd\xff\xff\xff\xff", "validation_failed", id="array of four billion"),
            pytest.param(b"\xdb\xff\xff\xff\xff", "malformed_body", id="text of four billion"),
            pytest.param(b"\x91" * 10_000, "validation_failed", id="deep"),
            pytest.param(b"\x81\xa1x" + b"\x91" * 10_000 + b"\xc0", "malformed_body", id="deep inside"),
            pytest.param(b"\x80\x80", "malformed_body", id="two bodies"),
            pytest.param(b"\x81\xa7message\xa3\xed\xa0\x80", "malformed_body", id="surrogate"),
            pytest.param(b"\x81\xa7message\xa2\xff\xfe", "malformed_body", id="no UTF-8"),
            pytest.param(b"\x81\xa7message\xa1\x00", "validation_failed", id="NUL"),
            pytest.param(b"\x81\xa9target_id\xcf" + b"\xff" * 8, "validation_failed", id="64 bits"),
            pytest.param(b"\x81\xa9target_id\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "validation_failed", id="NaN"),
            pytest.param(b"\x81\xa9target_id\xc7\x01\x05\x00", "validation_failed", id="extension"),
            pytest.param(b"\x81\xc0\xc0", "validation_failed", id="null as a key"),
            pytest.param(b"\x81\xc4\x01x\xc0", "validation_failed", id="bytes as a key"),
        ],
    )
    async def test_invalid_msgpack_is_400(self, client: httpx.AsyncClient, ada: Person, body: bytes, code: str) -> None:
        answer = await post(client, "/subscribe", body, ada.headers)
        assert answer.status_code == 400
        assert answer.json()["code"] in {code, "validation_failed", "unknown_field"}


async def test_empty_response_has_no_content(client: httpx.AsyncClient, make: Factory) -> None:
    ada = await make.person()
    headers = {**ada.headers, "Accept": "application/msgpack"}
    answer = await client.post("/logout", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
