"""Encodings of responses; content codings and byte order marks of request bodies."""

from __future__ import annotations

import gzip

import httpx
import msgspec
import pytest

from messenger.testing import Person
from messenger.web.negotiation import prefers_msgpack
from tests.controllers._shapes import ENVELOPE
from tests.controllers.test_bad_bodies import good_body, send
from tests.support.http import MSGPACK, WITH_JSON, Operation, assert_problem
from tests.support.images import encoded, plain

BOM = b"\xef\xbb\xbf"

with_json = pytest.mark.parametrize("operation", WITH_JSON, ids=lambda operation: operation.id)


class TestAccept:
    @pytest.mark.parametrize(
        "accept",
        [
            "application/msgpack",
            "Application/MsgPack",
            "application/msgpack, application/json",
            "application/msgpack;q=0.5",
            "application/json;q=0.5, application/msgpack",
            "application/json; q=0.2 , application/msgpack ; q=0.3",
            "application/msgpack, */*",
            "application/json;q=0, */*",
            "application/json;q=0, application/*;q=0.1",
            "text/html, application/msgpack;q=.2, *;q=.2",
            'text/plain;x=",application/json", application/msgpack;q=0.001',
            "application/msgpack;version=1;q=0.9, application/json;q=0.8",
        ],
    )
    async def test_header_selects_msgpack(self, client: httpx.AsyncClient, ada: Person, accept: str) -> None:
        answer = await client.get("/profile", headers={**ada.headers, "Accept": accept})
        assert answer.headers["content-type"] == MSGPACK

    @pytest.mark.parametrize(
        "accept",
        [
            "application/json, application/msgpack;q=0",
            "application/msgpack;q=0.0, */*",
            "application/msgpack;q=0.5, application/json",
            "application/msgpack;q=0.5, */*",
            "application/msgpack;q=0",
            "text/html, application/msgpackfoo",
            "x-application/msgpack",
            "application/x-msgpack",
            'text/plain;x="application/msgpack", application/json',
            'text/plain;x=",application/msgpack',
            "application/msgpack;q=much",
            "application/*",
            "*/*",
            "text/html",
            ",;,=;q",
        ],
    )
    async def test_header_selects_json(self, client: httpx.AsyncClient, ada: Person, accept: str) -> None:
        answer = await client.get("/profile", headers={**ada.headers, "Accept": accept})
        assert answer.headers["content-type"] == "application/json"

    async def test_header_may_come_in_lines(self, client: httpx.AsyncClient, ada: Person) -> None:
        for path in ("/profile", "/devices"):
            lines = [*ada.headers.items(), ("Accept", "application/json;q=0.1"), ("Accept", MSGPACK)]
            assert (await client.get(path, headers=lines)).headers["content-type"] == MSGPACK
            lines[-1] = ("Accept", "application/msgpack;q=0")
            assert (await client.get(path, headers=lines)).headers["content-type"] == "application/json"

    def test_long_header_is_not_kept(self) -> None:
        # Parsing takes a single pass, however many strings are left open.
        assert prefers_msgpack(b'application/msgpack, x="' + b'\\"' * 30_000)
        assert prefers_msgpack(b"application/msgpack" + b", text/html" * 3_000)


class TestContentCoding:
    @with_json
    @pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
    async def test_coded_body_is_415(
        self, client: httpx.AsyncClient, ada: Person, operation: Operation, coding: str
    ) -> None:
        headers = {**ada.headers, "Content-Type": "application/json", "Content-Encoding": coding}
        content = gzip.compress(msgspec.json.encode(good_body(operation)))
        answer = await client.request(operation.method, operation.url(), headers=headers, content=content)
        assert_problem(answer, 415, "unsupported_media_type")
        assert answer.headers["accept-encoding"] == "identity"

    async def test_coded_form_is_415(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Encoding": "gzip"}
        answer = await client.post("/avatar/upload", headers=headers, files={"file": encoded(plain())})
        assert_problem(answer, 415, "unsupported_media_type")
        assert answer.headers["accept-encoding"] == "identity"

    async def test_gzip_in_second_header_line_is_415(self, client: httpx.AsyncClient, ada: Person) -> None:
        lines = [*ada.headers.items(), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
        assert_problem(await client.put("/profile", headers=lines, json={}), 415, "unsupported_media_type")

    async def test_token_is_checked_before_content_coding(self, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": "Bearer mat_forged", "Content-Encoding": "gzip"}
        assert_problem(await client.put("/profile", headers=headers, content=b"x"), 401, "unauthenticated")

    @pytest.mark.parametrize("coding", ["identity", "Identity", ""])
    async def test_identity_is_accepted(self, client: httpx.AsyncClient, ada: Person, bob: Person, coding: str) -> None:
        headers = {**ada.headers, "Content-Encoding": coding}
        draft = {"target_id": bob.id, "client_id": coding or "none", "body": "Hello"}
        assert (await client.put("/profile", headers=headers, json={"about": "x"})).status_code == 200
        assert (await client.post("/messages", headers=headers, json=draft)).status_code == 201

    async def test_request_without_body_is_answered(self, client: httpx.AsyncClient, ada: Person) -> None:
        for path in ("/profile", "/devices"):
            answer = await client.get(path, headers={**ada.headers, "Content-Encoding": "gzip"})
            assert answer.status_code == 200


class TestByteOrderMark:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PUT", "/profile", {"about": "marked"}),
            ("POST", "/messages", {"target_id": 0, "client_id": "bom", "body": "marked"}),
            ("POST", "/e2e/secret_key", ENVELOPE),
        ],
    )
    async def test_mark_before_json_is_ignored(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, method: str, path: str, body: dict[str, object]
    ) -> None:
        draft = {**body, "target_id": bob.id} if "target_id" in body else body
        headers = {**ada.headers, "Content-Type": "application/json"}
        answer = await client.request(method, path, headers=headers, content=BOM + msgspec.json.encode(draft))
        assert answer.is_success

    async def test_two_byte_order_marks_are_refused(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Type": "application/json"}
        answer = await client.put("/profile", headers=headers, content=BOM + BOM + b"{}")
        assert_problem(answer, 400, "malformed_body")

    async def test_mark_before_msgpack_is_refused(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Type": MSGPACK}
        answer = await client.put("/profile", headers=headers, content=BOM + msgspec.msgpack.encode({"about": "x"}))
        assert answer.status_code == 400

    async def test_mark_alone_is_an_empty_body(self, client: httpx.AsyncClient, ada: Person) -> None:
        operation = next(each for each in WITH_JSON if each.id == "updateProfile")
        assert_problem(await send(client, operation, ada, BOM), 400, "malformed_body")
