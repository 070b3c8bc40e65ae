"""The cost of groups: a message to 10, 50 and 200 connected members, many at once, and the list of conversations.

`make bench-groups` runs the cases in under three minutes, on a server with two workers and its own PostgreSQL, durable
settings, over loopback. This process is the load generator; its CPU is not counted.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop
from _groups.burst import burst
from _groups.conversations import conversations
from _groups.scene import FULL, QUICK, Effort, Scene, scene_of
from _groups.sending import sending
from _http import METRICS_TOKEN
from _report import Table, machine
from _server import Server

CASES: dict[str, Callable[[Scene], Awaitable[list[Table]]]] = {
    "sending": sending,
    "burst": burst,
    "conversations": conversations,
}


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all without")
    parser.add_argument("--quick", action="store_true", help="a few messages of each case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the tables here")
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


async def measure(server: Server, cases: Sequence[str], effort: Effort) -> tuple[list[Table], str]:
    """The tables of the cases, and PostgreSQL's version."""
    scene = await scene_of(server, effort)
    try:
        tables = [table for case in cases for table in await CASES[case](scene)]
        return tables, await scene.people.version()
    finally:
        for socket in scene.members:
            socket.cut()
        await scene.groups.close()
        await scene.people.close()


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    # A pause of this process would be measured as the server's.
    gc.disable()
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    settings = {"WORKERS": options.workers, "LOG_LEVEL": "error", "METRICS_TOKEN": METRICS_TOKEN}
    with Server(0, **settings) as server:
        server.start()
        effort = QUICK if options.quick else FULL
        tables, version = uvloop.run(measure(server, options.cases or list(CASES), effort))
    for table in tables:
        print(f"\n{table.markdown()}")
    print(f"PostgreSQL {version}, fsync and synchronous_commit on.")
    if options.json:
        found = {table.title.partition(":")[0]: table.rows for table in tables}
        options.json.write_text(json.dumps({"machine": facts, "tables": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
