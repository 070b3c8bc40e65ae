"""Records changes of groups and their outcomes, and what the database may have after them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

Outcome = Literal["ok", "fail", "unknown"]
Kind = Literal["create", "join", "leave", "remove", "ban", "unban", "rename"]

MEMBERSHIP: Mapping[str, bool] = {"create": True, "join": True, "leave": False, "remove": False, "ban": False}
"""Whether the user is a member after a change."""
BAN: Mapping[str, bool] = {"ban": True, "unban": False}
"""Whether the user is banned after a change."""


class Change(msgspec.Struct):
    """One attempt. `began`, `ended`: its place among the others; one whose outcome is unknown may still happen."""

    kind: Kind
    group_id: int
    user_id: int
    began: int
    ended: float = math.inf
    outcome: Outcome = "unknown"
    name: str = ""
    """The name that a group is given; no other change gives the same."""


class ChangeRecorder:
    """The changes of a run. `links`: the most uses of every link whose token somebody has, by group and link."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.links: dict[int, dict[str, int]] = defaultdict(dict)
        self.versions: dict[int, int] = defaultdict(int)
        """The highest version of each group that was acknowledged."""
        self._at = 0

    def begin(self, kind: Kind, group_id: int, user_id: int, *, name: str = "") -> Change:
        """Record the start of an attempt; until it is ended, its outcome is unknown."""
        self._at += 1
        change = Change(kind, group_id, user_id, self._at, name=name)
        self.changes.append(change)
        return change

    def end(self, change: Change, outcome: Outcome) -> None:
        """Record the outcome of an attempt."""
        change.outcome = outcome
        if outcome != "unknown":
            self._at += 1
            change.ended = self._at

    def acknowledge(self, group_id: int, version: int) -> None:
        """A response has shown this version of a group."""
        self.versions[group_id] = max(self.versions[group_id], version)

    def by_membership(self) -> Iterator[tuple[tuple[int, int], list[Change]]]:
        """The changes of each group and user."""
        found: dict[tuple[int, int], list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.group_id, change.user_id].append(change)
        yield from found.items()


def possible(changes: Sequence[Change], effects: Mapping[str, bool]) -> set[bool]:
    """What may hold after these changes of one user in one group: the effect of each that no acknowledged change has
    replaced for sure. At first nobody is a member, or banned.
    """
    known = [each for each in changes if each.kind in effects and each.outcome != "fail"]
    sure = [each for each in known if each.outcome == "ok"]
    values = {effects[each.kind] for each in known if not any(other.began > each.ended for other in sure)}
    return values if sure else {*values, False}
