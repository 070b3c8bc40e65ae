"""Every attack of the table: the right answer, a short stall, little memory, and an unchanged server afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.attacks._cost import MIB, Prey, prey
from tests.attacks._raw import Attack
from tests.attacks._table import ATTACKS

# The guaranteed bounds. On a busy machine stalls on the clock are longer; stalls in CPU time are not.
CPU_SECONDS = 0.1
CLOCK_SECONDS = 1.0
SERVER_BYTES = 96 * MIB
WORKER_BYTES = 300 * MIB


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Prey]:
    with prey(tmp_path_factory.mktemp("prey"), database_url) as server:
        server.user_id, server.token = server.join(f"u{secrets.token_hex(6)}")
        yield server


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_server_withstands_hostile_bytes(attacked: Prey, attack: Attack) -> None:
    strain = await attacked.measure(attack.play)
    assert strain.answer in attack.right
    assert strain.cpu < CPU_SECONDS
    assert strain.stall < CLOCK_SECONDS
    assert strain.grown < SERVER_BYTES
    assert strain.worker < WORKER_BYTES
