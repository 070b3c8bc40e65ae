"""The glossary stays short, and defines only terms that the project uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
TERMS = re.findall(r"^\| (?!term \||---)([^|]+?) \|", GLOSSARY.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def prose() -> str:
    """The sources and pages other than the glossary, in lower case and without line breaks."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    text = "\n".join(file.read_text() for file in files if file != GLOSSARY)
    return re.sub(r"[\s_-]+", " ", text).lower()


class TestGlossary:
    def test_glossary_has_at_most_forty_terms(self) -> None:
        assert 0 < len(TERMS) <= 40

    def test_terms_are_sorted_and_unique(self) -> None:
        assert sorted(set(TERMS)) == TERMS

    @pytest.mark.parametrize("term", TERMS)
    def test_term_is_used_in_the_project(self, term: str, prose: str) -> None:
        plain = re.sub(r"[\s_-]+", " ", term).lower()
        assert re.search(rf"(?<!\w){re.escape(plain)}(s|es)?(?!\w)", prose)
