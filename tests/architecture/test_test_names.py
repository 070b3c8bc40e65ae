"""Names of tests: each states a subject and what it does, so that a line of a CI log explains itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# fmt: off
PRONOUNS = frozenset({
    "it", "its", "itself", "one", "ones", "oneself", "that", "those", "this", "these", "such", "who", "whom",
    "whose", "whoever", "he", "she", "him", "his", "her", "they", "them", "their", "theirs", "themselves",
    "another", "others", "somebody", "someone", "anybody", "anyone", "nobody", "nothing", "none",
})
# fmt: on
# A name that begins with one of these has no subject.
# fmt: off
WITHOUT_SUBJECT = frozenset({
    "is", "are", "was", "were", "has", "have", "had", "does", "did", "can", "may", "will", "of", "to", "so", "nor",
    "and", "but", "or", "in", "at", "by", "on", "for", "from", "with", "without", "while", "when", "where", "if",
})
# fmt: on


class TestTestNames:
    def test_every_test_name_states_subject_and_verb(self) -> None:
        offences = [
            f"{path.relative_to(TESTS)}: {offence}"
            for path in sorted(TESTS.rglob("test_*.py"))
            for offence in _offences(path.read_text())
        ]
        assert offences == []

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("test_it_ends_with_the_stream", "the pronoun 'it'"),
            ("test_nobody_is_refused", "the pronoun 'nobody'"),
            ("test_is_refused_at_once", "no subject"),
            ("test_of_two_at_once_the_first_wins", "no subject"),
            ("test_good_password", "fewer than three words"),
        ],
    )
    def test_unclear_test_name_is_reported(self, name: str, reason: str) -> None:
        assert _offences(f"class TestStream:\n    async def {name}(self) -> None: ...\n") == [f"{name}: {reason}"]

    def test_clear_test_name_is_accepted(self) -> None:
        assert _offences("def test_resync_restarts_stream_at_cursor() -> None: ...\n") == []


def _offences(source: str) -> list[str]:
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    names = [node.name for node in functions if node.name.startswith("test_")]
    return [f"{name}: {reason}" for name in names if (reason := _reason(name.split("_")[1:])) is not None]


def _reason(words: list[str]) -> str | None:
    if len(words) < 3:
        return "fewer than three words"
    if words[0] in WITHOUT_SUBJECT:
        return "no subject"
    return next((f"the pronoun {word!r}" for word in words if word in PRONOUNS), None)
