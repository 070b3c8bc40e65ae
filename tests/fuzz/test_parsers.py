"""Parts of a request other than JSON fields: cursors, times, headers, forms, images, the safe's envelopes.

Each is sent over a raw connection, since no client would send most of it. A response has one of the documented
statuses of its operation and a readable body; afterwards the server answers as before.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import quote_from_bytes, urlsplit

import httpx
import pytest
from hypothesis import strategies as st

from tests.fuzz._budget import fuzz
from tests.fuzz._population import Population
from tests.fuzz._texts import damaged, json_texts, packed
from tests.support.http import OPERATION
from tests.support.images import animation, encoded, interlaced_png, noise, plain, turned, with_gps

SECONDS = 10.0
REFUSED_BY_THE_SERVER_PROGRAM = {400, 413, 431}
MULTIPART = "multipart/form-data; boundary=frontier"
ENVELOPE = {
    "algorithm": "aes-256-gcm",
    "kdf": {"name": "argon2id", "salt": "c2FsdCBvZiAxNiBieXRlcw==", "memory_kib": 65536, "iterations": 3},
    "nonce": "bm9uY2Ugb2YgMTIu",
    "ciphertext": "dGhlIGFjY291bnQncyBzZWNyZXQsIGFzIGl0cyBvd25lcidzIGRldmljZXMgc2VhbGVkIGl0",
}


class Raw:
    """Requests of the owner, byte by byte."""

    def __init__(self, population: Population) -> None:
        address = urlsplit(population.url)
        self._address = (address.hostname or "", address.port or 0)
        answer = httpx.post(
            f"{population.url}/login", json={"login": str(population.user_ids[0]), "password": population.password}
        )
        self.token: str = answer.json()["tokens"]["access_token"]

    def ask(self, operation_id: str, path: str, *headers: bytes, body: bytes = b"") -> int:
        """Send a request, and check that the response is as documented; return its status."""
        operation = OPERATION[operation_id]
        lines = [f"{operation.method} {path} HTTP/1.1".encode(), b"Host: messenger.test", b"Connection: close"]
        if not any(header.lower().startswith(b"authorization:") for header in headers):
            lines.append(f"Authorization: Bearer {self.token}".encode())
        if operation.method != "GET":
            lines.append(b"Content-Length: %d" % len(body))
        with socket.create_connection(self._address, SECONDS) as connection:
            connection.sendall(b"\r\n".join([*lines, *headers, b"", body]))
            response = HTTPResponse(connection, method=operation.method)
            response.begin()
            content = response.read()
        documented = {int(status) for status in operation.definition["responses"]} - {500, 503}
        assert response.status in documented | REFUSED_BY_THE_SERVER_PROGRAM, (response.status, content)
        if (response.headers["content-type"] or "").endswith("json"):
            json.loads(content)
        return response.status


@pytest.fixture(scope="module")
def raw(population: Population) -> Iterator[Raw]:
    """The owner; valid requests are answered before and after."""
    raw = Raw(population)
    assert raw.ask("getProfile", "/profile") == 200
    yield raw
    assert raw.ask("getProfile", "/profile") == 200


# All characters that a header value may contain (RFC 9110, section 5.5), and the control characters that it may not.
values = st.binary(max_size=60).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))


def like(*examples: str) -> st.SearchStrategy[bytes]:
    """Values close to valid ones, and some that are not."""
    near = st.one_of(*(damaged(example.encode()) for example in examples))
    return (near | values).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))


class TestQuery:
    @pytest.mark.parametrize(
        ("operation_id", "path", "good"),
        [
            ("sync", "/sync?cursor=", "e42"),
            ("listConversations", "/conversations?cursor=", "MjAyNi0xMS0yMlQxMDoxNTozMC4xMjNaLDI2MDQwOTgz"),
            ("listContacts", "/contacts?cursor=", "26040983"),
            ("listDevices", "/devices?cursor=", "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"),
            ("getHistory", "/history/26040983?before=", "9007199254740991"),
            ("openSocket", "/ws?ticket=x&cursor=", "e42"),
            ("findUser", "/users?username=", "ada"),
            ("getAvatar", "/avatars/", "0" * 64 + "_thumb"),
            ("getMessage", "/messages/", "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"),
        ],
    )
    def test_fuzzed_cursors_and_names_are_answered(self, raw: Raw, operation_id: str, path: str, good: str) -> None:
        def ask(value: bytes) -> None:
            # An empty segment of a path, or one with a slash, is another path.
            if operation_id in {"getAvatar", "getMessage"} and (not value or b"/" in value or value in {b".", b".."}):
                return
            raw.ask(operation_id, path + quote_from_bytes(value, safe=""))

        fuzz(ask, damaged(good.encode()) | st.binary(max_size=40) | st.text(max_size=20).map(str.encode), examples=30)


class TestTimes:
    def test_fuzzed_muted_until_is_answered(self, raw: Raw, population: Population) -> None:
        number = st.integers(0, 99).map("{:02}".format)
        moment = st.tuples(st.integers(0, 9999).map("{:04}".format), *(number,) * 5).map(
            lambda parts: f"{parts[0]}-{parts[1]}-{parts[2]}T{':'.join(parts[3:])}"
        )
        real = st.datetimes().map(lambda at: at.isoformat())
        zone = st.sampled_from(
            ["Z", "z", "", "+00:00", "+23:59", "-23:59", "+24:00", "-00:00", "[Europe/Paris]", "+14"]
        )
        text = st.tuples(moment | real | st.text(max_size=30), zone).map("".join)

        def ask(value: str) -> None:
            body = json.dumps({"muted_until": value}).encode()
            path = f"/conversations/{population.user_ids[1]}"
            raw.ask("updateConversation", path, b"Content-Type: application/json", body=body)

        for edge in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.9999999Z"):
            ask(edge)
        fuzz(ask, text, examples=60)


class TestHeaders:
    @pytest.mark.parametrize(
        ("operation_id", "path", "name", "good"),
        [
            ("getAvatar", None, "Range", "bytes=0-99,100-,-5"),
            ("getAvatar", None, "If-None-Match", 'W/"5", "6", *'),
            ("getAvatar", None, "If-Range", '"5"'),
            ("getProfile", "/profile", "Accept", "application/msgpack;q=0.5, */*"),
            ("getProfile", "/profile", "Accept-Encoding", "gzip;q=1.0, identity"),
            ("getProfile", "/profile", "Authorization", "Bearer qrGKWuj5JzLr3hmLGnMrx8cbWxyUMxaEtCS5RZrpRv8"),
            ("getProfile", "/profile", "Cookie", "a=b; c=d"),
            ("getProfile", "/profile", "X-Forwarded-For", "10.0.0.1, [::1]:80, unknown"),
            ("openSocket", "/ws", "Origin", "https://[::1]:8443"),
            ("openSocket", "/ws", "Upgrade", "websocket"),
        ],
    )
    def test_fuzzed_headers_of_reads_are_answered(
        self, raw: Raw, population: Population, operation_id: str, path: str | None, name: str, good: str
    ) -> None:
        where = path or f"/avatars/{population.avatar_keys[0]}"
        fuzz(lambda value: raw.ask(operation_id, where, name.encode() + b": " + value), like(good), examples=25)

    @pytest.mark.parametrize(
        ("name", "good"),
        [
            ("If-Match", 'W/"5", "6", *'),
            ("If-None-Match", '*, "5"'),
            ("Idempotency-Key", "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Encoding", "gzip, br"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
        ],
    )
    @pytest.mark.parametrize(
        ("operation_id", "path", "body"),
        [("updateProfile", "/profile", {"status": "away"}), ("storeSecret", "/e2e/secret_key", ENVELOPE)],
    )
    def test_fuzzed_headers_of_writes_are_answered(
        self, raw: Raw, operation_id: str, path: str, body: dict[str, object], name: str, good: str
    ) -> None:
        payload = json.dumps(body).encode()
        content_type = [] if name == "Content-Type" else [b"Content-Type: application/json"]

        def ask(value: bytes) -> None:
            raw.ask(operation_id, path, *content_type, name.encode() + b": " + value, body=payload)

        fuzz(ask, like(good), examples=15)

    @pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[x]", "http://[v1.a]/", "null", "\u2100"])
    def test_invalid_origin_is_refused(self, raw: Raw, origin: str) -> None:
        handshake = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        assert raw.ask("openSocket", "/ws", *handshake, key, b"Origin: " + origin.encode()) == 403


def form(file: bytes, *, name: str = "file", filename: str = "me.png") -> bytes:
    """A form with one file, with the boundary of `MULTIPART`."""
    head = f'--frontier\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + file + b"\r\n--frontier--\r\n"


class TestForms:
    def test_fuzzed_forms_are_answered(self, raw: Raw) -> None:
        header = like(MULTIPART, 'multipart/form-data; boundary="fron\\"tier"; charset=utf-16')
        good = form(encoded(plain()))
        good_header = st.just(MULTIPART.encode())
        strategy = st.tuples(
            good_header | good_header | header, damaged(good) | st.binary(max_size=300) | st.just(good)
        )

        def ask(pair: tuple[bytes, bytes]) -> None:
            raw.ask("uploadAvatar", "/avatar/upload", b"Content-Type: " + pair[0], body=pair[1])

        fuzz(ask, strategy, examples=80)

    @pytest.mark.parametrize(
        "whole",
        [
            pytest.param(encoded(noise((48, 48)), "JPEG"), id="jpeg"),
            pytest.param(with_gps(), id="jpeg with EXIF"),
            pytest.param(encoded(noise((48, 48))), id="png"),
            pytest.param(interlaced_png(), id="interlaced png"),
            pytest.param(turned(6), id="png with EXIF"),
            pytest.param(encoded(noise((48, 48)), "WEBP"), id="webp"),
            pytest.param(animation("WEBP", 3), id="animated webp"),
            pytest.param(animation("GIF", 3), id="gif"),
        ],
    )
    def test_fuzzed_images_are_answered(self, raw: Raw, whole: bytes) -> None:
        def ask(file: bytes) -> None:
            raw.ask("uploadAvatar", "/avatar/upload", f"Content-Type: {MULTIPART}".encode(), body=form(file))

        fuzz(ask, damaged(whole, cuts=2), examples=20)


class TestEnvelopes:
    def test_fuzzed_json_envelopes_are_answered(self, raw: Raw) -> None:
        values = [json.dumps(value) for value in (*ENVELOPE.values(), "none", "bm9uY2Ugb2YgMTIu", 2**32)]
        strategy = json_texts(names=[*ENVELOPE, "name", "salt", "mac", "key_id", "bits"], valid=values)
        nearly = st.tuples(st.sampled_from([*ENVELOPE, "mac", "key_id", "d"]), strategy).map(
            lambda pair: json.dumps(ENVELOPE)[:-1] + f', "{pair[0]}": {pair[1]}}}'
        )

        def ask(text: str) -> None:
            body = text.encode("utf-8", "surrogatepass")
            raw.ask("storeSecret", "/e2e/secret_key", b"Content-Type: application/json", body=body)

        fuzz(ask, strategy | nearly, examples=120)

    def test_fuzzed_msgpack_envelopes_are_answered(self, raw: Raw) -> None:
        def ask(body: bytes) -> None:
            raw.ask("storeSecret", "/e2e/secret_key", b"Content-Type: application/msgpack", body=body)

        fuzz(ask, packed(ENVELOPE), examples=120)
