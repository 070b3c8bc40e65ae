"""How the terminal chat displays other users' text."""

from __future__ import annotations

import pytest

from messenger.chat.words import shown, shown_line

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
TEXAS = "\U0001f3f4\U000e0075\U000e0073\U000e0074\U000e0078\U000e007f"
PIRATES = "\U0001f3f4\u200d\u2620\ufe0f"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


class TestShown:
    @pytest.mark.parametrize("text", [SCOTLAND, f"a{SCOTLAND}{TEXAS}b", FAMILY, PIRATES])
    def test_emoji_sequences_are_kept(self, text: str) -> None:
        assert shown(text) == text
        assert shown_line(f" {text} ") == text

    @pytest.mark.parametrize(
        "text",
        [
            SCOTLAND[1:],
            SCOTLAND[:-1],
            "\U0001f600" + SCOTLAND[1:],
            "\U0001f3f4\U000e007f",
            "\U0001f3f4" + "\U000e0061" * 7 + "\U000e007f",
            "\U0001f3f4\U000e0001\U000e0067\U000e0062\U000e007f",
        ],
        ids=["no base", "no end", "other base", "no tags", "too long", "language tag"],
    )
    def test_tags_outside_a_flag_are_replaced(self, text: str) -> None:
        shown_text = shown(text)
        assert len(shown_text) == len(text)
        assert not any("\U000e0000" <= character <= "\U000e007f" for character in shown_text)

    @pytest.mark.parametrize("text", ["\u0660\u06dd", "\u0605\u0661"])
    def test_visible_format_characters_are_kept(self, text: str) -> None:
        assert shown(text) == text

    @pytest.mark.parametrize("hidden", ["\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u200f", "\ufeff", "\ue000"])
    def test_control_and_direction_characters_are_replaced(self, hidden: str) -> None:
        assert shown(f"a{hidden}b") == "a�b"
