"""Names and texts that users see."""

from __future__ import annotations

import re
import unicodedata

from messenger.errors import FieldError, ValidationFailed

MAX_LENGTH = 64

ABOUT_LENGTH, STATUS_LENGTH, REQUEST_LENGTH = 500, 140, 500

# Normalizing long runs of combining marks takes quadratic time, so the input is limited, here and in `clean_text`: a
# character of NFC has at most four code points before composition.
_MAX_DEVICE_NAME = 1024

_CONTROLS = frozenset({"Cc", "Cf", "Zl", "Zp"})
# Cf includes the bidirectional overrides, which can make one name look like another. It also includes joiners, which
# are needed, and the visible signs before Arabic, Syriac and Kaithi numbers (Prepended_Concatenation_Mark).
_ALLOWED_FORMAT = frozenset(
    "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
_INVISIBLE = frozenset({"Mn", "Me", "Mc", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn", "Cs"})
# Letters and symbols by their category, blank on every screen: Hangul fillers and the empty Braille pattern.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")

# Flags of subdivisions, such as Scotland's: a black flag, the letters and digits of the code, a terminator (UTS 51).
_FLAG = "\U0001f3f4"
_SUBDIVISION_FLAG = re.compile(f"{_FLAG}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,7}}\U000e007f")
_CUT_FLAG = re.compile(f"{_FLAG}[\U000e0020-\U000e007e]*\\Z")

# Everything except white space, controls, Default_Ignorable characters, and blank letters.
_VISIBLE = re.compile(
    "[^\\s\\x00-\\x1f\\x7f-\\xa0\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def clean_name(text: str, *, limit: int = MAX_LENGTH, field: str = "name") -> str:
    """A name in one line: NFC, trimmed, with a visible character. Raises `ValidationFailed`."""
    cleaned = clean_text(text.strip(), limit=limit, field=field)
    if any(_is_control(character) for character in _SUBDIVISION_FLAG.sub(_FLAG, cleaned)):
        raise _refusal(field, "invalid_characters", "control characters are not allowed")
    if not _has_symbol(cleaned):
        raise _refusal(field, "blank", "at least one visible character is required")
    return cleaned


def clean_text(text: str, *, limit: int, field: str) -> str:
    """A text of several lines in NFC; `limit` applies to the composed form. Raises `ValidationFailed`."""
    composed = unicodedata.normalize("NFC", text) if len(text) <= 4 * limit else text
    if len(composed) > limit:
        raise _refusal(field, "too_long", f"at most {limit} characters")
    return composed


def clean_device_name(text: str) -> str:
    """A device name without invisible characters, shortened; empty if nothing is left. It is never refused.

    Users rarely choose it, and cannot change what their app sends.
    """
    text = unicodedata.normalize("NFC", text[:_MAX_DEVICE_NAME])
    shown, at = [], 0
    for flag in _SUBDIVISION_FLAG.finditer(text):
        shown += [_without_controls(text[at : flag.start()]), flag[0]]
        at = flag.end()
    shown.append(_without_controls(text[at:]))
    cleaned = " ".join("".join(shown).split())
    if len(cleaned) > MAX_LENGTH:
        cleaned = _CUT_FLAG.sub("", cleaned[:MAX_LENGTH]).rstrip(" \u200d")
    return cleaned if _has_symbol(cleaned) else ""


def ensure_visible_text(body: str) -> None:
    """A message needs a visible character. Raises `ValidationFailed`."""
    if _VISIBLE.search(body) is None:
        raise _refusal("body", "blank", "at least one visible character is required")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _CONTROLS and character not in _ALLOWED_FORMAT


def _without_controls(text: str) -> str:
    return "".join(" " if character.isspace() else character for character in text if _stays(character))


def _stays(character: str) -> bool:
    return character.isspace() or not _is_control(character)


def _has_symbol(text: str) -> bool:
    """Whether it has a visible letter, digit or symbol."""
    return any(unicodedata.category(c) not in _INVISIBLE and c not in _FILLERS for c in text)


def _refusal(field: str, code: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {message}", errors=(FieldError(field, code, message),))
