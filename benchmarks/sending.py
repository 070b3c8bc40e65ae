"""Sending over sockets with recipients connected: by 16 and 64 senders, at 200 and 500 messages a second.

`make bench-sending` takes two minutes. `--against FOLDER` also measures the server of another checkout, in which
`make setup` has run. All servers run at the same time, each with its own PostgreSQL, and are measured in turns. This
process produces the load; its CPU is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
from collections.abc import Sequence
from pathlib import Path

import uvloop
from _realtime.sockets import unbroken
from _report import Table, machine
from _sending import turns
from _sending.contender import Contender

NOTES = (
    "Medians of the turns; a ratio is the median of the ratios of consecutive turns.",
    "Times are measured from just before the request is written until its reply, or the recipient's event, is read.",
    "CPU is per message and includes delivery receipts.",
)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--workers", type=int, action="append", help="repeatable; 1 and 2 by default")
    parser.add_argument("--turns", type=int, default=5, help="of each server under each load; 5 by default")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn; 1 by default")
    parser.add_argument("--only", action="append", metavar="LOAD", help="loads that start with this; repeatable")
    parser.add_argument("--quick", action="store_true", help="one worker, one turn of 0.2 s")
    parser.add_argument("--json", type=Path, help="also write the table here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.workers, options.turns, options.seconds = [1], 1, 0.2
    options.workers = options.workers or [1, 2]
    return options


async def measure(contenders: Sequence[Contender], options: argparse.Namespace) -> tuple[list[dict[str, object]], str]:
    """The rows of the table, and PostgreSQL's version."""
    versions = [await contender.connect() for contender in contenders]
    only = tuple(options.only or [""])
    loads = [load for load in turns.loads(options.seconds) if load.title.startswith(only)]
    rows = turns.rows(contenders, await turns.run(contenders, loads, options.turns))
    for contender in contenders:
        await contender.disconnect()
    return rows, versions[0]


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    # A pause of this process would be counted as the server's.
    gc.disable()
    print(", ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    folders = [None] if options.against is None else [options.against, None]
    with contextlib.ExitStack() as stack:
        contenders = [
            stack.enter_context(Contender(folder, workers)) for workers in options.workers for folder in folders
        ]
        rows, version = uvloop.run(measure(contenders, options))
    table = Table("sending", rows, [*NOTES, unbroken()])
    print(f"\n{table.markdown()}\nPostgreSQL {version}, fsync and synchronous_commit on.")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
