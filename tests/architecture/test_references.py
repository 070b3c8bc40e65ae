"""The repository is self-contained: pages, sources and tests only refer to what is in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pages of the project are in `docs/` or have a name in capitals; other names are files that a program writes.
_PAGE = re.compile(r"(?<![\w/.-])((?:docs/[\w/-]+|[A-Z][A-Z_]+)\.md)\b")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_ISSUE = re.compile(r"\bissues? #?\d+\b", re.IGNORECASE)


def _texts() -> dict[Path, str]:
    """Versioned text files."""
    named = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    kinds = {".py", ".md", ".js", ".sql", ".toml", ".yaml"}
    return {ROOT / name: (ROOT / name).read_text() for name in named if Path(name).suffix in kinds}


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git checkout")
    return {path: text for path, text in _texts().items() if path != Path(__file__)}


class TestReferences:
    def test_referenced_pages_exist(self, texts: dict[Path, str]) -> None:
        missing = [
            f"{path.relative_to(ROOT)}: {page}"
            for path, text in texts.items()
            for page in _PAGE.findall(text)
            if not any((folder / page).exists() for folder in (ROOT, ROOT / "docs", path.parent))
        ]
        assert missing == []

    def test_links_between_pages_resolve(self, texts: dict[Path, str]) -> None:
        missing = [
            f"{path.relative_to(ROOT)}: {target}"
            for path, text in texts.items()
            if path.suffix == ".md"
            for target in _LINK.findall(text)
            if not (path.parent / target).exists()
        ]
        assert missing == []

    def test_issues_are_not_referenced_by_number(self, texts: dict[Path, str]) -> None:
        named = [f"{path.relative_to(ROOT)}: {each}" for path, text in texts.items() for each in _ISSUE.findall(text)]
        assert named == []
