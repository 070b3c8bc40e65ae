"""The table of failures and the page of threats are complete, and name only existing tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.known_failures.registry import PAGE, REGISTRY, ROOT, written

NODE = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)*)`")
PAGES = (PAGE, ROOT / "SECURITY.md")


def test_every_known_failure_has_registry_row() -> None:
    assert sorted(each for failure in REGISTRY.failures for each in failure.ids) == sorted(REGISTRY.known)
    assert len(REGISTRY.known) >= 50


def test_every_row_is_tested_or_explained() -> None:
    assert [failure.peer for failure in REGISTRY.failures if not failure.tests and not failure.why] == ["Tinode"]


def test_names_contain_failure_ids() -> None:
    """The id leads from an advisory to its test, and from a test to its advisory."""
    for failure in REGISTRY.failures:
        names = [each.lower().replace("-", "_").replace(" ", "_").replace(".", "_") for each in failure.ids]
        for test in failure.tests:
            if test.startswith("known_failures/") and "test_supply" not in test:
                assert any(name in test for name in names), test


def test_security_page_shows_registry_table() -> None:
    """Updated by `.venv/bin/python -m tests.known_failures.registry`."""
    page = PAGE.read_text()
    assert page == written(page)


def _is_there(node: str) -> bool:
    """Whether pytest would find a test, a class or a file by this node id."""
    path, *names = node.split("::")
    if not (ROOT / path).is_file() or not Path(path).name.startswith("test_"):
        return False
    found: ast.AST = _parsed(path)
    for name in names:
        inner = [
            each
            for each in ast.iter_child_nodes(found)
            if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and each.name == name
            and name.startswith("Test" if isinstance(each, ast.ClassDef) else "test_")
        ]
        if not inner:
            return False
        found = inner[0]
    return True


@cache
def _parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def test_every_referenced_test_exists() -> None:
    named = {f"tests/{test}" for failure in REGISTRY.failures for test in failure.tests}
    for page in PAGES:
        named |= set(NODE.findall(page.read_text()))
    assert len(named) > 80
    assert sorted(node for node in named if not _is_there(node)) == []


def test_every_threat_references_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|.*$", PAGE.read_text(), re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 29))
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| \d+ \|", line):
            assert NODE.search(line), line


def test_links_of_security_page_resolve() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
