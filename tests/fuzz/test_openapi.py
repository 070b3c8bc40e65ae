"""schemathesis with the server's own document: a real sign-in, users with relations, links from call to call.

It has an environment of its own (`.venv/checks`), because it installs pytest plugins and many other packages.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fuzz._budget import LONG, OF_THE_LIMITS, OF_THE_OPENAPI, SECONDS, SEED, timeout
from tests.fuzz._population import Population, gather
from tests.fuzz.conftest import METRICS_TOKEN, SETTINGS
from tests.support.http import OPERATION
from tests.support.server import running

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv/checks/bin/schemathesis"
NEVER_WELL = {"openSocket"}
"""Operations that HTTP alone can't succeed at."""
NARROW = tuple(
    option
    for operation in ("eraseAccount", "login", "storeSecret", "subscribe", "uploadAvatar")
    for option in ("--include-operation-id", operation)
)
"""Operations whose limits are soon reached."""
DICTIONARIES = {
    "user_ids": ("user_id", "target_id"),
    "message_ids": ("message_id", "reply_to", "forwarded_from"),
    "usernames": ("username", "login"),
    "avatar_keys": ("key",),
    "group_ids": ("group_id",),
    "link_ids": ("link_id",),
    "link_tokens": ("token",),
}


def _configuration(population: Population) -> str:
    """The configuration of schemathesis: reuse existing resources half of the time; and our check in
    place of its own.
    """
    there_is: dict[str, Any] = msgspec.to_builtins(population)
    lines = ["[checks.positive_data_acceptance]", "enabled = false"]
    # Its own list, and 413 for texts that are too long.
    refused = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {json.dumps([*map(str, refused), '5xx'])}"]
    for name, parameters in DICTIONARIES.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(there_is[name])}"]
        for parameter in parameters:
            lines += [f"[parameters.{parameter}]", f'dictionary = "{name}"', "probability = 0.5"]
    return "\n".join(lines)


def _run(population: Population, folder: Path, *options: str) -> dict[str, dict[str, int]]:
    """Run it; return how often each operation gave each status. Findings become the failure's message."""
    (folder / "schemathesis.toml").write_text(_configuration(population))
    (folder / "crowd.json").write_bytes(msgspec.json.encode(population))
    variables = {
        "FUZZ_CROWD": str(folder / "crowd.json"),
        "FUZZ_TALLY": str(folder / "tally.json"),
        "FUZZ_ENCODINGS": "all" if LONG else "json",
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.fuzz._schemathesis",
    }
    done = subprocess.run(
        [
            *(
                str(PROGRAM),
                "--config-file",
                str(folder / "schemathesis.toml"),
                "run",
                f"{population.url}/openapi.json",
            ),
            *("--no-color", "--generation-database", "none", "--request-timeout", "40", f"--seed={SEED}", *options),
        ],
        env={**os.environ, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[done.stdout.find("= SUMMARY =") :])  # noqa: T201
    assert done.returncode == 0, done.stdout + done.stderr
    tally: dict[str, dict[str, int]] = json.loads((folder / "tally.json").read_text())
    return tally


@pytest.mark.timeout(timeout(OF_THE_OPENAPI, short=300))
def test_api_conforms_to_openapi_document(population: Population, tmp_path: Path) -> None:
    budget = ("--max-time", str(int(SECONDS * OF_THE_OPENAPI))) if LONG else ("--max-examples", "5")
    tally = _run(population, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", *budget)
    good = {operation for operation, statuses in tally.items() if any(status < "400" for status in statuses)}
    never = set(OPERATION) - good - NEVER_WELL
    # Some depend on chance: a contact request can be confirmed once, and may be blocked before; groups are left and
    # deleted.
    assert len(never) <= 14, never


@pytest.mark.timeout(timeout(OF_THE_LIMITS, short=300))
def test_rate_limits_are_documented(tmp_path: Path) -> None:
    """The same with limits: an undocumented 429 would be found."""
    with running(tmp_path, rate_limits="on", **SETTINGS) as server:
        population = gather(server.url, metrics_token=METRICS_TOKEN)
        how = ("--phases", "fuzzing", "--mode", "positive")
        tally = _run(population, tmp_path, *how, *NARROW, "--max-examples", "30")
        if LONG:
            # The drawn user may sign out or erase the account early: then no limit is certain to apply.
            _run(population, tmp_path, *how, "--max-time", str(int(SECONDS * OF_THE_LIMITS)))
    limited = {operation for operation, statuses in tally.items() if "429" in statuses}
    # The other limits depend on what was drawn; this one counts every attempt.
    assert "uploadAvatar" in limited
