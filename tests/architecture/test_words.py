"""The words of tests: phrases that say less than a plain sentence are refused in names of cases and in comments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
_PHRASES = re.compile(
    r"\b(?:that is none|none of ours|(?:a|an) \w+ of ours|of one's|one's own|whoever|for want of"
    r"|the house|once more|beforehand|who is nobody|hears? of)\b",
    re.IGNORECASE,
)


def _phrases(text: str) -> list[str]:
    return _PHRASES.findall(text)


class TestPhrases:
    def test_tests_use_plain_phrases(self) -> None:
        found = [
            f"{path.relative_to(TESTS)}: {phrase}"
            for path in sorted(TESTS.rglob("*.py"))
            if path != Path(__file__) and path.name != "test_layout_of_tests.py"
            for phrase in _phrases(path.read_text())
        ]
        assert found == []

    @pytest.mark.parametrize("text", ["an opcode that is none", "a fault of ours", "One's own devices", "whoever asks"])
    def test_unclear_phrase_is_found(self, text: str) -> None:
        assert len(_phrases(text)) == 1
