"""Records the history of sent messages and their outcomes, and checks it against what clients received.

Modelled on Jepsen's queue checker. Each attempt to send a message (identified by its `client_id`) is ok, failed
(certainly without effect) or unknown. After all faults have ended and every device has read its stream to the end,
`check` compares the history with what each of them received. Every list of findings except `recovered` must be empty.

    recorder.invoke("m1", between=(ada, bob))
    recorder.ok("m1", seq=1)
    findings = check(recorder.history, views)
    assert not findings.faults, findings
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from messenger.testing.conversations import Pair


class Entry(msgspec.Struct, frozen=True):
    """An entry of the history; entries are in chronological order."""

    kind: Literal["invoke", "ok", "fail", "unknown"]
    client_id: str
    between: Pair = (0, 0)
    seq: int = 0


class Recorder:
    """Records the history of the clients of one event loop."""

    def __init__(self) -> None:
        self.history: list[Entry] = []

    def invoke(self, client_id: str, between: Pair) -> None:
        """Record the start of an attempt."""
        self.history.append(Entry("invoke", client_id, between))

    def ok(self, client_id: str, seq: int) -> None:
        """Record that the server acknowledged the message with this `seq`."""
        self.history.append(Entry("ok", client_id, seq=seq))

    def fail(self, client_id: str) -> None:
        """Record that the attempt certainly had no effect."""
        self.history.append(Entry("fail", client_id))

    def unknown(self, client_id: str) -> None:
        """Record that the outcome of the attempt is unknown."""
        self.history.append(Entry("unknown", client_id))

    def unsettled(self) -> list[str]:
        """The messages with an unknown outcome, in order; sending them again determines it."""
        return [each.client_id for each in _operations(self.history).values() if each.outcome == "unknown"]


class Heard(msgspec.Struct, frozen=True):
    """An event received by a device, or a message of a history; only messages have a `client_id`."""

    position: int = 0
    name: str = "message.created"
    between: Pair = (0, 0)
    seq: int = 0
    client_id: str = ""


class View(msgspec.Struct, frozen=True):
    """What a device received after a position of its stream, or the messages of a history, in order.

    `late`: messages were sent before it began. `ended`: it was signed out before the end. `history`: only messages,
    without positions. `left_out`: positions that may be missing, since the user has left the group that their events
    are about.
    """

    name: str
    user_id: int
    heard: tuple[Heard, ...]
    after: int = 0
    left_out: frozenset[int] = frozenset()
    late: bool = False
    ended: bool = False
    history: bool = False

    @property
    def messages(self) -> list[Heard]:
        """The created messages."""
        return [each for each in self.heard if each.client_id]

    @property
    def is_whole(self) -> bool:
        """Whether it must contain every message."""
        return not (self.late or self.ended)


class Findings(msgspec.Struct):
    """The result of `check`, a line per case. `recovered` is not a fault: unknown messages that were sent."""

    lost: list[str] = []
    duplicated: list[str] = []
    unexpected: list[str] = []
    reordered: list[str] = []
    gaps: list[str] = []
    diverged: list[str] = []
    recovered: list[str] = []
    acknowledged: int = 0
    unknown: int = 0
    failed: int = 0

    @property
    def faults(self) -> dict[str, list[str]]:
        """The faults by kind."""
        kinds = {name: getattr(self, name) for name in _FAULTS}
        return {name: found for name, found in kinds.items() if found}

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {len(getattr(self, name))}" for name in _FAULTS)
        shown = [f"  {name}: {line}" for name, found in self.faults.items() for line in found[:_SHOWN]]
        tried = f"acknowledged {self.acknowledged}, unknown {self.unknown}, failed {self.failed}"
        return "\n".join([f"{tried}; {counts}; recovered {len(self.recovered)}", *shown])


_FAULTS = ("lost", "duplicated", "unexpected", "reordered", "gaps", "diverged")
_SHOWN = 10


def check(history: Sequence[Entry], views: Sequence[View]) -> Findings:
    """Compare the history with the views, after all attempts have ended."""
    operations = _operations(history)
    findings = Findings()
    for operation in operations.values():
        findings.acknowledged += operation.outcome == "ok"
        findings.unknown += operation.outcome == "unknown"
        findings.failed += operation.outcome == "fail"
        if len(operation.seqs) > 1:
            findings.duplicated.append(f"{operation.client_id}: acknowledged as {sorted(operation.seqs)}")
    for view in views:
        _check_messages(operations, view, findings)
        _check_positions(view, findings)
    _check_time(operations, findings)
    _check_streams(views, findings)
    _check_conversations(views, findings)
    seen = {message.client_id for view in views for message in view.messages}
    findings.recovered = [
        each.client_id for each in operations.values() if each.outcome == "unknown" and each.client_id in seen
    ]
    return findings


# --- the history ----------------------------------------------------------------------------------


class _Operation(msgspec.Struct):
    """All attempts with one `client_id`. `begun`, `done`: entries of the first attempt and acknowledgement."""

    client_id: str
    between: Pair
    begun: int
    open: int = 0
    doubtful: bool = False
    done: int | None = None
    seqs: set[int] = msgspec.field(default_factory=set)

    @property
    def outcome(self) -> Literal["ok", "fail", "unknown"]:
        """ok if any attempt was acknowledged; else unknown if any attempt is unknown or has not ended; else failed."""
        if self.seqs:
            return "ok"
        return "unknown" if self.doubtful or self.open else "fail"


def _operations(history: Iterable[Entry]) -> dict[str, _Operation]:
    operations: dict[str, _Operation] = {}
    for line, entry in enumerate(history):
        operation = operations.setdefault(entry.client_id, _Operation(entry.client_id, entry.between, line))
        if entry.kind == "invoke":
            operation.open += 1
            continue
        operation.open -= 1
        operation.doubtful = operation.doubtful or entry.kind == "unknown"
        if entry.kind == "ok":
            operation.seqs.add(entry.seq)
            operation.done = line if operation.done is None else operation.done
    return operations


# --- one view -------------------------------------------------------------------------------------


def _check_messages(operations: dict[str, _Operation], view: View, findings: Findings) -> None:
    places: dict[str, Heard] = {}
    found: dict[Pair, list[Heard]] = defaultdict(list)
    for message in view.messages:
        if message.client_id in places:
            findings.duplicated.append(f"{message.client_id} twice on {view.name}")
            continue
        places[message.client_id] = message
        found[message.between].append(message)
        _check_expected(operations.get(message.client_id), message, view, findings)
    for between, messages in found.items():
        numbers = [message.seq for message in messages]
        for before, message in itertools.pairwise(messages):
            if message.seq <= before.seq:
                findings.reordered.append(f"{message.seq} after {before.seq} of {between} on {view.name}")
        if view.user_id in between:
            # A late stream can begin anywhere in the conversation.
            first = min(numbers) if view.late else 1
            _check_gap(numbers, first, f"seq of {between} on {view.name}", findings)
    if view.is_whole:
        findings.lost += [
            f"{each.client_id} ({min(each.seqs)} of {each.between}) not on {view.name}"
            for each in operations.values()
            if each.seqs and view.user_id in each.between and each.client_id not in places
        ]


def _check_expected(operation: _Operation | None, message: Heard, view: View, findings: Findings) -> None:
    if operation is None:
        findings.unexpected.append(f"{message.client_id} on {view.name}: nobody sent it")
    elif operation.outcome == "fail":
        findings.unexpected.append(f"{message.client_id} on {view.name}: it was refused")
    elif operation.between != message.between or (operation.seqs and message.seq not in operation.seqs):
        acknowledged = f"{sorted(operation.seqs)} of {operation.between}"
        findings.unexpected.append(
            f"{message.client_id} on {view.name} is {message.seq} of {message.between}, acknowledged {acknowledged}"
        )


def _check_positions(view: View, findings: Findings) -> None:
    if view.history:
        return
    positions = [each.position for each in view.heard]
    for before, position in itertools.pairwise(positions):
        if position == before:
            findings.duplicated.append(f"position {position} twice on {view.name}")
        elif position < before:
            findings.reordered.append(f"position {position} after {before} on {view.name}")
    _check_gap(positions, view.after + 1, f"positions on {view.name}", findings, but=view.left_out)


def _check_gap(
    numbers: Sequence[int], first: int, what: str, findings: Findings, *, but: frozenset[int] = frozenset()
) -> None:
    missing = sorted(set(range(first, max(numbers, default=first - 1) + 1)) - set(numbers) - but)
    if missing:
        findings.gaps.append(f"{what}: no {', '.join(map(str, missing[:_SHOWN]))} ({len(missing)} in all)")


# --- views compared with each other ------------------------------------------------------------------------


def _check_time(operations: dict[str, _Operation], findings: Findings) -> None:
    """A message that was acknowledged before another was started must have the lower `seq`."""
    groups: dict[Pair, list[_Operation]] = defaultdict(list)
    for each in operations.values():
        if each.done is not None:
            groups[each.between].append(each)
    for group in groups.values():
        ended = sorted(group, key=lambda each: each.done or 0)
        newest, at = 0, 0
        for each in sorted(group, key=lambda each: each.begun):
            while at < len(ended) and (ended[at].done or 0) < each.begun:
                newest = max(newest, *ended[at].seqs)
                at += 1
            if min(each.seqs) <= newest:
                findings.reordered.append(f"{each.client_id} is {min(each.seqs)}, but begun after {newest} was there")


def _check_streams(views: Sequence[View], findings: Findings) -> None:
    """All devices of a user must receive the same stream."""
    known: dict[tuple[int, int], tuple[Heard, str]] = {}
    for view in views:
        if view.history:
            continue
        for heard in view.heard:
            first, by = known.setdefault((view.user_id, heard.position), (heard, view.name))
            if first != heard:
                findings.diverged.append(f"position {heard.position}: {first} on {by}, {heard} on {view.name}")
    for view in views:
        ends = [other.heard[-1].position for other in views if other.user_id == view.user_id and other.heard]
        end = view.heard[-1].position if view.heard else view.after
        if not (view.history or view.ended) and end < max(ends, default=0):
            findings.diverged.append(f"{view.name} ends at {end}, its user's stream at {max(ends)}")


def _check_conversations(views: Sequence[View], findings: Findings) -> None:
    """All views must have the same message at each `seq`."""
    known: dict[tuple[Pair, int], tuple[str, str]] = {}
    for view in views:
        for message in view.messages:
            first, by = known.setdefault((message.between, message.seq), (message.client_id, view.name))
            if first != message.client_id:
                findings.diverged.append(
                    f"{message.seq} of {message.between}: {first} on {by}, {message.client_id} on {view.name}"
                )
