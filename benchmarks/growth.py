"""The cost of requests in a data set, and in one with ten times the users, conversations and messages.

`make bench-growth` runs it (15 minutes or more, and 12 GB under /var/tmp meanwhile): two servers at the same time, on
data sets from one seed. In both, equal numbers of users of the same kinds send requests, in alternating turns, so that
other load on the machine affects both. CPU is that of the server and of PostgreSQL, per request; latency is measured
over a few connections on a machine that also runs the load generator.

If root runs it, both have huge pages, as docs/operations.md recommends for so many users; `--no-huge-pages` leaves the
machine unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import asyncpg
import msgspec
from _growth.cases import CASES, RequestReader
from _growth.people import Person, draw
from _growth.world import SEED, connect_some, make_world
from _http import Connection
from _report import Table, machine
from _server import Server

from messenger.embedded import memory as embedded_memory

LIMIT = 1.3
_RESERVED, _COMPACT = Path("/proc/sys/vm/nr_hugepages"), Path("/proc/sys/vm/compact_memory")
_PAGE_BYTES = 2**21
_KNOWN = {200, 201, 204, 404, 409}


class Cost(NamedTuple):
    """Milliseconds per request."""

    server: float
    postgres: float
    p50: float

    @property
    def cpu(self) -> float:
        return self.server + self.postgres


class World(NamedTuple):
    """A server, and its callers by their kind."""

    server: Server
    people: dict[str, list[Person]]

    @classmethod
    async def of(cls, server: Server) -> World:
        database = await asyncpg.connect(server.database_url)
        await connect_some(database)
        people = await draw(database)
        size = await database.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
        say(f"{size}; " + ", ".join(f"{len(drawn)} {kind}" for kind, drawn in people.items()))
        await database.close()
        return cls(server, people)


async def measure(servers: list[Server], options: argparse.Namespace) -> list[dict[str, list[Cost]]]:
    """For each server, the costs of all cases in each turn, without the warm-up turn."""
    worlds = [await World.of(server) for server in servers]
    chosen = {
        name: case
        for name, case in CASES.items()
        if name.startswith(options.only) and all(world.people[case.kind] for world in worlds)
    }
    taken: list[dict[str, list[Cost]]] = [{name: [] for name in chosen} for _ in worlds]
    for turn in range(options.rounds + 1):
        say(f"turn {turn} of {options.rounds}")
        for name, case in chosen.items():
            # The servers take turns at being the first.
            for place in range(len(worlds))[:: 1 if turn % 2 else -1]:
                server, people = worlds[place]
                cost = await _ask(server, name, turn, people[case.kind], options)
                if turn:
                    taken[place][name].append(cost)
    return taken


async def _ask(server: Server, name: str, turn: int, people: list[Person], options: argparse.Namespace) -> Cost:
    requests = options.requests // 10 if "export" in name else options.requests
    numbers: Iterator[int] = iter(range(requests))
    seconds: list[float] = []

    async def one() -> None:
        connection = await Connection.to(server.port)
        for number in numbers:
            request = CASES[name].request(RequestReader(turn, number, people))
            started = perf_counter()
            status = await connection.send(request)
            seconds.append(perf_counter() - started)
            if status not in _KNOWN:
                raise RuntimeError(f"{request[:120]!r} was answered with {status}: {connection.body[:300]!r}")
        connection.close()

    before = server.cpu()
    await asyncio.gather(*(one() for _ in range(options.connections)))
    used = server.cpu().since(before).each(requests)
    return Cost(used.server, used.postgres, 1000 * statistics.median(seconds))


@contextlib.contextmanager
def world(users: int, messages: int, options: argparse.Namespace) -> Iterator[Server]:
    """A server with its data set; both are removed at the end."""
    gateways = {"STUN_URLS": "stun:127.0.0.1:3478", "TURN_URLS": "turn:127.0.0.1:3478", "TURN_SECRET": "benchmark"}
    # Each user's activity stamp is due once: in practice it is written every half minute, not with each request.
    with Server(0, ACTIVITY_RESOLUTION=86_400, **gateways) as server:
        server.start()
        asyncio.run(_fill(server.database_url, users, messages, options.set))
        # Earlier connections have cached plans for an empty database.
        server.stop()
        server.start()
        yield server


@contextlib.contextmanager
def huge_pages() -> Iterator[None]:
    """Reserve huge pages for the buffers of both servers, as far as this machine allows."""
    before = ""
    with contextlib.suppress(OSError):
        before = _RESERVED.read_text()
        _COMPACT.write_text("1")
        _RESERVED.write_text(str(int(before) + 2 * (embedded_memory.shared() // _PAGE_BYTES + 1)))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _RESERVED.write_text(before)


async def _fill(url: str, users: int, messages: int, settings: list[str]) -> None:
    database = await asyncpg.connect(url)
    for setting in settings:
        await database.execute(f"ALTER DATABASE messenger SET {setting}")
    say(f"a world of {users:,} users and {messages:,} messages")
    await make_world(database, users=users, messages=messages, say=say)
    await database.close()


async def _pages(url: str) -> str:
    """Whether its buffers are in huge pages: `on`, `off`; from PostgreSQL 17 on."""
    database = await asyncpg.connect(url)
    status = await database.fetchval("SELECT current_setting('huge_pages_status', true)")
    await database.close()
    return str(status or "unknown")


class Growth(NamedTuple):
    """A request in both data sets: medians of the turns, and of the ratios of consecutive turns."""

    base: Cost
    grown: Cost
    cpu_ratio: float
    p50_ratio: float

    @classmethod
    def of(cls, base: list[Cost], grown: list[Cost]) -> Growth:
        pairs = list(zip(base, grown, strict=True))
        return cls(
            _median(base),
            _median(grown),
            statistics.median(after.cpu / before.cpu for before, after in pairs),
            statistics.median(after.p50 / before.p50 for before, after in pairs),
        )


def _median(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def rows(growths: dict[str, Growth]) -> list[dict[str, object]]:
    """The table: both costs of each request, and the ratio of the second to the first."""
    return [
        {
            "request": f"`{name}`",
            "server, ms": f"{base.server:.2f} → {grown.server:.2f}",
            "PostgreSQL, ms": f"{base.postgres:.2f} → {grown.postgres:.2f}",
            "p50, ms": f"{base.p50:.1f} → {grown.p50:.1f}",
            "CPU ×": round(cpu_ratio, 2),
            "p50 ×": round(p50_ratio, 2),
        }
        for name, (base, grown, cpu_ratio, p50_ratio) in growths.items()
    ]


def say(text: str) -> None:
    """Print progress to standard error, separate from the result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--requests", type=int, default=400, help="of a case in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], help="a setting of the database, to try it out")
    parser.add_argument("--only", default="", help="cases that begin so, such as GET")
    parser.add_argument("--no-huge-pages", action="store_true", help="leave the machine's memory as it is")
    parser.add_argument("--json", type=Path, default=Path("build/bench/growth.json"))
    options = parser.parse_args()
    began: dict[str, Any] = machine()
    factor = options.factor
    with (
        contextlib.nullcontext() if options.no_huge_pages else huge_pages(),
        world(options.users, options.messages, options) as small,
        world(options.users * factor, options.messages * factor, options) as large,
    ):
        pages = [asyncio.run(_pages(server.database_url)) for server in (small, large)]
        base, grown = asyncio.run(measure([small, large], options))
    growths = {name: Growth.of(base[name], grown[name]) for name in base}
    table = Table(
        f"{options.users:,} users and {options.messages:,} messages → {factor} times as many (seed {SEED})",
        rows(growths),
        [
            f"huge pages for the buffers: {' → '.join(pages)}",
            *(f"above {LIMIT}: {name}" for name, growth in growths.items() if growth.cpu_ratio > LIMIT),
        ],
    )
    print(table.markdown())
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": began,
        "requests": {name: growth._asdict() for name, growth in growths.items()},
        "table": msgspec.to_builtins(table),
    }
    options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
