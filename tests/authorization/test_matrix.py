"""Every route and socket method, called by every role: `_matrix.py` lists the expected answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from messenger.container import Container
from tests.authorization._matrix import CASES, Case, changing, unchanging
from tests.authorization._people import Cast
from tests.authorization._requests import Scene, content, data, scene, url
from tests.support.digest import digest
from tests.support.sockets import Realtime

OVER_HTTP = [case for case in CASES if case.method not in {"OPEN", "SOCKET"}]
OVER_SOCKETS = [case for case in CASES if case.method in {"OPEN", "SOCKET"}]


async def ask_http(client: httpx.AsyncClient, play: Scene) -> tuple[int, str | None]:
    """Status and code of the answer."""
    headers = play.actor.headers if play.actor else {}
    answer = await client.request(play.case.method, url(play), headers=headers, **content(play))
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else None


async def ask_socket(realtime: Realtime, play: Scene) -> tuple[int, str | None]:
    """The same over a socket: 101 if it opens, 200 for a reply without an error."""
    try:
        async with realtime.wire(play.actor) as wire:
            if play.case.method == "OPEN":
                return 101, None
            error: dict[str, Any] = (await wire.ask(play.case.path, **data(play))).get("error") or {}
            return error.get("status", 200), error.get("code")
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)["code"]


async def _check_row(
    container: Container, standing: Cast, cases: list[Case], ask: Callable[[Scene], Awaitable[tuple[int, str | None]]]
) -> None:
    """Make requests that are refused or only read; no row of the database changes."""
    plays = [await scene(container, standing, case) for case in cases]
    before = await digest(container)
    answers = {play.case.actor: await ask(play) for play in plays}
    assert answers == {case.actor: (case.status, case.code) for case in cases}
    assert await digest(container) == before


@pytest.mark.parametrize("cases", unchanging(OVER_HTTP).values(), ids=unchanging(OVER_HTTP))
async def test_refused_or_reading_http_requests_change_no_row(
    client: httpx.AsyncClient, container: Container, standing: Cast, cases: list[Case]
) -> None:
    await _check_row(container, standing, cases, functools.partial(ask_http, client))


@pytest.mark.parametrize("case", changing(OVER_HTTP), ids=lambda case: case.id)
async def test_changing_http_request_is_answered_as_matrix_says(
    client: httpx.AsyncClient, container: Container, cast: Cast, case: Case
) -> None:
    assert await ask_http(client, await scene(container, cast, case)) == (case.status, case.code)


@pytest.mark.parametrize("cases", unchanging(OVER_SOCKETS).values(), ids=unchanging(OVER_SOCKETS))
async def test_refused_socket_requests_change_no_row(
    realtime: Realtime, container: Container, standing: Cast, cases: list[Case]
) -> None:
    await _check_row(container, standing, cases, functools.partial(ask_socket, realtime))


@pytest.mark.parametrize("case", changing(OVER_SOCKETS), ids=lambda case: case.id)
async def test_changing_socket_request_is_answered_as_matrix_says(
    realtime: Realtime, container: Container, cast: Cast, case: Case
) -> None:
    assert await ask_socket(realtime, await scene(container, cast, case)) == (case.status, case.code)
