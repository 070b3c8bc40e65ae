"""The models in generated Dart, Swift and Kotlin sources, and whether they can hold a JSON value."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


def say(text: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Field(NamedTuple):
    """A property of a generated class; `type` is its name in the language, without the mark of an optional."""

    type: str
    is_optional: bool


class Language(NamedTuple):
    """How the sources of a generator are read."""

    name: str
    generator: str
    options: str
    models: str
    """Where the models are, as a glob."""
    field: re.Pattern[str]
    """A property: its name on the wire, and its type."""
    alternative: re.Pattern[str]
    """A type that a union decodes."""
    case: str
    """The decoding of one event by its name, with `{event}` and `{schema}` to be filled in."""
    int64: str
    date: str
    items: re.Pattern[str]
    """A list, and the type of its items."""


DART = Language(
    name="Dart",
    generator="dart-dio",
    options="",
    models="lib/src/model/*.dart",
    field=re.compile(r"@BuiltValueField\(wireName: r'(?P<wire>\w+)'\)\s+(?P<type>[\w<>, ?]+) get \w+;"),
    alternative=re.compile(r"FullType\((?P<type>\w+)\)(?=.*\]\);)"),
    case=r"case r'{event}':\s+oneOfResult = serializers\.deserialize\(\s+oneOfDataSrc,\s+"
    r"specifiedType: FullType\({schema}\),",
    int64="int",
    date="DateTime",
    items=re.compile(r"BuiltList<(?P<type>.+)>"),
)
SWIFT = Language(
    name="Swift",
    generator="swift6",
    options="",
    models="Sources/*/Models/*.swift",
    field=re.compile(r"^    public var (?P<wire>\w+): (?P<type>[^=\n]+?)(?: = .*)?$", re.MULTILINE),
    alternative=re.compile(r"^    case type\w+\((?P<type>\w+)\)$", re.MULTILINE),
    case=r'case "{event}":\s+self = \.type{schema}\(try {schema}\(from: decoder\)\)',
    int64="Int64",
    date="Date",
    items=re.compile(r"\[(?P<type>[^:]+)\]"),
)
KOTLIN = Language(
    name="Kotlin",
    generator="kotlin",
    options="serializationLibrary=kotlinx_serialization,generateOneOfAnyOfWrappers=true",
    models="src/main/kotlin/**/models/*.kt",
    field=re.compile(r'@SerialName\(value = "(?P<wire>\w+)"\)\s+val [\w`]+: (?P<type>[^=\n]+?)(?: = [^\n]*?)?,?\n'),
    alternative=re.compile(r"value class \w+\(val value: (?P<type>\w+)\)"),
    case=r'"{event}" -> \{{\s+val decoded = decoder\.json\.decodeFromJsonElement\({schema}\.serializer\(\), element\)',
    int64="kotlin.Long",
    date="java.time.OffsetDateTime",
    items=re.compile(r"kotlin\.collections\.List<(?P<type>.+)>"),
)
LANGUAGES = (DART, SWIFT, KOTLIN)
_INTEGERS = frozenset({"int", "Int", "Int64", "kotlin.Int", "kotlin.Long"})
_BOOLEANS = frozenset({"bool", "Bool", "kotlin.Boolean"})
_STRINGS = frozenset(
    {"String", "kotlin.String", "Date", "DateTime", "java.time.OffsetDateTime", "UUID", "java.util.UUID"}
)


class Models:
    """The generated classes by the names of their schemas."""

    def __init__(self, language: Language, folder: Path) -> None:
        self.language = language
        self.sources = {_name(path): path.read_text() for path in sorted(folder.glob(language.models))}

    def fields(self, name: str) -> dict[str, Field]:
        """The properties of a class by their names on the wire."""
        source = self.sources[name]
        found = {}
        for each in self.language.field.finditer(source):
            kind = each["type"].strip()
            found[self._wire_name(source, each["wire"])] = Field(kind.removesuffix("?"), kind.endswith("?"))
        return found

    def faults(self, kind: str, value: Any, at: str) -> list[str]:
        """Why a value of JSON can't be decoded as a type of the language."""
        items = self.language.items.fullmatch(kind)
        if items:
            return [
                fault
                for index, each in enumerate(value)
                for fault in self.faults(items["type"], each, f"{at}[{index}]")
            ]
        scalars: tuple[tuple[frozenset[str], type], ...] = ((_INTEGERS, int), (_BOOLEANS, bool), (_STRINGS, str))
        for names, wanted in scalars:
            if kind in names:
                return [] if type(value) is wanted else [f"{at}: {value!r} is not a {kind}"]
        if kind not in self.sources:
            # An enum within a class, or a type for any JSON.
            return []
        fields = self.fields(kind)
        return self._union_faults(kind, value, at) if self.is_union(kind) else self._class_faults(fields, value, at)

    def is_union(self, name: str) -> bool:
        """Whether a class holds one of several others."""
        return len(self.language.alternative.findall(self.sources[name])) > 1

    def _class_faults(self, fields: Mapping[str, Field], value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is not an object"]
        found = []
        for name, field in fields.items():
            if value.get(name) is not None:
                found += self.faults(field.type, value[name], f"{at}.{name}")
            elif not field.is_optional:
                found.append(f"{at}.{name}: the generated class requires it")
        return found

    def _union_faults(self, name: str, value: Any, at: str) -> list[str]:
        kinds = dict.fromkeys(self.language.alternative.findall(self.sources[name]))
        results = {kind: self.faults(kind, value, at) for kind in kinds}
        return [] if not all(results.values()) else [fault for result in results.values() for fault in result]

    @staticmethod
    def _wire_name(source: str, name: str) -> str:
        """Swift lists the names on the wire separately where they differ."""
        key = re.search(rf'^        case {name} = "(?P<wire>\w+)"$', source, re.MULTILINE)
        return key["wire"] if key else name


def _name(path: Path) -> str:
    return "".join(part[:1].upper() + part[1:] for part in path.stem.split("_"))
