"""`python -m tests.attacks [WORD]`: attack a local server, and print the results as Markdown."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from messenger import migrations
from messenger.embedded.postgres import EmbeddedPostgres
from tests.attacks._cost import MIB, Cost, Victim, victim
from tests.attacks._raw import Attack
from tests.attacks._slow import MANY_CONNECTIONS, SLOW
from tests.attacks._table import ATTACKS


def _row(attack: Attack, cost: Cost) -> str:
    answer = cost.answer if cost.answer in attack.right else f"**{cost.answer}**"
    stall = f"{cost.cpu * 1000:.0f} | {cost.stall * 1000:.0f}"
    worker = f"{cost.worker / MIB:.0f}" if cost.worker else ""
    return f"| {attack.name} | {answer} | {stall} | {max(0, cost.grown) / MIB:.1f} | {worker} |"


async def _attack(server: Victim, word: str) -> int:
    wrong = 0
    for attack in (*ATTACKS, *SLOW, MANY_CONNECTIONS):
        if word in attack.name:
            cost = await server.measure(attack.play)
            wrong += cost.answer not in attack.right
            print(_row(attack, cost), flush=True)  # noqa: T201
    return wrong


def main(word: str) -> int:
    """Run the attacks; return the number of wrong answers."""
    print("| attack | answer | longest stall, CPU ms | wall clock, ms | server grows, MiB | image worker, MiB |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="messenger-attacks-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "postgres", durable=False) as postgres:
            url = postgres.start()
            migrations.upgrade(url)
            with victim(folder, url) as server:
                server.user_id, server.token = server.join(f"u{secrets.token_hex(6)}")
                return asyncio.run(_attack(server, word))


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1] if len(sys.argv) > 1 else "")))
