"""Names, aliases, device names, profile texts and message bodies: allowed characters and length."""

from __future__ import annotations

import unicodedata
from typing import Any

import httpx
import pytest

from messenger.testing import Person
from messenger.testing.factories import PASSWORD
from tests.controllers.test_accounts import registration
from tests.support.http import assert_problem


def _flag(code: str) -> str:
    return "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in code) + "\U000e007f"


SCOTLAND = _flag("gbsct")
HANGUL = "한글이름" * 8

VISIBLE = [
    *(pytest.param(f"Ada {_flag(code)}", id=code) for code in ("gbeng", "gbsct", "gbwls", "ustx", "usca")),
    pytest.param(SCOTLAND, id="a flag alone"),
    pytest.param("Ada \U0001f468\u200d\U0001f469\u200d\U0001f467", id="a family"),
    pytest.param("Ada \U0001f3f4\u200d\u2620\ufe0f", id="a pirate flag"),
    pytest.param("Ada \U0001f3f3\ufe0f\u200d\U0001f308", id="a rainbow flag"),
    pytest.param("Ada 1\ufe0f\u20e3", id="a keycap"),
    pytest.param("Ada \u2764\ufe0f", id="a variation selector"),
    pytest.param("Ada \U0001f1e9\U0001f1ea", id="a flag of a country"),
    pytest.param("Ada \U0001f44d\U0001f3fd", id="a skin tone"),
    pytest.param("Ada \U0001f3f4", id="a black flag"),
    pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian with a non-joiner"),
    pytest.param("\u0601\u0661\u0662", id="an Arabic number sign"),
]
CONTROLS = [
    pytest.param("Ada \U000e0067\U000e0062", id="tags without a flag"),
    pytest.param("Ada \U0001f3f4\U000e0067\U000e0062\U000e0065", id="tags without an end"),
    pytest.param("Ada \U0001f3f4\U000e007f", id="an end without tags"),
    pytest.param("Ada \U0001f3f4" + "\U000e0061" * 8 + "\U000e007f", id="a code that is too long"),
    pytest.param("Ada \U0001f600\U000e0067\U000e0062\U000e0065\U000e007f", id="tags behind a face"),
    pytest.param("Ada " + SCOTLAND + "\U000e0067", id="a tag behind a flag"),
    pytest.param("Ada \U000e0001", id="a language tag"),
    pytest.param("Ada \u202eadA", id="an override"),
    pytest.param("Ada \u2066", id="an isolate"),
    pytest.param("Ada\u200b", id="a zero-width space"),
    pytest.param("A\nda", id="a line feed"),
    pytest.param("A\u2028da", id="a line separator"),
]


async def _rename(client: httpx.AsyncClient, ada: Person, name: str) -> httpx.Response:
    return await client.put("/profile", headers=ada.headers, json={"name": name})


class TestNameTexts:
    @pytest.mark.parametrize("name", VISIBLE)
    async def test_emoji_sequence_is_kept(self, client: httpx.AsyncClient, ada: Person, bob: Person, name: str) -> None:
        renamed = await _rename(client, ada, name)
        aliased = await client.put(f"/contacts/{bob.id}", headers=ada.headers, json={"alias": name})
        registered = await client.post("/register", json={**registration(), "name": name})
        assert (renamed.json()["name"], aliased.json()["alias"], registered.json()["user"]["name"]) == (name,) * 3

    @pytest.mark.parametrize("name", CONTROLS)
    async def test_control_character_is_refused(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, name: str
    ) -> None:
        renamed = await _rename(client, ada, name)
        aliased = await client.put(f"/contacts/{bob.id}", headers=ada.headers, json={"alias": name})
        assert_problem(renamed, 400, "validation_failed", field="name")
        assert_problem(aliased, 400, "validation_failed", field="alias")
        assert {answer.json()["errors"][0]["code"] for answer in (renamed, aliased)} == {"invalid_characters"}

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    @pytest.mark.parametrize(
        ("name", "status"),
        [
            (HANGUL, 200),
            ("한" * 64, 200),
            ("한" * 65, 400),
            ("\u1f82" * 64, 200),
            (f"  {'x' * 64}\n", 200),
            ("x" * 65, 400),
        ],
    )
    async def test_name_length_is_counted_in_nfc(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, name: str, status: int, form: Any
    ) -> None:
        sent = unicodedata.normalize(form, name)
        renamed = await _rename(client, ada, sent)
        aliased = await client.put(f"/contacts/{bob.id}", headers=ada.headers, json={"alias": sent})
        assert (renamed.status_code, aliased.status_code) == (status, status)
        if status == 200:
            assert (renamed.json()["name"], aliased.json()["alias"]) == (name.strip(), name.strip())
        else:
            assert renamed.json()["errors"][0]["code"] == aliased.json()["errors"][0]["code"] == "too_long"

    async def test_name_of_endless_marks_is_too_long(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await _rename(client, ada, "a" + "\u0301\u0316" * 200_000)
        assert_problem(answer, 400, "validation_failed", field="name")


class TestDeviceNames:
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            pytest.param("Ada's phone " + SCOTLAND, "Ada's phone " + SCOTLAND, id="a flag"),
            pytest.param("\u200fiPhone \u200fالخاص بـ خالد", "iPhone الخاص بـ خالد", id="right-to-left marks"),
            pytest.param("Pixel\u200b7", "Pixel7", id="a zero-width space"),
            pytest.param("Ada's\tphone\r\n 2", "Ada's phone 2", id="a tab and a line end"),
            pytest.param("a\x00b\x1bc\x85d\u202ee", "abc de", id="controls and an override"),
            pytest.param("x" * 65, "x" * 64, id="65 letters"),
            pytest.param("x" * 63 + " phone", "x" * 63, id="cut behind a blank"),
            pytest.param("한" * 65, "한" * 64, id="65 syllables"),
            pytest.param(unicodedata.normalize("NFD", HANGUL), HANGUL, id="decomposed"),
            pytest.param("x" * 60 + SCOTLAND + "y", "x" * 60, id="cut within a flag"),
            pytest.param("x" * 62 + "\U0001f468\u200d\U0001f469", "x" * 62 + "\U0001f468", id="cut within a family"),
            pytest.param("x\U000e0067\U000e0062", "x", id="tags without a flag"),
            pytest.param("x" * 50_000, "x" * 64, id="very long"),
            pytest.param("a" + "\u0301\u0316" * 5_000, None, id="marks without end"),
            pytest.param("", "Unnamed device", id="nothing"),
            pytest.param(" \u200b\u3164\t", "Unnamed device", id="nothing to see"),
            pytest.param("\u0301", "Unnamed device", id="a mark alone"),
        ],
    )
    async def test_device_name_never_prevents_sign_in(
        self, client: httpx.AsyncClient, ada: Person, given: str, shown: str | None
    ) -> None:
        login = {"login": ada.username, "password": PASSWORD, "device_name": given}
        for answer in (
            await client.post("/login", json=login),
            await client.post("/register", json={**registration(), "device_name": given}),
        ):
            assert answer.status_code == (200 if "/login" in str(answer.url) else 201)
            name = answer.json()["device"]["name"]
            assert 1 <= len(name) <= 64
            assert shown is None or name == shown


