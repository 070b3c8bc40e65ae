"""Every route and socket method that takes a group, called by users in every relation to it: `_group_matrix.py` lists
the expected answers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from litestar import Litestar
from websockets.exceptions import InvalidStatus

from messenger.container import Container
from tests.authorization import _matrix
from tests.authorization._group_matrix import CASES, COLUMNS
from tests.authorization._group_people import Crew
from tests.authorization._group_requests import GroupScene, group_content, group_data, group_scene, group_url
from tests.authorization._matrix import Case, changing, unchanging
from tests.support.digest import digest
from tests.support.inventory import inventory
from tests.support.sockets import Realtime

OVER_HTTP = [case for case in CASES if case.method != "SOCKET"]
OVER_SOCKETS = [case for case in CASES if case.method == "SOCKET"]
# Parts of the path, or of the request, by which a route takes a group.
_TAKES_GROUP = ("{group_id}", "{token}", "{message_id}", "{target_id}", "/receipts", "/messages")


@pytest.fixture(scope="session")
def standing_crew(container: Container) -> Crew:
    """Users that no test changes: for refused and read-only requests."""
    return Crew(container)


@pytest.fixture
def crew(container: Container) -> Crew:
    """Users of this test's own."""
    return Crew(container)


async def ask_http(client: httpx.AsyncClient, scene: GroupScene) -> tuple[int, str | None]:
    """Status and code of the answer."""
    headers = scene.actor.headers if scene.actor else {}
    answer = await client.request(scene.case.method, group_url(scene), headers=headers, **group_content(scene))
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else None


async def ask_socket(realtime: Realtime, scene: GroupScene) -> tuple[int, str | None]:
    """The same over a socket; without a token it does not open."""
    try:
        async with realtime.wire(scene.actor) as wire:
            error: dict[str, Any] = (await wire.ask(scene.case.path, **group_data(scene))).get("error") or {}
            return error.get("status", 200), error.get("code")
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)["code"]


async def check_row(
    container: Container, crew: Crew, cases: list[Case], ask: Callable[[GroupScene], Awaitable[tuple[int, str | None]]]
) -> None:
    """Make requests that are refused or only read; no row of the database changes."""
    scenes = [await group_scene(crew, case) for case in cases]
    before = await digest(container)
    answers = {scene.case.actor: await ask(scene) for scene in scenes}
    assert answers == {case.actor: (case.status, case.code) for case in cases}
    assert await digest(container) == before


@pytest.mark.parametrize("cases", unchanging(OVER_HTTP).values(), ids=unchanging(OVER_HTTP))
async def test_refused_or_reading_http_requests_change_no_row(
    client: httpx.AsyncClient, container: Container, standing_crew: Crew, cases: list[Case]
) -> None:
    await check_row(container, standing_crew, cases, functools.partial(ask_http, client))


@pytest.mark.parametrize("case", changing(OVER_HTTP), ids=lambda case: case.id)
async def test_changing_http_request_is_answered_as_group_matrix_says(
    client: httpx.AsyncClient, crew: Crew, case: Case
) -> None:
    assert await ask_http(client, await group_scene(crew, case)) == (case.status, case.code)


@pytest.mark.parametrize("cases", unchanging(OVER_SOCKETS).values(), ids=unchanging(OVER_SOCKETS))
async def test_refused_socket_requests_change_no_row(
    realtime: Realtime, container: Container, standing_crew: Crew, cases: list[Case]
) -> None:
    await check_row(container, standing_crew, cases, functools.partial(ask_socket, realtime))


@pytest.mark.parametrize("case", changing(OVER_SOCKETS), ids=lambda case: case.id)
async def test_changing_socket_request_is_answered_as_group_matrix_says(
    realtime: Realtime, crew: Crew, case: Case
) -> None:
    assert await ask_socket(realtime, await group_scene(crew, case)) == (case.status, case.code)


def test_group_matrix_covers_all_routes_of_groups(app: Litestar) -> None:
    of_groups = {route for route in inventory(app) if any(part in route[1] for part in _TAKES_GROUP)}
    of_groups |= {case.route for case in _matrix.CASES if case.method == "SOCKET" and case.of == "owner"}
    assert of_groups - {case.route for case in CASES} == set()


def test_every_relation_requests_every_group_route() -> None:
    for route in {case.route for case in CASES}:
        assert {case.actor for case in CASES if case.route == route} == {*COLUMNS, "anonymous"}, route
