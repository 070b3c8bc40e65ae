"""Repeated requests that create something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from messenger.clock import FixedClock
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.controllers._shapes import ENVELOPE
from tests.controllers.test_accounts import registration
from tests.support.http import OPERATIONS, assert_problem
from tests.support.images import encoded, plain

Send = Callable[[httpx.AsyncClient, Person, Person, str, bool], Awaitable[httpx.Response]]


def _json(path: str, body: Callable[[Person, Person], dict[str, Any]], other: dict[str, Any]) -> Send:
    async def send(client: httpx.AsyncClient, me: Person, you: Person, key: str, changed: bool) -> httpx.Response:
        draft = {**body(me, you), **(other if changed else {})}
        return await client.post(path, headers={**me.headers, "Idempotency-Key": key}, json=draft)

    return send


async def _upload(client: httpx.AsyncClient, me: Person, _: Person, key: str, changed: bool) -> httpx.Response:
    # httpx uses a new boundary each time: the repeated form differs although the file does not.
    file = encoded(plain((0, 0, 200) if changed else (200, 0, 0)))
    return await client.post("/avatar/upload", headers={**me.headers, "Idempotency-Key": key}, files={"file": file})


_GROUPS: dict[int, int] = {}
"""A group of each user, by the ID of its owner."""


def _in_group(path: str, body: dict[str, Any] | None = None, other: dict[str, Any] | None = None) -> Send:
    async def send(client: httpx.AsyncClient, me: Person, you: Person, key: str, changed: bool) -> httpx.Response:
        url, headers = path.format(group_id=_GROUPS[me.id]), {**me.headers, "Idempotency-Key": key}
        if body is None:
            file = encoded(plain((0, 0, 201) if changed else (201, 0, 0)))
            return await client.post(url, headers=headers, files={"file": file})
        return await client.post(url, headers=headers, json={**body, **((other or {}) if changed else {})})

    return send


_NEW_USER = registration()

CREATING: dict[str, Send] = {
    "register": _json("/register", lambda _, __: _NEW_USER, {"name": "Eve"}),
    "login": _json("/login", lambda me, _: {"login": me.username, "password": PASSWORD}, {"device_name": "Tablet"}),
    "subscribe": _json("/subscribe", lambda _, you: {"target_id": you.id}, {"message": "Hi"}),
    "confirmSubscribe": _json("/confirm_subscribe", lambda _, you: {"target_id": you.id}, {"accept": False}),
    "uploadAvatar": _upload,
    "createGroup": _json("/groups", lambda _, __: {"name": "Reading"}, {"name": "Writing"}),
    "createLink": _in_group("/groups/{group_id}/links", {}, {"name": "Poster"}),
    "uploadGroupAvatar": _in_group("/groups/{group_id}/avatar"),
    "storeSecret": _json("/e2e/secret_key", lambda _, __: dict(ENVELOPE), {"key_id": "second"}),
}


@pytest.fixture
async def pair(make: Factory) -> tuple[Person, Person]:
    """Two users, the second of whom has sent the first a contact request."""
    me, you = await make.people(2)
    return me, you


async def _ask(client: httpx.AsyncClient, operation: str, me: Person, you: Person) -> None:
    if operation == "confirmSubscribe":
        await client.post("/subscribe", headers=you.headers, json={"target_id": me.id})
    if operation in {"createLink", "uploadGroupAvatar"}:
        group = await client.post("/groups", headers=me.headers, json={"name": "Reading"})
        _GROUPS[me.id] = group.json()["group"]["id"]
    if operation == "register":
        _NEW_USER.update(registration())


@pytest.mark.parametrize("operation", CREATING)
class TestIdempotencyKey:
    async def test_same_request_gets_the_same_answer(
        self, client: httpx.AsyncClient, pair: tuple[Person, Person], operation: str
    ) -> None:
        await _ask(client, operation, *pair)
        answers = [await CREATING[operation](client, *pair, f"same-{pair[0].id}", False) for _ in range(2)]
        assert (answers[0].is_success, answers[1].status_code, answers[1].json()) == (
            True,
            answers[0].status_code,
            answers[0].json(),
        )

    async def test_different_body_under_same_key_is_422(
        self, client: httpx.AsyncClient, pair: tuple[Person, Person], operation: str
    ) -> None:
        await _ask(client, operation, *pair)
        await CREATING[operation](client, *pair, f"other-{pair[0].id}", False)
        answer = await CREATING[operation](client, *pair, f"other-{pair[0].id}", True)
        assert_problem(answer, 422, "idempotency_key_reused")

    @pytest.mark.parametrize("key", ["", "a b", "a\x7f", "x" * 129, "a\tb"])
    async def test_malformed_key_is_400(
        self, client: httpx.AsyncClient, pair: tuple[Person, Person], operation: str, key: str
    ) -> None:
        await _ask(client, operation, *pair)
        answer = await CREATING[operation](client, *pair, key, False)
        assert_problem(answer, 400, "validation_failed", field="Idempotency-Key")


class TestKeyScope:
    async def test_repeated_login_creates_single_device(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {"Idempotency-Key": f"login-{ada.id}"}
        body = {"login": ada.username, "password": PASSWORD}
        answers = [await client.post("/login", headers=headers, json=body) for _ in range(2)]
        assert answers[0].json()["tokens"] == answers[1].json()["tokens"]
        assert len((await client.get("/devices", headers=ada.headers)).json()["items"]) == 2

    async def test_same_key_of_different_users_is_independent(self, client: httpx.AsyncClient, make: Factory) -> None:
        one, other, target = await make.people(3)
        answers = [
            await client.post(
                "/subscribe", headers={**me.headers, "Idempotency-Key": "shared"}, json={"target_id": target.id}
            )
            for me in (one, other)
        ]
        assert [answer.json()["state"] for answer in answers] == ["pending_out"] * 2
        assert len((await client.get("/contacts", headers=target.headers)).json()["items"]) == 2

    async def test_key_is_kept_a_day(self, client: httpx.AsyncClient, make: Factory, clock: FixedClock) -> None:
        ada = await make.person()
        body = {"login": ada.username, "password": PASSWORD}
        headers = {"Idempotency-Key": f"day-{ada.id}"}
        first = await client.post("/login", headers=headers, json=body)
        clock.advance(hours=24, seconds=1)
        later = await client.post("/login", headers=headers, json=body)
        assert later.json()["device"]["id"] != first.json()["device"]["id"]

    async def test_same_key_on_different_path_is_422(self, client: httpx.AsyncClient, make: Factory) -> None:
        me, you = await make.people(2)
        await client.post("/subscribe", headers=you.headers, json={"target_id": me.id})
        headers, body = {**me.headers, "Idempotency-Key": "one"}, {"target_id": you.id}
        first = await client.post("/confirm_subscribe", headers=headers, json=body)
        other = await client.post("/subscribe", headers=headers, json=body)
        assert (first.status_code, first.json()["state"]) == (200, "mutual")
        assert_problem(other, 422, "idempotency_key_reused")

    async def test_idempotency_key_is_documented_exactly_where_honoured(self) -> None:
        documented = {each.id for each in OPERATIONS if "Idempotency-Key" in each.parameters("header")}
        assert documented == set(CREATING)
