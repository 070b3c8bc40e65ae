"""Accounts, devices, tokens over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import zipfile
from typing import Any

import httpx
import pytest

from messenger.clock import FixedClock
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.controllers._shapes import DEVICE, ENVELOPE, TOKENS, USER, is_peer_id, is_time, is_uuid7
from tests.support.http import CANARY, TIMESTAMP, assert_problem

NEW_PASSWORD = "walnut-harbour-violin-58"


def registration(**more: Any) -> dict[str, Any]:
    """A body for `/register` that no test has sent before."""
    return {"username": f"u{secrets.token_hex(6)}", "password": PASSWORD, "name": "Ada", **more}


class TestRegister:
    async def test_register_returns_user_device_and_tokens(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/register", json=registration())
        assert (answer.status_code, set(answer.json())) == (201, {"user", "device", "tokens"})

    async def test_user_has_the_keys_of_the_contract(self, client: httpx.AsyncClient) -> None:
        draft = registration()
        user = (await client.post("/register", json=draft)).json()["user"]
        assert (set(user), user["username"], user["name"], user["avatar"]) == (USER, draft["username"], "Ada", None)

    async def test_user_has_a_peer_id(self, client: httpx.AsyncClient) -> None:
        assert is_peer_id((await client.post("/register", json=registration())).json()["user"]["id"])

    async def test_device_has_the_keys_of_the_contract(self, client: httpx.AsyncClient) -> None:
        device = (await client.post("/register", json=registration(device_name="Phone"))).json()["device"]
        assert (set(device), device["name"], device["current"]) == (DEVICE, "Phone", True)

    async def test_device_has_a_uuid_and_times(self, client: httpx.AsyncClient) -> None:
        device = (await client.post("/register", json=registration())).json()["device"]
        assert is_uuid7(device["id"])
        assert is_time(device["created_at"])
        assert is_time(device["last_activity"])

    async def test_tokens_have_the_keys_of_the_contract(self, client: httpx.AsyncClient) -> None:
        tokens = (await client.post("/register", json=registration())).json()["tokens"]
        assert (set(tokens), tokens["token_type"], tokens["expires_in"]) == (TOKENS, "Bearer", 900)

    async def test_taken_username_in_different_case_is_409(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.post("/register", json=registration(username=ada.username.upper()))
        assert_problem(answer, 409, "username_taken")

    async def test_concurrent_registers_of_same_username_create_single_account(self, client: httpx.AsyncClient) -> None:
        draft = registration()
        answers = await asyncio.gather(*(client.post("/register", json=draft) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 409]

    async def test_weak_password_is_422_and_not_repeated(self, client: httpx.AsyncClient) -> None:
        draft = registration(password="passwordpassword")
        answer = await client.post("/register", json=draft)
        assert_problem(answer, 422, "password_weak", field="password")
        assert draft["password"] not in answer.text

    async def test_refused_registration_makes_no_account(self, client: httpx.AsyncClient) -> None:
        draft = registration(password="short")
        await client.post("/register", json=draft)
        again = await client.post("/register", json={**draft, "password": PASSWORD})
        assert again.status_code == 201

    @pytest.mark.parametrize("username", ["12345678", "a", "über", "a b", "a\n", ".ada", "x" * 65, ""])
    async def test_bad_username_is_400(self, client: httpx.AsyncClient, username: str) -> None:
        assert_problem(
            await client.post("/register", json=registration(username=username)),
            400,
            "validation_failed",
            field="username",
        )


class TestLogin:
    @pytest.mark.parametrize("login", ["username", "id"])
    async def test_login_accepts_username_or_id(self, client: httpx.AsyncClient, ada: Person, login: str) -> None:
        answer = await client.post("/login", json={"login": str(getattr(ada, login)), "password": PASSWORD})
        assert (answer.status_code, set(answer.json()), answer.json()["user"]["id"]) == (
            200,
            {"user", "device", "tokens"},
            ada.id,
        )

    async def test_login_creates_new_device_over_http(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.post(
            "/login", json={"login": ada.username, "password": PASSWORD, "device_name": "Tablet"}
        )
        assert answer.json()["device"]["id"] != str(ada.actor.device_id)

    async def test_unknown_login_and_wrong_password_look_the_same(self, client: httpx.AsyncClient, ada: Person) -> None:
        wrong = await client.post("/login", json={"login": ada.username, "password": CANARY})
        unknown = await client.post("/login", json={"login": f"{ada.username}x", "password": CANARY})
        assert_problem(wrong, 401, "invalid_credentials")
        assert (unknown.status_code, unknown.text, unknown.headers) == (wrong.status_code, wrong.text, wrong.headers)

    async def test_login_with_nul_is_named_in_errors(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/login", json={"login": "ada\0", "password": PASSWORD})
        assert_problem(answer, 400, "validation_failed", field="login")


class TestRefresh:
    async def test_refresh_returns_next_tokens(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.post("/token/refresh", json={"refresh_token": ada.refresh_token})
        assert (answer.status_code, set(answer.json()), set(answer.json()["tokens"])) == (200, {"tokens"}, TOKENS)

    async def test_next_access_token_is_valid(self, client: httpx.AsyncClient, ada: Person) -> None:
        tokens = (await client.post("/token/refresh", json={"refresh_token": ada.refresh_token})).json()["tokens"]
        answer = await client.get("/profile", headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert answer.status_code == 200

    async def test_used_token_signs_the_device_out(
        self, client: httpx.AsyncClient, ada: Person, clock: FixedClock
    ) -> None:
        first = (await client.post("/token/refresh", json={"refresh_token": ada.refresh_token})).json()["tokens"]
        second = (await client.post("/token/refresh", json={"refresh_token": first["refresh_token"]})).json()["tokens"]
        clock.advance(minutes=5)
        reused = await client.post("/token/refresh", json={"refresh_token": ada.refresh_token})
        assert_problem(reused, 401, "refresh_token_reused")
        after = await client.get("/profile", headers={"Authorization": f"Bearer {second['access_token']}"})
        assert after.status_code == 401

    async def test_unknown_token_is_401(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/token/refresh", json={"refresh_token": CANARY})
        assert_problem(answer, 401, "invalid_refresh_token")


class TestSigningOut:
    async def test_logout_is_204_without_a_body(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.post("/logout", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")

    async def test_token_is_refused_after_logout(self, client: httpx.AsyncClient, ada: Person) -> None:
        await client.post("/logout", headers=ada.headers)
        assert_problem(await client.get("/profile", headers=ada.headers), 401, "unauthenticated")

    async def test_sign_out_of_other_device_is_204(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        second = await make.device(ada)
        answer = await client.delete(f"/devices/{second.actor.device_id}", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get("/profile", headers=second.headers)).status_code == 401

    async def test_devices_are_a_page(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        second = await make.device(ada)
        answer = await client.get("/devices", headers=second.headers)
        assert (answer.status_code, set(answer.json()), answer.json()["next"]) == (200, {"items", "next"}, None)
        assert [(set(item), item["current"]) for item in answer.json()["items"]] == [(DEVICE, False), (DEVICE, True)]

    async def test_pages_of_devices_are_contiguous(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        second = await make.device(ada)
        first_page = (await client.get("/devices?limit=1", headers=ada.headers)).json()
        last_page = (await client.get(f"/devices?limit=1&cursor={first_page['next']}", headers=ada.headers)).json()
        ids = [item["id"] for item in first_page["items"] + last_page["items"]]
        assert (ids, last_page["next"]) == ([str(ada.actor.device_id), str(second.actor.device_id)], None)


class TestChangePassword:
    async def test_password_change_is_204_and_signs_out_other_devices(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        second = await make.device(ada)
        body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        answer = await client.post("/password", headers=ada.headers, json=body)
        assert (answer.status_code, answer.content) == (204, b"")
        statuses = [(await client.get("/profile", headers=person.headers)).status_code for person in (ada, second)]
        assert statuses == [200, 401]

    async def test_wrong_old_password_is_401(self, client: httpx.AsyncClient, ada: Person) -> None:
        body = {"old_password": CANARY, "new_password": NEW_PASSWORD}
        assert_problem(await client.post("/password", headers=ada.headers, json=body), 401, "invalid_credentials")

    async def test_weak_new_password_is_422(self, client: httpx.AsyncClient, ada: Person) -> None:
        body = {"old_password": PASSWORD, "new_password": "short"}
        answer = await client.post("/password", headers=ada.headers, json=body)
        assert_problem(answer, 422, "password_weak", field="new_password")


class TestEraseAccount:
    async def test_erasure_is_204_and_revokes_every_credential(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.request("DELETE", "/account", headers=ada.headers, json={"password": PASSWORD})
        assert (answer.status_code, answer.content) == (204, b"")
        after = [
            await client.get("/profile", headers=ada.headers),
            await client.post("/token/refresh", json={"refresh_token": ada.refresh_token}),
            await client.post("/login", json={"login": ada.username, "password": PASSWORD}),
        ]
        assert [each.status_code for each in after] == [401, 401, 401]

    async def test_wrong_password_does_not_erase_account(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.request("DELETE", "/account", headers=ada.headers, json={"password": CANARY})
        assert_problem(answer, 401, "invalid_credentials")
        assert (await client.get("/profile", headers=ada.headers)).status_code == 200


_TIMES = {
    "created_at",
    "last_activity",
    "since",
    "muted_until",
    "edited_at",
    "deleted_at",
    "expires_at",
}


class TestExportAccount:
    async def test_export_is_zip_without_secrets(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        await make.message(ada, await self._friend(make, ada), "in the archive")
        answer = await client.get("/account/export", headers=ada.headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            text = b"".join(archive.read(name) for name in archive.namelist()).decode()
        assert "in the archive" in text
        assert "argon2" not in text

    async def test_times_in_export_match_api_format(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        friend = await self._friend(make, ada)
        settings = {"muted_until": "2030-01-02T03:04:05.678901+01:00", "expire_after": 86400}
        path = f"/conversations/{friend.id}"
        assert (await client.put(path, headers=ada.headers, json=settings)).status_code == 200
        edited, deleted = [await make.message(ada, friend, text) for text in ("to be edited", "to be deleted")]
        await client.patch(f"/messages/{edited.id}", headers=ada.headers, json={"body": "edited"})
        await client.delete(f"/messages/{deleted.id}", headers=ada.headers)
        await client.post("/e2e/secret_key", headers=ada.headers, json=ENVELOPE)
        answer = await client.get("/account/export", headers=ada.headers)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            rows = [json.loads(line) for name in archive.namelist() for line in archive.read(name).splitlines()]
        times = {f"{key}": value for row in rows for key, value in row.items() if key in _TIMES and value is not None}
        assert times.keys() == _TIMES
        assert times["muted_until"] == "2030-01-02T02:04:05.678Z"
        assert [value for value in times.values() if not TIMESTAMP.match(value)] == []
        shown = (await client.get(f"/messages/{edited.id}", headers=ada.headers)).json()
        row = next(row for row in rows if row.get("id") == str(edited.id))
        assert {key: row[key] for key in ("created_at", "edited_at", "expires_at")} == {
            key: shown[key] for key in ("created_at", "edited_at", "expires_at")
        }
        # Nothing else that looks like a time has another format.
        assert "+00:00" not in json.dumps(rows)

    async def _friend(self, make: Factory, ada: Person) -> Person:
        friend = await make.person()
        await make.befriend(ada, friend)
        return friend
