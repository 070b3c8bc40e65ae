"""No answer tells users apart who never existed, who no longer exist, or who do not want to be contacted.

Which active accounts exist is not secret: `GET /users/{id}` shows their names to every signed-in user, and a rate
limit counts look-ups. These tests check that no other route reveals more.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.container import Container
from messenger.testing import Factory, StatementLog
from tests.authorization._matrix import CASES, Case
from tests.authorization._people import Cast
from tests.authorization._requests import Scene, content, scene, url
from tests.authorization._targets import addressing, gone, reserved
from tests.support.http import SECURITY_HEADERS, client_of

OVER_HTTP = [case for case in CASES if case.method not in {"OPEN", "SOCKET"}]
ADDRESSED = [case for case in OVER_HTTP if case.of == "owner" and case.actor == "stranger"]
BETWEEN_TWO = [case for case in OVER_HTTP if case.of in {"owner", "received", "sent"} and case.actor == "blocked"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_NUMBER = re.compile(r"\b\d{8,}\b")
_NAME = re.compile(r"\bu[0-9a-f]{12}\b")
_KEY = re.compile(r"\b[0-9a-f]{16,64}\b")


class Answer(NamedTuple):
    """What a client can tell answers apart by, except the time; statements sent to the database stand for the time."""

    status: int
    body: str
    headers: dict[str, str]
    statements: list[str]


def anonymised(text: str) -> str:
    """The text without what differs between users: numbers, names, ids, times."""
    for pattern in (_UUID, _TIME, _NAME, _NUMBER, _KEY):
        text = pattern.sub("~", text)
    return text


async def ask(client: httpx.AsyncClient, statements: StatementLog, play: Scene) -> Answer:
    assert play.actor is not None
    async with statements.recording() as sent:
        answer = await client.request(play.case.method, url(play), headers=play.actor.headers, **content(play))
    headers = {name: value for name, value in answer.headers.items() if name not in {*SECURITY_HEADERS, "etag"}}
    return Answer(answer.status_code, anonymised(answer.text), headers, sent)


@pytest.mark.parametrize("case", ADDRESSED, ids=lambda case: case.id)
async def test_erased_and_disabled_users_look_nonexistent(
    client: httpx.AsyncClient, container: Container, make: Factory, statements: StatementLog, case: Case
) -> None:
    actor = await make.person()
    answers = {
        reason: await ask(client, statements, addressing(case, actor, target))
        for reason, target in (await gone(container, make)).items()
    }
    # A list of IDs leaves them out.
    assert answers["nobody"].status == (200 if case.variant == "ids" else 404)
    assert answers["erased"] == answers["nobody"]
    assert answers["disabled"] == answers["nobody"]


@pytest.mark.parametrize("case", ADDRESSED, ids=lambda case: case.id)
async def test_answers_hide_why_stranger_is_refused(
    client: httpx.AsyncClient, container: Container, make: Factory, statements: StatementLog, case: Case
) -> None:
    actor = await make.person()
    answers = {
        reason: await ask(client, statements, addressing(case, actor, target))
        for reason, target in (await reserved(container, make, actor)).items()
    }
    assert answers["private"] == answers["usual"]
    assert answers["blocking"] == answers["usual"]


@pytest.mark.parametrize("case", BETWEEN_TWO, ids=lambda case: case.id)
async def test_block_is_indistinguishable_from_removal(
    client: httpx.AsyncClient, container: Container, statements: StatementLog, cast: Cast, case: Case
) -> None:
    blocked = await ask(client, statements, await scene(container, cast, case))
    removed = await ask(client, statements, await scene(container, cast, case._replace(actor="former")))
    assert blocked == removed


async def test_streams_and_lists_do_not_reveal_block(client: httpx.AsyncClient, cast: Cast) -> None:
    paths = ("/sync?cursor=e0", "/contacts", "/conversations", "/statuses")
    seen: dict[str, Any] = {}
    for role in ("blocked", "former"):
        headers = await cast.headers(role)
        answers = [(await client.get(path, headers=headers)).json() for path in paths]
        seen[role] = anonymised(json.dumps(answers)).replace(role.title(), "~")
    assert seen["blocked"] == seen["former"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def limited(container: Container) -> AsyncIterator[Container]:
    """The same server with rate limits on."""
    limited = Container(msgspec.structs.replace(container.settings, rate_limits="on"), engine=container.engine)
    yield limited
    await limited.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def limited_client(limited: Container) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(limited)) as client:
        yield client


async def price(client: httpx.AsyncClient, cast: Cast, play: Scene) -> tuple[int, list[Any]]:
    """The status, and what the request took from each rate limit."""
    assert play.actor is not None
    answer = await client.request(play.case.method, url(play), headers=play.actor.headers, **content(play))
    me, them = str(play.actor.id), play.target
    rows = await cast.fetch("SELECT key, tokens FROM rate_buckets WHERE key LIKE '%:' || $1 || '%'", me)
    keys = [row["key"].replace(me, "~").replace(str(them.id), "~").replace(them.username, "~") for row in rows]
    return answer.status_code, sorted(zip(keys, [round(row["tokens"]) for row in rows], strict=True))


@pytest.mark.parametrize("case", ADDRESSED, ids=lambda case: case.id)
async def test_existence_revealing_requests_are_rate_limited_alike(
    limited_client: httpx.AsyncClient, container: Container, make: Factory, cast: Cast, case: Case
) -> None:
    usual, *absent = [
        await price(limited_client, cast, addressing(case, await make.person(), target))
        for target in (await make.person(), *(await gone(container, make)).values())
    ]
    assert {tuple(taken) for _, taken in absent} == {tuple(usual[1])}
    tells = {status for status, _ in absent} != {usual[0]}
    assert not tells or usual[1] != []


class TestAvatarKeys:
    """A key is a capability: any key that opens no avatar gets the same answer."""

    async def test_unavailable_avatars_get_identical_404(
        self, client: httpx.AsyncClient, container: Container, cast: Cast, make: Factory
    ) -> None:
        uploader = await make.person()
        uploaded = await container.services.avatars.upload(uploader.actor, b"an image that is taken away again")
        await container.services.avatars.remove(uploader.actor)
        pending = "ab" * 32
        await cast.fetch(
            "INSERT INTO avatars (key, state, width, height, placeholder, touched_at)"
            " VALUES ($1, 'pending', 1, 1, '', now())",
            pending,
        )
        keys = ("0" * 64, uploaded.avatar.key, pending, f"{'0' * 64}_thumb", "no-key-at-all")
        answers = [await client.get(f"/avatars/{key}") for key in keys]
        await cast.fetch("DELETE FROM avatars WHERE key = $1", pending)
        assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
        assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1


class TestUsernameTaken:
    """The API reveals that a username is taken, and nothing about its owner."""

    async def test_taken_username_is_refused_alike_for_disabled_holder(
        self, client: httpx.AsyncClient, container: Container, make: Factory
    ) -> None:
        used, disabled = await make.people(2)
        await container.services.administration.set_disabled(str(disabled.id), disabled=True)
        body = {"password": "harbour-violet-tundra-58", "name": "Newcomer"}
        answers = [
            await client.post("/register", json={"username": person.username, **body}) for person in (used, disabled)
        ]
        assert {(answer.status_code, answer.text) for answer in answers} == {(409, answers[0].text)}
