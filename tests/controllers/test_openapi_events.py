"""Events in the document: one schema for each name, which clients can distinguish and decode."""

from __future__ import annotations

from typing import Any

import pytest

from messenger import events
from tests.support.http import DOCUMENT
from tests.support.openapi_schema import faults, resolve

SCHEMAS = DOCUMENT["components"]["schemas"]
FRAME = SCHEMAS["EventFrame"]
MAPPING: dict[str, str] = FRAME["discriminator"]["mapping"]
EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{index}")
    for name, target in MAPPING.items()
    for index, example in enumerate(resolve(DOCUMENT, {"$ref": target})["examples"])
]


def _emitted() -> set[str]:
    """The names of all events that the server can send."""
    found, kinds = set(), [events.Event]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if isinstance(getattr(kind, "name", None), str):
            found.add(kind.name)
    return found


class TestEventSchemas:
    def test_every_emitted_event_has_a_schema(self) -> None:
        assert set(MAPPING) == _emitted()

    def test_sync_page_contains_event_frames(self) -> None:
        assert SCHEMAS["SyncView"]["properties"]["events"]["items"] == {"$ref": "#/components/schemas/EventFrame"}

    def test_discriminator_names_the_alternatives(self) -> None:
        assert FRAME["discriminator"]["propertyName"] == "event"
        assert [part["$ref"] for part in FRAME["oneOf"]] == list(MAPPING.values())

    @pytest.mark.parametrize("name", MAPPING)
    def test_event_schema_has_constant_name(self, name: str) -> None:
        schema = resolve(DOCUMENT, {"$ref": MAPPING[name]})
        assert schema["properties"]["event"] == {"type": "string", "const": name}
        assert set(schema["required"]) == set(schema["properties"]) == {"type", "cursor", "event", "at", "data"}

    @pytest.mark.parametrize("name", MAPPING)
    def test_schema_name_follows_the_event(self, name: str) -> None:
        first, second = name.split(".")
        assert MAPPING[name] == f"#/components/schemas/{first.title()}{second.title()}Event"


class TestEventExamples:
    @pytest.mark.parametrize(("name", "example"), EXAMPLES)
    def test_event_example_is_valid(self, name: str, example: Any) -> None:
        assert example["event"] == name
        assert list(faults(DOCUMENT, {"$ref": MAPPING[name]}, example)) == []
        assert list(faults(DOCUMENT, FRAME, example)) == []

    @pytest.mark.parametrize(("name", "example"), EXAMPLES)
    def test_event_example_is_invalid_as_other_event(self, name: str, example: Any) -> None:
        others = [other for other in MAPPING if other != name]
        assert all(list(faults(DOCUMENT, {"$ref": MAPPING[other]}, example)) for other in others)

    def test_event_name_with_data_of_other_event_is_invalid(self) -> None:
        receipt = resolve(DOCUMENT, {"$ref": MAPPING["receipt.updated"]})["examples"][0]
        assert list(faults(DOCUMENT, FRAME, {**receipt, "event": "message.created"})) != []

    def test_unknown_event_is_invalid(self) -> None:
        message = resolve(DOCUMENT, {"$ref": MAPPING["message.created"]})["examples"][0]
        assert list(faults(DOCUMENT, FRAME, {**message, "event": "message.read"})) != []

    def test_profile_event_shows_both_kinds_of_profiles(self) -> None:
        own, other = resolve(DOCUMENT, {"$ref": MAPPING["profile.updated"]})["examples"]
        assert ("privacy" in own["data"], "contact" in other["data"]) == (True, True)
