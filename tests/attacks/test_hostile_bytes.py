"""Every attack of the table: the right answer, a short stall, little memory, and an unchanged server afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.attacks._cost import MIB, Victim, victim
from tests.attacks._raw import Attack
from tests.attacks._table import ATTACKS

# The guaranteed bounds. On a busy machine stalls on the clock are longer; stalls in CPU time are not.
CPU_SECONDS = 0.1
CLOCK_SECONDS = 1.0
SERVER_BYTES = 96 * MIB
WORKER_BYTES = 300 * MIB


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Victim]:
    with victim(tmp_path_factory.mktemp("victim"), database_url) as server:
        server.user_id, server.token = server.join(f"u{secrets.token_hex(6)}")
        yield server


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_server_withstands_hostile_bytes(attacked: Victim, attack: Attack) -> None:
    cost = await attacked.measure(attack.play)
    assert cost.answer in attack.right
    assert cost.cpu < CPU_SECONDS
    assert cost.stall < CLOCK_SECONDS
    assert cost.grown < SERVER_BYTES
    assert cost.worker < WORKER_BYTES
