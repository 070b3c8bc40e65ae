"""The outcome of a fault's run."""

from __future__ import annotations

from collections import Counter

import msgspec

from messenger.testing.recorder import Findings

KINDS = ("lost", "duplicated", "unexpected", "reordered", "gaps", "diverged")
"""What the checker may find; each must be none."""


class Outcome(msgspec.Struct, kw_only=True):
    """One fault over several cycles. Times are in seconds. `error`: why it broke off. `skipped`: what the machine lacks
    for it.
    """

    name: str
    promise: str
    what: str
    seed: str
    at: str
    """When it began, UTC."""
    asked: int
    """Cycles that were asked for."""
    recovery_bound: float
    settled_bound: float
    cycles: int = 0
    recovery: list[float] = []
    """From the healing to the first good send, in each cycle."""
    settled: list[float] = []
    """From the healing until each sender had one."""
    operations: int = 0
    """Attempts to send, by all."""
    acknowledged: int = 0
    unknown: int = 0
    lost: int = 0
    duplicated: int = 0
    unexpected: int = 0
    reordered: int = 0
    gaps: int = 0
    diverged: int = 0
    recovered: int = 0
    """Unknown when it ended, and there all the same: no fault."""
    repeats: int = 0
    """Events repeated after a reconnect with the same cursor, which clients drop."""
    answers: dict[int, int] = {}
    """Of the attempts over bare HTTP, by status; 0: none came."""
    findings: list[str] = []
    problems: list[str] = []
    notes: list[str] = []
    """What the fault measured, a line a cycle."""
    control: str = ""
    """A negative control: the kind of finding that must be there."""
    error: str = ""
    skipped: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether all guarantees hold; for a control, whether it found what it must."""
        if self.control:
            return bool(getattr(self, self.control)) and not self.error
        whole = self.cycles == self.asked and not (self.error or self.skipped or self.problems)
        return whole and not any(getattr(self, kind) for kind in KINDS) and not self.late

    @property
    def late(self) -> bool:
        """Whether recovery took longer than guaranteed."""
        return max(self.recovery, default=0.0) > self.recovery_bound or max(self.settled, default=0.0) > (
            self.settled_bound
        )

    @property
    def verdict(self) -> str:
        """The outcome in one word."""
        if self.skipped:
            return "SKIPPED"
        return "good" if self.good else "FAILED"

    def store(self, findings: Findings, statuses: Counter[int], attempts: int, repeats: int) -> None:
        """The findings so far."""
        for kind in KINDS:
            # A message missing on four devices is one lost message.
            setattr(self, kind, len({line.split()[0].rstrip(":") for line in getattr(findings, kind)}))
        self.findings = [f"{kind}: {line}" for kind, lines in findings.faults.items() for line in lines[:5]]
        self.acknowledged, self.unknown = findings.acknowledged, findings.unknown
        self.recovered = len(findings.recovered)
        self.operations, self.repeats = attempts, repeats
        self.answers = dict(sorted(statuses.items()))
