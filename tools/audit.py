"""Ask for known vulnerabilities of the locked versions, with pip-audit. Where nobody can be asked, say so, and pass.

    python tools/audit.py REQUIREMENTS

Ends with 1 where a locked version has an advisory. The advisories come over the machine's package index
(`/pypi/NAME/VERSION/json`), which a mirror need not have.
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
!!! Whether the {count} locked versions have known vulnerabilities is not known. Run `make audit` where the
!!! package index tells of advisories.
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
    """What pip-audit says of each package; None where it could not ask at all."""
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
    """The advisories, a line each; and the packages that nobody knew."""
    advisories = [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'none'}"
        for package in told
        for each in package.get("vulns", ())
    ]
    return advisories, [package["name"] for package in told if "skip_reason" in package]


def main(requirements: Path) -> int:
    """Ask for one package first: an index that tells of none is asked no more."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as probe:
        probe.write(first_of(requirements.read_text()))
        probe.flush()
        tried = ask(Path(probe.name))
    count = requirements.read_text().count("==")
    if not tried or verdict(tried)[1]:
        print(UNANSWERED.format(why="the package index tells of no advisories here", count=count))
        return 0
    told = ask(requirements)
    if told is None:
        print(UNANSWERED.format(why="pip-audit failed", count=count))
        return 0
    advisories, unknown = verdict(told)
    if unknown:
        print(UNANSWERED.format(why=f"nobody knew {', '.join(unknown)}", count=len(unknown)))
    print("\n".join(advisories) or f"no known vulnerabilities in {len(told) - len(unknown)} locked versions")
    return 1 if advisories else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
