"""The safe over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import msgspec
import pytest

from messenger.testing import Person
from tests.controllers._shapes import ENVELOPE, SECRET, is_time
from tests.support.http import DOCUMENT, MSGPACK, OPERATION, assert_problem
from tests.support.openapi_schema import sample

PATH = "/e2e/secret_key"
OTHER = {**ENVELOPE, "ciphertext": base64.b64encode(b"another secret, sealed by its owner").decode()}
BARE_KEY = base64.b64encode(bytes(range(7, 39))).decode()
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIK\n-----END PRIVATE KEY-----"


async def store(client: httpx.AsyncClient, person: Person, envelope: Any = ENVELOPE, **headers: str) -> httpx.Response:
    """Store an envelope; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(PATH, headers={**person.headers, **named}, json=envelope)


class TestStoreEnvelope:
    async def test_store_is_201_with_first_version(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await store(client, ada)
        assert (answer.status_code, set(answer.json()), answer.json()["version"]) == (201, SECRET, 1)
        assert is_time(answer.json()["created_at"])

    async def test_omitted_envelope_fields_are_null(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await store(client, ada)
        assert (answer.json()["mac"], answer.json()["key_id"]) == (None, None)

    async def test_second_store_is_next_version(self, client: httpx.AsyncClient, ada: Person) -> None:
        answers = [await store(client, ada), await store(client, ada, OTHER)]
        assert [answer.json()["version"] for answer in answers] == [1, 2]

    async def test_get_returns_newest_envelope_unchanged(self, client: httpx.AsyncClient, ada: Person) -> None:
        await store(client, ada)
        await store(client, ada, OTHER)
        answer = await client.get(PATH, headers=ada.headers)
        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in OTHER} == OTHER

    async def test_get_of_missing_safe_is_404(self, client: httpx.AsyncClient, ada: Person) -> None:
        assert_problem(await client.get(PATH, headers=ada.headers), 404, "secret_not_found")

    async def test_safe_is_visible_only_to_owner(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        await store(client, ada)
        assert_problem(await client.get(PATH, headers=bob.headers), 404, "secret_not_found")

    async def test_documented_example_is_accepted(self, client: httpx.AsyncClient, ada: Person) -> None:
        schema = OPERATION["storeSecret"].body_schema
        assert schema is not None
        assert (await store(client, ada, sample(DOCUMENT, schema))).status_code == 201


class TestStorePreconditions:
    async def test_etag_is_version_of_safe(self, client: httpx.AsyncClient, ada: Person) -> None:
        written = await store(client, ada)
        read = await client.get(PATH, headers=ada.headers)
        assert written.headers["etag"] == read.headers["etag"]
        assert not read.headers["etag"].startswith("W/")

    @pytest.mark.parametrize("form", ['"1"', "*", ' "1"', '"7", "1"', '"1","7"', 'W/"7", "1"'])
    async def test_current_safe_version_is_accepted(self, client: httpx.AsyncClient, ada: Person, form: str) -> None:
        await store(client, ada)
        assert (await store(client, ada, OTHER, If_Match=form)).json()["version"] == 2

    @pytest.mark.parametrize("form", ['"7"', 'W/"1"', "1", "garbage", "", '"', '"' + "9" * 10_000 + '"'])
    async def test_mismatched_if_match_is_412_and_does_not_store(
        self, client: httpx.AsyncClient, ada: Person, form: str
    ) -> None:
        await store(client, ada)
        assert_problem(await store(client, ada, OTHER, If_Match=form), 412, "version_conflict")
        assert (await client.get(PATH, headers=ada.headers)).json()["version"] == 1

    async def test_star_in_if_match_requires_existing_version(self, client: httpx.AsyncClient, ada: Person) -> None:
        assert_problem(await store(client, ada, If_Match="*"), 412, "version_conflict")

    async def test_unmatched_star_allows_only_first_version(self, client: httpx.AsyncClient, ada: Person) -> None:
        answers = [await store(client, ada, each, If_None_Match="*") for each in (ENVELOPE, OTHER)]
        assert [answer.status_code for answer in answers] == [201, 412]


class TestRefusedEnvelopes:
    @pytest.mark.parametrize(
        "envelope",
        [
            pytest.param([], id="array"),
            pytest.param("text", id="text"),
            pytest.param({}, id="empty"),
            pytest.param({**ENVELOPE, "plaintext": "x"}, id="unknown field"),
            pytest.param({**ENVELOPE, "kdf": {**ENVELOPE["kdf"], "x": 1}}, id="unknown nested field"),  # type: ignore[dict-item]
            pytest.param({**ENVELOPE, "ciphertext": BARE_KEY}, id="bare key"),
            pytest.param({**ENVELOPE, "ciphertext": PEM}, id="PEM"),
            pytest.param({**ENVELOPE, "algorithm": "none"}, id="no cipher"),
            pytest.param({**ENVELOPE, "algorithm": 1}, id="wrong type"),
            pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": BARE_KEY}, id="JWK"),
        ],
    )
    async def test_invalid_envelope_is_422_and_not_repeated(
        self, client: httpx.AsyncClient, ada: Person, envelope: Any
    ) -> None:
        answer = await store(client, ada, envelope)
        assert_problem(answer, 422, "not_encrypted")
        assert BARE_KEY not in answer.text
        assert (await client.get(PATH, headers=ada.headers)).status_code == 404

    @pytest.mark.parametrize("body", [PEM.encode(), bytes(range(7, 39)), BARE_KEY.encode(), b"null"])
    async def test_key_in_place_of_a_body_is_422(self, client: httpx.AsyncClient, ada: Person, body: bytes) -> None:
        headers = {**ada.headers, "Content-Type": "application/json"}
        assert_problem(await client.post(PATH, headers=headers, content=body), 422, "not_encrypted")

    async def test_envelope_over_64_kib_is_413(self, client: httpx.AsyncClient, ada: Person) -> None:
        envelope = {**ENVELOPE, "ciphertext": "A" * 65536}
        assert_problem(await store(client, ada, envelope), 413, "secret_too_large")


class TestMessagePackEnvelopes:
    async def test_msgpack_envelope_is_stored_and_returned(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Type": MSGPACK, "Accept": MSGPACK}
        answer = await client.post(PATH, headers=headers, content=msgspec.msgpack.encode(ENVELOPE))
        assert (answer.status_code, answer.headers["content-type"]) == (201, MSGPACK)
        assert set(msgspec.msgpack.decode(answer.content)) == SECRET

    async def test_bare_binary_key_is_422(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Content-Type": MSGPACK}
        body = msgspec.msgpack.encode({**ENVELOPE, "ciphertext": bytes(range(32))})
        assert_problem(await client.post(PATH, headers=headers, content=body), 422, "not_encrypted")
