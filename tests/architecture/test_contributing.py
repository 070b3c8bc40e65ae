"""The example in CONTRIBUTING.md uses files and names that exist."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
# The info string of a block names the file that the code is added to, or `new` and the file that it is.
BLOCKS = re.findall(r"^```python (new |)(\S+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
CODE = "\n".join(textwrap.dedent(body) for _, _, body in BLOCKS)
TREE = ast.parse(CODE.replace("from __future__ import annotations", ""))


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Every word of the sources, the migrations and the tests."""
    files = [file for folder in ("src", "migrations", "tests") for file in (ROOT / folder).rglob("*.py")]
    return {word for file in files if file != Path(__file__) for word in re.findall(r"\w+", file.read_text())}


def _defined() -> set[str]:
    """Names that the example itself defines."""
    return {node.name for node in ast.walk(TREE) if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)} | {
        node.id for node in ast.walk(TREE) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


class TestExample:
    def test_extended_files_exist_and_new_files_do_not(self) -> None:
        assert len(BLOCKS) >= 8
        for new, path, _ in BLOCKS:
            assert (ROOT / path).exists() == (not new), path
            assert (ROOT / path).parent.is_dir(), path

    def test_names_of_example_exist_in_sources(self, words: set[str]) -> None:
        used = {node.attr for node in ast.walk(TREE) if isinstance(node, ast.Attribute)}
        used |= {node.id for node in ast.walk(TREE) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        used |= {node.arg for node in ast.walk(TREE) if isinstance(node, ast.keyword) and node.arg is not None}
        assert sorted(used - _defined() - words) == []

    def test_attributes_of_extended_classes_exist_in_files(self) -> None:
        for new, path, body in BLOCKS:
            own = [] if new else re.findall(r"\bself\.(\w+)", body)
            assert [name for name in own if name not in (ROOT / path).read_text() and name != "_run"] == [], path

    def test_imports_of_example_resolve(self) -> None:
        defined = _defined()
        for node in ast.walk(TREE):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert set(missing) <= defined, node.module

    def test_named_tables_of_tests_exist(self) -> None:
        rows = re.findall(r"^\| `(tests/\S+\.py)` \| `(\w+)`", TEXT, re.MULTILINE)
        assert len(rows) == 3
        for path, table in rows:
            assert re.search(rf"^{table}\b", (ROOT / path).read_text(), re.MULTILINE), (path, table)
