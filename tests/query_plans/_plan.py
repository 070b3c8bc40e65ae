"""What a PostgreSQL plan does with growing numbers of rows: read all of them, or sort them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

# Nodes that sort, group or store rows: their cost grows with their input.
_GATHERS = frozenset({"Sort", "Incremental Sort", "WindowAgg", "Hash", "Materialize", "Memoize", "SetOp", "Unique"})
_EQUALITY = re.compile(r"\(?(?:\w+\.)?(\w+)\)?(?:::\w+)? = ")
_LOOKS_AT_A_KEY = re.compile(r"(?:_id|\bid|\bkey|\bhash|_key|_hash|\bseq|\bsubject) = (?!ANY \('\{)")
_TOLD = ("Sort Key", "Group Key", "Index Cond", "Filter", "Join Filter")

Node = dict[str, Any]


class Schema(msgspec.Struct, frozen=True):
    """`unique`: the columns of each index over a whole unique key. `small`: tables that do not grow with users and what
    they write. `few`: columns of an index that yield a bounded number of rows.
    """

    unique: dict[str, frozenset[str]]
    small: frozenset[str]
    few: dict[str, frozenset[str]]


class Plan:
    """The plan of a statement, from `EXPLAIN (FORMAT JSON)`."""

    def __init__(self, root: Node, schema: Schema) -> None:
        self._root = root
        self._schema = schema
        self._named = {
            node["Subplan Name"].removeprefix("CTE "): node
            for node in _walk(root)
            if node.get("Subplan Name", "").startswith("CTE ")
        }

    def offences(self) -> list[str]:
        """What would cost more with more users, conversations or messages; each with the part of the plan."""
        return [f"{reason}:\n{draw(node)}" for node in _walk(self._root) if (reason := self._offence(node))]

    def _offence(self, node: Node) -> str | None:
        kind = node["Node Type"]
        if kind == "Seq Scan" and node["Relation Name"] not in self._schema.small:
            return f"all of {node['Relation Name']} is read"
        gathers = kind in _GATHERS or (kind == "Aggregate" and node.get("Strategy") in {"Hashed", "Sorted", "Mixed"})
        if gathers and not all(map(self._is_bounded, _inputs(node))):
            return f"{kind} of rows that no LIMIT and no whole key bounds"
        if self._looks_late(node):
            return "a key is looked at after its rows were read"
        return None

    def _is_bounded(self, node: Node) -> bool:
        """Whether a node yields no more rows than the request names: by a page's limit, by arrays, by whole keys."""
        kind = node["Node Type"]
        if kind in {"Limit", "Function Scan", "Values Scan", "WorkTable Scan"}:
            return True
        if kind == "CTE Scan":
            return self._is_bounded(self._named[node["CTE Name"]])
        if kind == "Aggregate" and node.get("Strategy") == "Plain":
            return True
        if kind == "Seq Scan":
            return node["Relation Name"] in self._schema.small
        if kind.startswith("Bitmap Heap"):
            return all(map(self._is_bounded, _inputs(node)))
        if "Index Name" in node:
            return self._finds_by_whole_key(node)
        # A result without an input is one row; other nodes pass on their input.
        inputs = _inputs(node)
        if kind == "Nested Loop" and node.get("Join Type") in {"Semi", "Anti"}:
            return self._is_bounded(inputs[0])
        return all(map(self._is_bounded, inputs))

    def _finds_by_whole_key(self, node: Node) -> bool:
        asked = set(_EQUALITY.findall(node.get("Index Cond", "")))
        keys = [
            index[node["Index Name"]]
            for index in (self._schema.unique, self._schema.few)
            if node["Index Name"] in index
        ]
        return any(columns <= asked for columns in keys)

    def _looks_late(self, node: Node) -> bool:
        """A part of a key that the index did not filter by: rows of others are read and discarded."""
        late = node.get("Filter", "") + node.get("Join Filter", "") * (node.get("Join Type") != "Anti")
        if not _LOOKS_AT_A_KEY.search(late):
            return False
        read = _inputs(node)[1] if "Join Filter" in node else node
        return not self._is_bounded(read)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def _inputs(node: Node) -> list[Node]:
    """Its children without the subplans, which run for each row separately."""
    return [child for child in node.get("Plans", []) if child["Parent Relationship"] not in {"InitPlan", "SubPlan"}]


def draw(node: Node, depth: int = 0) -> str:
    """A readable part of a plan: the operation, its table and its condition."""
    what = [node.get(name) for name in ("Node Type", "Relation Name", "Index Name", "CTE Name")]
    notes = [f" | {name}: {node[name]}" for name in _TOLD if name in node]
    line = f"{'  ' * depth}{' '.join(filter(None, what))} [{node['Plan Rows']} rows]{''.join(notes)}"
    return "\n".join([line, *(draw(child, depth + 1) for child in node.get("Plans", []))])
