"""Check the locked versions for known vulnerabilities with pip-audit. Without a source of advisories, warn and pass.

    python tools/audit.py REQUIREMENTS

Exits with 1 if a locked version has an advisory. Advisories are read from the package index of the machine
(`/pypi/NAME/VERSION/json`); a mirror may not have them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / ".venv/checks/bin/pip-audit"
SECONDS = 600
UNANSWERED = """
!!! NOT AUDITED: {why}.
!!! The {count} locked versions were not checked for known vulnerabilities. Run `make audit` with a package
!!! index that has advisories.
"""


def first_of(requirements: str) -> str:
    """The first requirement of a file, with its hashes."""
    lines: list[str] = []
    for line in requirements.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
            if not line.endswith("\\"):
                break
    return "\n".join(lines) + "\n"


def ask(requirements: Path) -> list[dict[str, Any]] | None:
    """The result of pip-audit for each package; None if it could not reach the index."""
    done = subprocess.run(
        [
            *(str(PROGRAM), "--requirement", str(requirements), "--require-hashes", "--disable-pip"),
            *("--vulnerability-service", "pypi", "--format", "json", "--progress-spinner", "off", "--timeout", "15"),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    try:
        told: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(done.stderr[-2000:])
        return None
    return told


def verdict(told: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The advisories, one per line, and the packages that the index does not know."""
    advisories = [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'none'}"
        for package in told
        for each in package.get("vulns", ())
    ]
    return advisories, [package["name"] for package in told if "skip_reason" in package]


def main(requirements: Path) -> int:
    """Check one package first: if the index has no advisories, the others are not checked."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as probe:
        probe.write(first_of(requirements.read_text()))
        probe.flush()
        tried = ask(Path(probe.name))
    count = requirements.read_text().count("==")
    if not tried or verdict(tried)[1]:
        print(UNANSWERED.format(why="the package index has no advisories", count=count))
        return 0
    told = ask(requirements)
    if told is None:
        print(UNANSWERED.format(why="pip-audit failed", count=count))
        return 0
    advisories, unknown = verdict(told)
    if unknown:
        print(UNANSWERED.format(why=f"the index does not know {', '.join(unknown)}", count=len(unknown)))
    print("\n".join(advisories) or f"no known vulnerabilities in {len(told) - len(unknown)} locked versions")
    return 1 if advisories else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
