"""The cost of sockets: start, latency, fan-out, memory, reconnects, presence, slow readers.

`make setup && .venv/bin/python benchmarks/realtime.py [CASE ...]` runs the cases, each on a fresh server with one
worker and its own PostgreSQL, durable settings, over loopback. This process is the load generator: what the server
and PostgreSQL use is counted apart from it (and from each other). All cases take about four minutes; `--quick` is a
glance of less than one at those that have an aim.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from _http import METRICS_TOKEN
from _realtime.bench import Bench
from _realtime.fanout import fanout
from _realtime.idle import idle
from _realtime.latency import latency
from _realtime.people import People
from _realtime.presence import presence
from _realtime.resume import resume
from _realtime.slow import slow
from _realtime.start import start
from _report import Table, machine
from _server import Server

CASES: dict[str, Callable[[Bench], Awaitable[list[Table]]]] = {
    "latency": latency,
    "fanout": fanout,
    "idle": idle,
    "resume": resume,
    "presence": presence,
    "slow": slow,
}
ALL = ("start", *CASES)
QUICK = ("start", "latency", "fanout", "idle")
CASE_SECONDS = 300.0


async def run(case: str, server: Server, *, quick: bool) -> tuple[list[Table], str]:
    """One case's tables, and PostgreSQL's version."""
    people = await People.of(server.database_url)
    try:
        async with asyncio.timeout(CASE_SECONDS):
            return await CASES[case](Bench(server, people, quick)), await people.version()
    finally:
        await people.close()


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(ALL)}; all without")
    parser.add_argument("--quick", action="store_true", help="smaller counts, for a glance")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--port", type=int, default=0, help="a free one without")
    parser.add_argument("--json", type=Path, help="also write the tables here")
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - set(ALL)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = options_of()
    # Ten thousand sockets need as many open files, here and in the server, which inherits the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A pause of this process would be measured as the server's.
    gc.disable()
    settings = {"WORKERS": options.workers, "MAX_DEVICES": 1100, "LOG_LEVEL": "warning"}
    report: dict[str, object] = {"machine": machine(), "settings": settings, "quick": options.quick}
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(", ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    for case in options.cases or (QUICK if options.quick else ALL):
        with Server(options.port, METRICS_TOKEN=METRICS_TOKEN, **settings) as server:
            if case == "start":
                # It starts the server itself.
                tables = start(server, quick=options.quick)
            else:
                server.start()
                tables, report["postgresql"] = uvloop.run(run(case, server, quick=options.quick))
        report[case] = [{"title": each.title, "rows": each.rows, "notes": each.notes} for each in tables]
        for table in tables:
            print(f"\n{table.markdown()}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=2) + "\n")
    if "postgresql" in report:
        print(f"PostgreSQL {report['postgresql']}, fsync and synchronous_commit on.")


if __name__ == "__main__":
    main()
