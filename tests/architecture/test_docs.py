"""Generated pages match the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import docs  # noqa: E402

from messenger import errors  # noqa: E402
from messenger.errors import groups  # noqa: E402


@pytest.mark.parametrize("name", docs.PAGES)
def test_generated_page_matches_code(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == docs.PAGES[name]()


def test_readme_links_resolve() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`?make ([a-z][a-z-]*)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


class TestErrorPage:
    def test_error_page_lists_every_documented_code(self) -> None:
        codes = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
        assert {error.code for error in docs.error_classes()} == codes

    def test_every_code_belongs_to_single_class(self) -> None:
        codes = [error.code for error in docs.error_classes()]
        assert sorted(codes) == sorted(set(codes))

    def test_error_trees_in_docstrings_match_classes(self) -> None:
        drawn, (_, tree) = {}, f"{errors.__doc__}{groups.__doc__}".split("`MessengerError`:")
        for status, name, children in re.findall(r"\b(\d{3}) (\w+)(?:: (\w+(?:, \w+)*))?", tree):
            for child in (name, *filter(None, children.split(", "))):
                drawn[child] = (int(status), "MessengerError" if child == name else name)
        assert drawn == {
            error.__name__: (error.status, error.__base__.__name__ if error.__base__ else "")
            for error in docs.error_classes()
            if error is not errors.MessengerError
        }


class TestDecisions:
    @pytest.mark.parametrize(
        "page", sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")), ids=lambda page: page.stem
    )
    def test_page_has_the_common_form(self, page: Path) -> None:
        headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"]
