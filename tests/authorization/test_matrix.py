"""Every route and socket method, called by every role: `_matrix.py` lists the expected answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from messenger.container import Container
from tests.authorization._digest import digest
from tests.authorization._matrix import CASES, Case
from tests.authorization._people import Cast
from tests.authorization._requests import Scene, content, data, scene, url
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


def _stage(case: Case, standing: Cast, cast: Cast) -> Cast:
    return standing if case.changes_nothing else cast


@pytest.mark.parametrize("case", OVER_HTTP, ids=lambda case: case.id)
async def test_http_route_answers_as_matrix_says(
    client: httpx.AsyncClient, container: Container, standing: Cast, cast: Cast, case: Case
) -> None:
    play = await scene(container, _stage(case, standing, cast), case)
    before = await digest(container) if case.changes_nothing else None
    assert await ask_http(client, play) == (case.status, case.code)
    if before is not None:
        assert await digest(container) == before


@pytest.mark.parametrize("case", OVER_SOCKETS, ids=lambda case: case.id)
async def test_socket_method_answers_as_matrix_says(
    realtime: Realtime, container: Container, standing: Cast, cast: Cast, case: Case
) -> None:
    play = await scene(container, _stage(case, standing, cast), case)
    before = await digest(container) if case.changes_nothing else None
    assert await ask_socket(realtime, play) == (case.status, case.code)
    if before is not None:
        assert await digest(container) == before
