"""The response to an invalid body lists all of its invalid fields."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from messenger.errors import ValidationFailed
from messenger.testing import Person
from messenger.web.request import WireBody, decode
from messenger.web.socket_methods import METHODS
from tests.support.http import MSGPACK, assert_problem


def _faults(answer: httpx.Response) -> dict[str, str]:
    return {fault["field"]: fault["code"] for fault in answer.json()["errors"]}


BODY = {"username": "!!", "password": 5, "device_name": [], "shoe_size": 43}
FAULTS = {
    "username": "invalid_characters",
    "password": "wrong_type",
    "device_name": "wrong_type",
    "shoe_size": "unknown_field",
    "name": "required",
}


class TestFieldErrors:
    async def test_every_invalid_field_is_named(self, client: httpx.AsyncClient) -> None:
        assert _faults(await client.post("/register", json=BODY)) == FAULTS

    async def test_every_invalid_field_is_named_in_msgpack(self, client: httpx.AsyncClient) -> None:
        content = msgspec.msgpack.encode(BODY)
        answer = await client.post("/register", headers={"Content-Type": MSGPACK}, content=content)
        assert _faults(answer) == FAULTS

    async def test_first_error_decides_code_and_detail(self, client: httpx.AsyncClient) -> None:
        one = await client.post("/register", content=b'{"password": 1, "shoe_size": 43}')
        assert_problem(one, 400, "validation_failed", field="password")
        assert one.json()["detail"].startswith("password: ")
        other = await client.post("/register", content=b'{"shoe_size": 43, "password": 1}')
        assert_problem(other, 400, "unknown_field", field="shoe_size")

    async def test_fields_of_an_object_are_named(self, client: httpx.AsyncClient, ada: Person) -> None:
        body = {"about": 1, "privacy": {"avatar": "friends", "last_seen": 5, "shoes": 1}, "status": "asleep"}
        assert _faults(await client.put("/profile", headers=ada.headers, json=body)) == {
            "about": "wrong_type",
            "privacy.avatar": "invalid_choice",
            "privacy.last_seen": "wrong_type",
            "privacy.shoes": "unknown_field",
            "status": "invalid_choice",
        }

    async def test_positions_in_a_list_are_reported(self, client: httpx.AsyncClient, ada: Person) -> None:
        body = {"target_id": "x", "client_id": "a b", "body": 1, "mentions": [1, -1]}
        assert _faults(await client.post("/messages", headers=ada.headers, json=body)) == {
            "target_id": "wrong_type",
            "client_id": "invalid_characters",
            "body": "wrong_type",
            "mentions[1]": "too_small",
        }

    async def test_invalid_time_is_reported(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        body = {"muted_until": "tomorrow", "pinned": 1, "expire_after": 0}
        assert _faults(await client.put(f"/conversations/{bob.id}", headers=ada.headers, json=body)) == {
            "muted_until": "invalid",
            "pinned": "wrong_type",
            "expire_after": "too_small",
        }

    async def test_errors_are_limited_to_twenty(self, client: httpx.AsyncClient) -> None:
        body = {f"field_{number}": 1 for number in range(100)}
        assert len(_faults(await client.post("/register", json=body))) == 20

    async def test_long_body_reports_single_error(self, client: httpx.AsyncClient, ada: Person) -> None:
        body = {"a": "x" * 70_000, "b": 1}
        assert _faults(await client.put("/profile", headers=ada.headers, json=body)) == {"a": "unknown_field"}

    async def test_long_field_name_is_truncated(self, client: httpx.AsyncClient) -> None:
        body = {"x" * 1000: 1, "y" * 1000: 1}
        fields = _faults(await client.post("/register", json=body))
        assert max(len(field) for field in fields) == 200

    @pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"x"'])
    async def test_body_other_than_object_is_single_error(self, client: httpx.AsyncClient, content: bytes) -> None:
        assert _faults(await client.post("/register", content=content)) == {"": "wrong_type"}


class TestDecoderCoverage:
    """Each decoder can be examined field by field."""

    @pytest.mark.parametrize("name", METHODS)
    def test_socket_decoders_are_examined_field_by_field(self, name: str) -> None:
        self._examine(METHODS[name].json, METHODS[name].msgpack)

    @pytest.mark.usefixtures("app")
    def test_handler_decoders_are_examined_field_by_field(self) -> None:
        for handler_id, (json, msgpack) in WireBody.decoders.items():
            if not handler_id.endswith("SafeController.store"):
                self._examine(json, msgpack)

    @staticmethod
    def _examine(json: Any, msgpack: Any) -> None:
        for media_type, encode in (("", msgspec.json.encode), (MSGPACK, msgspec.msgpack.encode)):
            with pytest.raises(ValidationFailed) as refused:
                decode(encode({"first": 1, "second": 1}), media_type, json, msgpack)
            assert {"first", "second"} <= {fault.field for fault in refused.value.errors}
