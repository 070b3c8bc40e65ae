"""Outcomes on the screen, in `build/faults`, and in the page of guarantees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec

from tests.faults._outcome import KINDS, Outcome

FOLDER = Path("build/faults")
DOCS = Path("docs/guarantees.md")
_BEGIN = "<!-- python -m tests.faults --write-docs writes from here -->"
_END = "<!-- to here -->"


def line(outcome: Outcome) -> str:
    """One outcome, with its findings and figures below."""
    found = " ".join(f"{kind} {getattr(outcome, kind)}" for kind in KINDS)
    head = (
        f"{outcome.name:20} {outcome.verdict:8} {outcome.cycles}/{outcome.asked} cycles, {outcome.operations}"
        f" operations, {outcome.acknowledged} acknowledged; {found}; recovered {outcome.recovered};"
        f" good again after {max(outcome.recovery, default=0):.2f} s, all after {max(outcome.settled, default=0):.2f} s"
        f" at worst; {outcome.seconds:.0f} s; answers {outcome.answers}"
    )
    said = [outcome.skipped, outcome.error, *outcome.findings, *outcome.problems, *outcome.notes]
    return "\n    ".join([head, *filter(None, said)])


def write(outcome: Outcome) -> None:
    """Store it; the newest outcome of each fault is kept."""
    known = {each.name: each for each in read()} | {outcome.name: outcome}
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = FOLDER / "faults.json.new"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(list(known.values()))) + b"\n")
    partial.rename(FOLDER / "faults.json")
    (FOLDER / "faults.md").write_text(tables(known.values()))


def read() -> list[Outcome]:
    """Read the stored outcomes."""
    path = FOLDER / "faults.json"
    return msgspec.json.decode(path.read_bytes(), type=list[Outcome]) if path.exists() else []


def write_docs() -> None:
    """Write the stored figures between the marks of the page."""
    page = DOCS.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCS.write_text(f"{before}{_BEGIN}\n\n{tables(read())}\n{_END}{after}")


# --- tables ---------------------------------------------------------------------------------------


def tables(outcomes: Iterable[Outcome]) -> str:
    """Faults, their figures, and controls, in Markdown."""
    outcomes = list(outcomes)
    faults = [each for each in outcomes if not each.control]
    controls = [each for each in outcomes if each.control]
    blocks = [_fault_table(faults), _notes(faults), _control_table(controls), _runs(outcomes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _fault_table(outcomes: list[Outcome]) -> str:
    head = (
        "| Fault | Tests | Cycles | Operations | Acknowledged | Lost, duplicated, unexpected, reordered, gaps, diverged"
        " | Recovered | First good send after healing, median / worst (bound), s | All senders, worst (bound), s | |\n"
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |"
    )
    return "\n".join([head, *map(_fault_row, outcomes)]) if outcomes else ""


def _fault_row(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"| `{outcome.name}`: {outcome.what} | {outcome.promise} | | | | | | | | skipped: {outcome.skipped} |"
    found = ", ".join(str(getattr(outcome, kind)) for kind in KINDS)
    middle, worst = median(outcome.recovery or [0.0]), max(outcome.recovery, default=0.0)
    return (
        f"| `{outcome.name}`: {outcome.what} | {outcome.promise} | {outcome.cycles} | {outcome.operations:,}"
        f" | {outcome.acknowledged:,} | {found} | {outcome.recovered}"
        f" | {middle:.2f} / {worst:.2f} ({outcome.recovery_bound:g})"
        f" | {max(outcome.settled, default=0.0):.2f} ({outcome.settled_bound:g}) | {outcome.verdict} |"
    )


def _notes(outcomes: list[Outcome]) -> str:
    lines = [f"- `{each.name}`: {each.notes[-1]}" for each in outcomes if each.notes]
    return "\n".join(["What some of them measured, in their last cycle:", "", *lines]) if lines else ""


def _control_table(outcomes: list[Outcome]) -> str:
    if not outcomes:
        return ""
    head = "| Control | Acknowledged | Must be found | Found | |\n| --- | ---: | --- | ---: | --- |"
    rows = [
        f"| `{each.name}`: {each.what} | {each.acknowledged:,} | {each.control} | {getattr(each, each.control)}"
        f" | {each.verdict} |"
        for each in outcomes
    ]
    return "\n".join([head, *rows])


def _runs(outcomes: list[Outcome]) -> str:
    seeds: dict[str, list[Outcome]] = {}
    for each in outcomes:
        seeds.setdefault(each.seed, []).append(each)
    runs = [
        f"`{seed}` ({min(each.at for each in found)} UTC, {sum(each.seconds for each in found) / 60:.0f} minutes)"
        for seed, found in seeds.items()
    ]
    return f"Seeds: {', '.join(runs)}." if runs else ""
