"""The messages for invalid fields: JSON types and units, no Python type names."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from messenger.web.field_errors import validation_error


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    text: Annotated[str, Meta(min_length=2, max_length=4)] = "text"
    items: Annotated[list[Annotated[int, Meta(ge=1, le=9)]], Meta(min_length=1, max_length=2)] = []
    count: int = 0
    maybe: int | None = None
    flag: bool = False
    ratio: float = 0.0


def message_for(**fields: Any) -> str:
    """The message with which a body with these fields is refused."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(fields), type=Body)
    return validation_error(str(caught.value)).errors[0].message


class TestFieldMessages:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"text": "x"}, "at least 2 characters"),
            ({"text": "xxxxx"}, "at most 4 characters"),
            ({"items": []}, "at least 1 item"),
            ({"items": [1, 2, 3]}, "at most 2 items"),
            ({"items": [0]}, "at least 1"),
            ({"items": [10]}, "at most 9"),
            ({"count": "x"}, "expected integer, got string"),
            ({"count": None}, "expected integer, got null"),
            ({"maybe": "x"}, "expected integer or null, got string"),
            ({"text": True}, "expected string, got boolean"),
            ({"flag": 1}, "expected boolean, got integer"),
            ({"ratio": "x"}, "expected number, got string"),
            ({"text": {}}, "expected string, got object"),
            ({"items": {}}, "expected array, got object"),
            ({"shoe_size": 43}, "unknown field"),
        ],
    )
    def test_message_names_json_types_and_units(self, fields: dict[str, Any], message: str) -> None:
        assert message_for(**fields) == message
