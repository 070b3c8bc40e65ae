"""`python -m tests.attacks [WORD]`: attack a local server, and print the results as Markdown."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from messenger import migrations
from messenger.embedded.postgres import EmbeddedPostgres
from tests.attacks._cost import MIB, Prey, Strain, prey
from tests.attacks._raw import Attack
from tests.attacks._slow import CROWD, SLOW
from tests.attacks._table import ATTACKS


def _row(attack: Attack, strain: Strain) -> str:
    answer = strain.answer if strain.answer in attack.right else f"**{strain.answer}**"
    stall = f"{strain.cpu * 1000:.0f} | {strain.stall * 1000:.0f}"
    worker = f"{strain.worker / MIB:.0f}" if strain.worker else ""
    return f"| {attack.name} | {answer} | {stall} | {max(0, strain.grown) / MIB:.1f} | {worker} |"


async def _attack(server: Prey, word: str) -> int:
    wrong = 0
    for attack in (*ATTACKS, *SLOW, CROWD):
        if word in attack.name:
            strain = await server.measure(attack.play)
            wrong += strain.answer not in attack.right
            print(_row(attack, strain), flush=True)  # noqa: T201
    return wrong


def main(word: str) -> int:
    """Run the attacks; return the number of wrong answers."""
    print("| attack | answer | longest stall, CPU ms | on the clock, ms | server grows, MiB | image worker, MiB |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="messenger-attacks-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "postgres", durable=False) as postgres:
            url = postgres.start()
            migrations.upgrade(url)
            with prey(folder, url) as server:
                server.user_id, server.token = server.join(f"u{secrets.token_hex(6)}")
                return asyncio.run(_attack(server, word))


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1] if len(sys.argv) > 1 else "")))
