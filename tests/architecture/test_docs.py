"""Pages that say what the code says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import docs  # noqa: E402


@pytest.mark.parametrize("name", docs.PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == docs.PAGES[name]()


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z][a-z-]*)", (ROOT / "README.md").read_text()):
        assert f"\n{target}:" in makefile, target
