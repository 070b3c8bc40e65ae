"""Faults that the check finds in generated sources that cannot decode an event or truncate its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.generated_clients._mobile import event_faults, type_faults
from tests.generated_clients._models import DART, KOTLIN, SWIFT, Language, Models

DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "EventFrame": {"discriminator": {"mapping": {"device.removed": "#/components/schemas/DeviceRemovedEvent"}}},
            "DeviceRemovedEvent": {
                "properties": {
                    "seq": {"type": "integer", "format": "int64"},
                    "user_id": {"type": ["integer", "null"], "format": "int64"},
                },
                "required": ["seq", "user_id"],
                "examples": [{"seq": 1, "user_id": None}],
            },
        }
    }
}
FOLDERS = {DART: "lib/src/model", SWIFT: "Sources/Client/Models", KOTLIN: "src/main/kotlin/client/models"}
FRAMES = {
    DART: (
        "event_frame.dart",
        "case r'device.removed':\n oneOfResult = serializers.deserialize(\n oneOfDataSrc,\n"
        " specifiedType: FullType(DeviceRemovedEvent),\n)",
    ),
    SWIFT: (
        "EventFrame.swift",
        'case "device.removed":\n self = .typeDeviceRemovedEvent(try DeviceRemovedEvent(from: decoder))',
    ),
    KOTLIN: (
        "EventFrame.kt",
        '"device.removed" -> {\n val decoded = '
        "decoder.json.decodeFromJsonElement(DeviceRemovedEvent.serializer(), element)",
    ),
}
EVENTS = {
    DART: (
        "device_removed_event.dart",
        "@BuiltValueField(wireName: r'seq')\nint get seq;\n@BuiltValueField(wireName: r'user_id')\nint? get userId;\n",
    ),
    SWIFT: (
        "DeviceRemovedEvent.swift",
        '    public var seq: Int64\n    public var userId: Int64?\n        case seq\n        case userId = "user_id"\n',
    ),
    KOTLIN: (
        "DeviceRemovedEvent.kt",
        '@SerialName(value = "seq")\nval seq: kotlin.Long,\n@SerialName(value = "user_id")\nval userId: kotlin.Long?\n',
    ),
}
each = pytest.mark.parametrize("language", [DART, SWIFT, KOTLIN], ids=lambda language: language.name)


def found(language: Language, folder: Path, *, frame: str | None = None, event: str | None = None) -> list[str]:
    """The faults found in these sources."""
    models = folder / FOLDERS[language]
    models.mkdir(parents=True)
    for (name, source), other in ((FRAMES[language], frame), (EVENTS[language], event)):
        (models / name).write_text(source if other is None else other)
    generated = Models(language, folder)
    return [*event_faults(generated, DOCUMENT), *type_faults(generated, DOCUMENT)]


class TestGeneratedSources:
    @each
    def test_good_sources_have_no_faults(self, language: Language, tmp_path: Path) -> None:
        assert found(language, tmp_path) == []

    @each
    def test_event_without_a_case_is_found(self, language: Language, tmp_path: Path) -> None:
        frame = FRAMES[language][1].replace("device.removed", "device.added")
        assert found(language, tmp_path, frame=frame) == [
            "EventFrame doesn't decode device.removed as DeviceRemovedEvent"
        ]

    @each
    def test_required_field_of_different_event_is_found(self, language: Language, tmp_path: Path) -> None:
        event = EVENTS[language][1].replace("?", "")
        assert "device.removed.user_id: the generated class requires it" in found(language, tmp_path, event=event)

    @each
    def test_missing_field_is_found(self, language: Language, tmp_path: Path) -> None:
        event = EVENTS[language][1].replace("user_id", "owner_id").replace("userId", "ownerId")
        assert "DeviceRemovedEvent.user_id is missing" in found(language, tmp_path, event=event)

    @each
    def test_always_present_field_marked_optional_is_found(self, language: Language, tmp_path: Path) -> None:
        event = EVENTS[language][1].replace("int get seq", "int? get seq").replace("Int64\n", "Int64?\n")
        event = event.replace("kotlin.Long,", "kotlin.Long?,")
        assert "DeviceRemovedEvent.seq is optional" in found(language, tmp_path, event=event)

    @pytest.mark.parametrize(("language", "kind"), [(SWIFT, "Int"), (KOTLIN, "kotlin.Int")])
    def test_number_of_32_bits_is_found(self, language: Language, kind: str, tmp_path: Path) -> None:
        event = EVENTS[language][1].replace(language.int64, kind)
        assert f"DeviceRemovedEvent.seq is a {kind}, not a {language.int64}" in found(language, tmp_path, event=event)
