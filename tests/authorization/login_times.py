"""How long a failed sign-in takes for an existing and for an unknown login: `python -m
tests.authorization.login_times`.

200 attempts each, alternating, with the parameters of a real server and its limits off. The command fails if the
medians differ by more than 5 %.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, cast

import httpx

from messenger import migrations
from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.testing import Factory

TRIES = 200
MAY_DIFFER = 0.05


class Medians(NamedTuple):
    """Seconds that a failed sign-in takes."""

    known: float
    unknown: float

    @property
    def difference(self) -> float:
        """The difference as a fraction of the longer one."""
        return abs(self.known - self.unknown) / max(self.known, self.unknown)


async def medians(client: httpx.AsyncClient, known: str, *, tries: int) -> Medians:
    """Alternate both logins, so that other load on the machine affects both."""
    taken: dict[str, list[float]] = {known: [], "nobody-has-this-name": []}
    for number in range(tries):
        # The first of a pair pays for what the second left behind.
        for login in sorted(taken, reverse=bool(number % 2)):
            started = perf_counter()
            answer = await client.post("/login", json={"login": login, "password": f"a-guess-of-somebody-{number}"})
            taken[login].append(perf_counter() - started)
            assert answer.status_code == 401, answer.text
    return Medians(*(median(times) for times in taken.values()))


async def measure(database_url: str, folder: Path) -> Medians:
    """Measure on a new database."""
    settings = Settings(
        database_url=database_url,
        data_dir=folder,
        secret="a secret of nobody's, 32 or more",
        storage_url="memory:///",
        bus_url="local:",
        rate_limits="off",
    )
    container = Container(settings)
    transport = httpx.ASGITransport(cast(Any, create_app(container)))
    async with httpx.AsyncClient(transport=transport, base_url="http://messenger.test") as client:
        known = (await Factory(container).person()).username
        await medians(client, known, tries=3)
        found = await medians(client, known, tries=TRIES)
    await container.close()
    return found


def main() -> int:
    """Measure, print the result, and fail if the two can be told apart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "postgres", durable=False) as server:
            url = server.start()
            migrations.upgrade(url)
            found = asyncio.run(measure(url, folder))
    verdict = "alike" if found.difference <= MAY_DIFFER else "told apart"
    sys.stdout.write(
        f"{TRIES} failed sign-ins each: median {found.known * 1000:.2f} ms for a login that exists,"
        f" {found.unknown * 1000:.2f} ms for one that doesn't; {found.difference:.1%} apart"
        f" ({MAY_DIFFER:.0%} are allowed): {verdict}\n"
    )
    return 0 if found.difference <= MAY_DIFFER else 1


if __name__ == "__main__":
    sys.exit(main())
