"""`docs/api` describes the whole API, and its examples are what the server sends and accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest

from messenger.openapi_export import openapi_json
from messenger.realtime import frames
from messenger.schemas import accounts, admission, calls, groups, messages, realtime, safe, users
from messenger.schemas.moments import decode_hook
from messenger.security import envelope
from messenger.services import health
from messenger.web.openapi.socket import CLOSE_CODES
from messenger.web.problems import Problem
from messenger.web.socket_methods import METHODS

PAGES = sorted((Path(__file__).parents[2] / "docs" / "api").glob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)
SIGNALS = {
    "typing": realtime.TypingView,
    "presence": users.StatusView,
    "call.signal": realtime.CallSignalView,
    "receipts": realtime.ReceiptCountsView,
}
_EXAMPLE = re.compile(r"^```json *(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    pytest.param(name, body, id=f"{page.stem}-{number}-{name}")
    for page in PAGES
    for number, (name, body) in enumerate(_EXAMPLE.findall(page.read_text()))
]
DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi_json())


def _structs() -> dict[str, Any]:
    schemas: list[ModuleType] = [accounts, admission, calls, groups, messages, realtime, safe, users]
    modules = [*schemas, frames, envelope, health]
    named = {name: kind for module in modules for name, kind in vars(module).items() if isinstance(kind, type)}
    return {**{name: kind for name, kind in named.items() if issubclass(kind, msgspec.Struct)}, "Problem": Problem}


STRUCTS = _structs()


def _is_read(value: Any, kind: Any) -> bool:
    """Whether the value is a request of this type, or exactly what the server writes of it."""
    read = msgspec.json.decode(json.dumps(value), type=kind, dec_hook=decode_hook)
    return bool(kind.__struct_config__.forbid_unknown_fields or msgspec.to_builtins(read, str_keys=True) == value)


def _fits_one(value: Any, kinds: tuple[Any, ...]) -> bool:
    for kind in kinds:
        try:
            if _is_read(value, kind):
                return True
        except msgspec.ValidationError:
            continue
    return False


class TestCompleteness:
    def test_every_operation_is_described(self) -> None:
        operations = {f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item}
        text = re.sub(r"\s+", " ", TEXT)
        assert [each for each in sorted(operations) if not re.search(rf"`{re.escape(each)}[`?]", text)] == []

    def test_every_event_has_a_section_with_an_example(self) -> None:
        shown = {json.loads(body)["event"] for name, body in _EXAMPLE.findall(TEXT) if name == "EventFrame"}
        assert shown == set(realtime.EVENT_DATA)
        assert [name for name in realtime.EVENT_DATA if f"\n### `{name}`\n" not in TEXT] == []

    def test_every_signal_has_a_section_with_an_example(self) -> None:
        shown = {json.loads(body)["event"] for name, body in _EXAMPLE.findall(TEXT) if name == "SignalFrame"}
        assert shown == set(SIGNALS)
        assert [name for name in SIGNALS if f"\n### `{name}`\n" not in TEXT] == []

    @pytest.mark.parametrize("name", METHODS)
    def test_every_socket_method_has_a_section_with_request_and_reply(self, name: str) -> None:
        sections = [part.split("\n##", 1)[0] for part in TEXT.split(f"\n### `{name}`\n")[1:]]
        assert any(f'"method": "{name}"' in each and '"type": "reply"' in each for each in sections)

    @pytest.mark.parametrize("code", CLOSE_CODES)
    def test_close_code_is_explained(self, code: int) -> None:
        assert f"| {code} |" in TEXT


class TestExamples:
    @pytest.mark.parametrize(("name", "body"), EXAMPLES)
    def test_example_matches_named_type(self, name: str, body: str) -> None:
        value = json.loads(body)
        assert _is_read(value, STRUCTS[name])

    @pytest.mark.parametrize(("name", "body"), EXAMPLES)
    def test_frame_content_matches_type_of_frame(self, name: str, body: str) -> None:
        frame = json.loads(body)
        if name == "EventFrame":
            data = realtime.EVENT_DATA[frame["event"]]
            assert _fits_one(frame["data"], get_args(data) or (data,))
        elif name == "SignalFrame":
            assert _is_read(frame["data"], SIGNALS[frame["event"]])
        elif name == "Request":
            assert _is_read(frame.get("data", {}), METHODS[frame["method"]].json.type)

    def test_replies_follow_matching_requests(self) -> None:
        asked: dict[int, str] = {}
        replies = {"message.send": messages.MessageView, "presence.set": users.ProfileView}
        for name, body in _EXAMPLE.findall(TEXT):
            frame = json.loads(body)
            if name == "Request":
                asked[frame["id"]] = frame["method"]
            elif name == "Reply" and frame["id"] in asked:
                expected = replies.get(asked[frame["id"]])
                assert frame["data"] is None if expected is None else _is_read(frame["data"], expected)
        assert set(asked.values()) == set(METHODS)
