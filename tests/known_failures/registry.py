"""Failures of other projects, from `failures.toml`; as a program, writes their table into `docs/security.md`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
_SECTION = re.compile(r"(<!-- peers:begin -->\n).*?(<!-- peers:end -->)", re.DOTALL)


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happened to a project. `tests`: node ids below `tests/`; `why`: why it cannot happen here."""

    peer: str
    ids: tuple[str, ...]
    what: str
    tests: tuple[str, ...] = ()
    why: str = ""


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`known`: the ids that must have a failure."""

    known: tuple[str, ...]
    failures: tuple[Failure, ...]


REGISTRY = msgspec.convert(tomllib.loads((Path(__file__).parent / "failures.toml").read_text()), Registry)


def table() -> str:
    """The table as `docs/security.md` shows it."""
    lines = ["| who | what happened | what we test |", "| --- | --- | --- |"]
    for failure in REGISTRY.failures:
        who = f"{failure.peer}: {', '.join(failure.ids)}" if failure.ids else failure.peer
        tests = [f"`tests/{test}`" for test in failure.tests]
        cell = "<br>".join([failure.why, *tests] if failure.why else tests)
        lines.append(f"| {who} | {failure.what} | {cell} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the current table."""
    return _SECTION.sub(lambda found: found[1] + table() + found[2], page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
