"""Slow clients are told so where possible, are disconnected, and hold no resources afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.attacks._cost import Victim, victim
from tests.attacks._raw import Attack
from tests.attacks._slow import MANY_CONNECTIONS, SLOW


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("victim"), database_url) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def answers(waiting: Victim) -> AsyncIterator[dict[str, str]]:
    """The answer to each slow client; all run at the same time, since they only wait."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = {attack.name: group.create_task(attack.play(waiting)) for attack in SLOW}
    yield {name: task.result() for name, task in tasks.items()}


@pytest.mark.parametrize("attack", SLOW, ids=lambda attack: attack.name)
async def test_slow_client_is_disconnected(answers: dict[str, str], attack: Attack) -> None:
    assert answers[attack.name] in attack.right


async def test_many_slow_clients_are_bounded(waiting: Victim) -> None:
    cost = await waiting.measure(MANY_CONNECTIONS.play)
    assert cost.answer in MANY_CONNECTIONS.right
    assert cost.cpu < 0.1


async def test_slow_clients_leave_no_resources(waiting: Victim, answers: dict[str, str]) -> None:
    assert answers
    # The server reports the end of the last connections a moment later.
    async with asyncio.timeout(10):
        while (state := await asyncio.to_thread(waiting.state))["connections"]:
            await asyncio.sleep(0.05)
    assert (state["requests"], state["on_loan"]) == (0, 0)
