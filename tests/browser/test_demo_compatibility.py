"""The demo in the oldest browsers that `docs/demo.md` names. All other browser tests run without newer APIs, too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import messenger
from tests.browser._oldest import NEWER, USED_BY_PLAYWRIGHT
from tests.browser.conftest import Sit

FOLDER = Path(messenger.__file__).parent / "demo"
# The page works without these: scrollbars are wider, a backdrop isn't blurred, a field can't be dragged to be higher,
# a number isn't selected whole by one click.
OPTIONAL = {"scrollbar-width:", "backdrop-filter:", "overflow-anchor:", "resize:", "user-select:"}
# Regular expression flag v, lookbehind, `using`, decorators, import attributes.
NEWER_SYNTAX = re.compile(
    r"/[dgimsuy]*v[dgimsuy]*[;,.)\s]|\(\?<[=!]|\busing \w+ =|^\s*@\w+|\bwith \{ type:", re.MULTILINE
)


def styles_of(text: str) -> set[str]:
    """The properties, pseudo-classes and at-rules of a style sheet."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    selectors = set(re.findall(r"(?<=[\w\]).*>~+ \n:])::?([a-z-]+)", re.sub(r"\{[^{}]*\}", "{}", text)))
    return {
        *re.findall(r"(?<=[{;\s])[a-z-]+:(?=\s)", text),
        *(f":{name}" for name in selectors),
        *re.findall(r"@[a-z-]+", text),
    }


class TestOldestBrowser:
    async def test_removed_apis_are_absent_from_the_tab(self, sit: Sit) -> None:
        tab = await sit()
        absent = "[typeof Promise.withResolvers, typeof [].toSorted, typeof Element.prototype.checkVisibility]"
        assert await tab.page.evaluate(absent) == ["undefined"] * 3
        assert await tab.page.evaluate("typeof Promise.allSettled") == "function"

    @pytest.mark.parametrize("path", sorted(FOLDER.glob("*.css")), ids=lambda path: path.name)
    def test_styles_are_old_enough(self, path: Path) -> None:
        used = styles_of(path.read_text())
        assert {"display:", "@media", ":hover"} <= used
        assert (used & set(NEWER)) - OPTIONAL == set()

    def test_newer_styles_are_recognized(self) -> None:
        sheet = (
            "a:has(b) { content-visibility: auto; } p { field-sizing: content; } @scope (a) { b:dir(rtl) { top: 0; } }"
        )
        assert styles_of(sheet) & set(NEWER) == {":has", "content-visibility:", "field-sizing:", "@scope", ":dir"}

    @pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
    def test_syntax_is_old_enough(self, path: Path) -> None:
        assert NEWER_SYNTAX.findall(path.read_text()) == []
        assert [name for name in USED_BY_PLAYWRIGHT if name in path.read_text()] == []
