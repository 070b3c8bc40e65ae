"""Passwords that are too easy to guess, and those that are not."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messenger.errors import FieldError, PasswordWeak
from messenger.security.passwords import common_passwords, ensure_strong

GOOD = "correct horse battery staple"


def refusal(password: str, **options: Any) -> PasswordWeak:
    with pytest.raises(PasswordWeak) as caught:
        ensure_strong(password, **options)
    return caught.value


ANNA = ("anna_l", "Anna Lindqvist")


class TestEnsureStrong:
    @pytest.mark.parametrize(
        "password",
        [
            GOOD,
            "annexation of the moon",
            "hello big hello big wide world",
            "日本語のとても長い合言葉なのです",
            "трикотаж жеребёнок",
            "🦊🐢🌵🚲🎻🧭🌋🍋🪁🛶🧵🎲🔭🪴🧊",
            "x7#kQ!m2vR9&tLp",
            "a b c d e f g h i j",
            "\0a rather long one",
            " " + GOOD + " ",
        ],
    )
    def test_strong_password_is_accepted(self, password: str) -> None:
        ensure_strong(password, personal=ANNA)

    @pytest.mark.parametrize(
        ("code", "password"),
        [
            ("too_short", ""),
            ("too_short", "x7#kQ!m2vR9&tL"),
            ("too_long", "ab" * 512 + "c"),
            ("too_long", "\ufdfa" * 60),
            ("too_common", "q1w2e3r4t5y6u7i8"),
            ("too_common", "Q1W2E3R4T5Y6U7I8"),
            ("too_common", "momsanaladventure"),
            ("too_repetitive", "aaaaaaaaaaaaaaaa"),
            ("too_repetitive", "abcabcabcabcabca"),
            ("too_repetitive", "abcdefghabcdefg"),
            ("too_repetitive", "x7#kQ!m2x7#kQ!m2"),
            ("too_repetitive", "lo lo lo lo lo lo"),
            ("too_repetitive", "password1password1"),
            ("too_repetitive", "Password-password-PASSWORD"),
            ("too_repetitive", "1234567890123456"),
            ("too_repetitive", "9876543210987654"),
            ("too_repetitive", "abcdefghijklmnop"),
            ("too_repetitive", "ponmlkjihgfedcba"),
            ("too_repetitive", "qwertyuiopasdfgh"),
            ("too_repetitive", "mnbvcxzlkjhgfdsa"),
            ("too_repetitive", "1qaz2wsx3edc4rfv5tgb"),
            ("too_repetitive", "aaaaabbbbbcccccd"),
            ("too_repetitive", "abcd4321efgh8765"),
            ("too_repetitive", "абвгдежзийклмноп"),
            ("too_personal", "anna_lindqvist1"),
            ("too_personal", "AnnaLindqvist2024!"),
            ("too_personal", "lindqvist-lindqvist-1"),
            ("too_personal", "2024anna_l2024xxxx"),
            ("too_personal", "messenger!messenger1"),
            ("too_personal", "annamessenger-2026"),
            ("invalid_characters", "a rather long one \udc80"),
        ],
    )
    def test_weak_password_is_refused_with_code(self, code: str, password: str) -> None:
        error = refusal(password, personal=ANNA)
        assert error.errors == (FieldError("password", code, error.detail),)
        assert (error.status, error.code) == (422, "password_weak")

    @pytest.mark.parametrize(
        "password",
        [
            pytest.param("n\u0303o p\u0323la\u0308te e\u0301t", id="decomposed letters"),
            pytest.param("\ufdfa", id="a ligature that stands for eighteen letters"),
            pytest.param("\ufb03x7#kQ!m2vR9&", id="a ligature that stands for three letters"),
        ],
    )
    def test_password_length_is_counted_in_nfc(self, password: str) -> None:
        assert refusal(password).errors[0].code == "too_short"

    def test_ligature_counts_as_single_character(self) -> None:
        ensure_strong("\ufb03x7#kQ!m2vR9&zw", minimum=15)

    def test_minimum_length_is_configurable(self) -> None:
        ensure_strong("x7#kQ!m2", minimum=8)
        assert refusal("password", minimum=8).errors[0].code == "too_common"
        assert "20 characters" in refusal("x7#kQ!m2vR9&tLp", minimum=20).detail

    def test_field_name_is_configurable(self) -> None:
        assert refusal("short", field="new_password").errors[0].field == "new_password"

    def test_short_and_empty_names_are_ignored(self) -> None:
        ensure_strong("jo walked to the lake", personal=("jo", "", "--", "J O"))

    def test_password_is_not_repeated_in_the_error(self) -> None:
        for password in ("hunter2", "hunter2hunter2hunter2", "hunter2messenger00"):
            assert "hunter2" not in str(refusal(password, personal=("hunter2",)))

    @given(st.text(alphabet=st.characters(), max_size=1100), st.lists(st.text(alphabet=st.characters()), max_size=3))
    def test_arbitrary_text_is_accepted_or_refused(self, password: str, personal: list[str]) -> None:
        assert outcome(password, personal=personal) in CODES

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
    def test_unicode_form_does_not_change_strength(self, password: str) -> None:
        assert len({outcome(unicodedata.normalize(form, password)) for form in ("NFC", "NFD")}) == 1


CODES = {
    "good",
    "invalid_characters",
    "too_common",
    "too_long",
    "too_personal",
    "too_repetitive",
    "too_short",
}


def outcome(password: str, **options: Any) -> str:
    try:
        ensure_strong(password, **options)
    except PasswordWeak as error:
        return error.errors[0].code
    return "good"


class TestCommonPasswords:
    def test_list_holds_most_used_passwords_casefolded(self) -> None:
        words = common_passwords()
        assert len(words) == 30_000
        assert {"123456", "password", "qwertyuiop"} <= words
        assert all(word == word.casefold() for word in words)

    def test_common_passwords_are_loaded_lazily_without_zxcvbn(self) -> None:
        script = (
            "import sys; from messenger.security.passwords import common_passwords as common;"
            "assert common.cache_info().misses == 0;"
            "common(); sys.exit(any(name.startswith('zxcvbn') for name in sys.modules))"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
