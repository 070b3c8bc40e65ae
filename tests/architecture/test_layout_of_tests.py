"""The tests: names that explain a line of a CI log, folders that are listed and do not import each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tests

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


class TestFolders:
    def test_every_folder_is_listed_once(self) -> None:
        assert tests.__doc__ is not None
        listed = re.findall(r"^- `(\w+)`: [^\n]+\.$", tests.__doc__, re.MULTILINE)
        assert listed == sorted(path.parent.name for path in TESTS.glob("*/__init__.py"))

    def test_folders_import_each_other_only_through_support(self) -> None:
        foreign = [
            f"{path.relative_to(TESTS)}: {module}"
            for path in sorted(TESTS.glob("*/**/*.py"))
            for module in _foreign_modules(path.read_text(), path.relative_to(TESTS).parts[0])
        ]
        assert foreign == []

    def test_import_from_other_folder_is_found(self) -> None:
        source = "from tests.realtime._poison import POISON\nfrom tests import faults\nimport tests.media._a\n"
        assert _foreign_modules(source, "services") == [
            "tests.realtime._poison",
            "tests.faults",
            "tests.media._a",
        ]

    def test_import_from_support_and_own_folder_is_allowed(self) -> None:
        source = "from tests.support.http import client_of\nfrom tests.services._messages import draft_to\n"
        assert _foreign_modules(source, "services") == []


def _foreign_modules(source: str, folder: str) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "tests":
            modules += [f"tests.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    allowed = {folder, "support"}
    return [module for module in modules if module.startswith("tests.") and module.split(".")[1] not in allowed]


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