class TestProfileTexts:
    @pytest.mark.parametrize(("field", "limit"), [("about", 500), ("status_text", 140), ("message", 500)])
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    async def test_profile_text_length_is_counted_in_nfc(
        self, client: httpx.AsyncClient, ada: Person, field: str, limit: int, form: Any
    ) -> None:
        for length, is_good in ((limit, True), (limit + 1, False)):
            answer = await self._write(client, ada, field, unicodedata.normalize(form, "한" * length))
            assert answer.is_success == is_good
            if not is_good:
                assert_problem(answer, 400, "validation_failed", field=field)
            elif field != "message":
                assert answer.json()[field] == "한" * length

    @pytest.mark.parametrize("field", ["about", "status_text", "message"])
    @pytest.mark.parametrize("override", ["\u202d", "\u202e"])
    async def test_bidi_override_is_refused(
        self, client: httpx.AsyncClient, ada: Person, field: str, override: str
    ) -> None:
        answer = await self._write(client, ada, field, f"Pay {override}ada")
        assert_problem(answer, 400, "validation_failed", field=field)
        assert answer.json()["errors"][0]["code"] == "invalid_characters"

    @pytest.mark.parametrize("field", ["about", "status_text", "message"])
    async def test_marks_and_isolates_are_kept(self, client: httpx.AsyncClient, ada: Person, field: str) -> None:
        answer = await self._write(client, ada, field, "\u200f\u2068שלום\u2069\n" + SCOTLAND)
        assert answer.is_success

    @staticmethod
    async def _write(client: httpx.AsyncClient, ada: Person, field: str, text: str) -> httpx.Response:
        if field != "message":
            return await client.put("/profile", headers=ada.headers, json={field: text})
        other = (await client.post("/register", json=registration())).json()["user"]
        body = {"target_id": other["id"], "message": text}
        return await client.post("/subscribe", headers=ada.headers, json=body)


class TestMessageBodies:
    @pytest.mark.parametrize(
        "body",
        [
            " ",
            "\n\t \u3000",
            "\u200b",
            "\u2800",
            "\u200d\u200c\ufeff",
            "\u3164\u115f\u1160\uffa0",
            "\ufe0f",
            "\U000e0067\U000e007f",
            "\u202e\u2066\u2069",
            "\x1b\x07\x85",
            "\xad\u034f\u180e",
            " " * 60_000,
        ],
    )
    async def test_invisible_body_is_refused(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, body: str
    ) -> None:
        draft = {"target_id": bob.id, "client_id": "blank", "body": body}
        sent = await client.post("/messages", headers=ada.headers, json=draft)
        good = await client.post("/messages", headers=ada.headers, json={**draft, "body": "Hello"})
        path = f"/messages/{good.json()['id']}"
        edited = await client.patch(path, headers=ada.headers, json={"body": body})
        for answer in (sent, edited):
            assert_problem(answer, 400, "validation_failed", field="body")
            assert answer.json()["errors"][0]["code"] == "blank"
        assert (await client.get(path, headers=ada.headers)).json()["body"] == "Hello"

    @pytest.mark.parametrize("body", [".", " x ", "\u200bx", "👍🏽", SCOTLAND, "\u0301", "\ue000", " " * 60_000 + "x"])
    async def test_visible_body_is_sent(self, client: httpx.AsyncClient, ada: Person, bob: Person, body: str) -> None:
        draft = {"target_id": bob.id, "client_id": "seen", "body": body}
        answer = await client.post("/messages", headers=ada.headers, json=draft)
        assert (answer.status_code, answer.json()["body"]) == (201, body)

    async def test_token_is_checked_before_body(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        forged = {"Authorization": "Bearer mat_forged"}
        draft = {"target_id": bob.id, "client_id": "blank", "body": " "}
        assert_problem(await client.post("/messages", headers=forged, json=draft), 401, "unauthenticated")
        path = "/messages/019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"
        assert_problem(await client.patch(path, headers=forged, json={"body": " "}), 401, "unauthenticated")
