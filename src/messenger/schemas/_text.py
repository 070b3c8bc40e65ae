"""Text that people see."""

from __future__ import annotations

import unicodedata

from messenger.errors import FieldError, ValidationFailed

# Cf holds the bidirectional overrides, which make one name look like another; joiners are in it too, and needed.
_ALLOWED_FORMAT = frozenset("\u200c\u200d")
_INVISIBLE = frozenset({"Mn", "Me", "Mc", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn", "Cs"})
# Letters and symbols by their category, blank on every screen: Hangul fillers and the empty Braille pattern.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
MAX_LENGTH = 64


def clean_name(text: str, *, field: str = "name") -> str:
    """A name of one line: NFC, trimmed, with something to see in it. Raises `ValidationFailed`."""
    cleaned = unicodedata.normalize("NFC", text).strip()
    if any(unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} and c not in _ALLOWED_FORMAT for c in cleaned):
        raise _refusal(field, "invalid_characters", "control characters are not allowed")
    if all(unicodedata.category(character) in _INVISIBLE or character in _FILLERS for character in cleaned):
        raise _refusal(field, "blank", "at least one visible character is required")
    # Composing makes some scripts' text longer than what was sent.
    if len(cleaned) > MAX_LENGTH:
        raise _refusal(field, "too_long", f"at most {MAX_LENGTH} characters")
    return cleaned


def _refusal(field: str, code: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {message}", errors=(FieldError(field, code, message),))
