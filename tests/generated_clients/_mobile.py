"""Dart, Swift and Kotlin clients by openapi-generator: their sources decode every event without truncating numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.generated_clients._models import LANGUAGES, Language, Models, say

# For a short run, optimizing compilation costs more than it saves.
_JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar")
JAR = "lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar"


def check_mobile(document: dict[str, Any], path: Path, folder: Path, environment: Path) -> list[str]:
    """Faults in the clients that are generated from the document at a path."""
    if shutil.which("java") is None:
        say("mobile clients: skipped, Java is not installed")
        return []
    (jar,) = environment.glob(JAR)
    # One after the other: each takes a few seconds.
    return [fault for language in LANGUAGES for fault in _check(language, document, path, folder, jar)]


def _check(language: Language, document: dict[str, Any], path: Path, folder: Path, jar: Path) -> list[str]:
    target = folder / language.generator
    options = ["--additional-properties", language.options] if language.options else []
    command = [*_JAVA, str(jar), "generate", "-i", str(path), "-g", language.generator, "-o", str(target)]
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True, timeout=300)
    if done.returncode or "ERROR" in done.stdout + done.stderr:
        return [f"{language.name}: the generator failed: {(done.stdout + done.stderr)[-2000:]}"]
    models = Models(language, target)
    faults = [*event_faults(models, document), *type_faults(models, document)]
    say(f"{language.name}: {len(models.sources)} models, {'ok' if not faults else f'{len(faults)} faults'}")
    return [f"{language.name}: {fault}" for fault in faults]


def event_faults(models: Models, document: dict[str, Any]) -> list[str]:
    """Events that the generated sources cannot distinguish or decode."""
    schemas = document["components"]["schemas"]
    source = models.sources["EventFrame"]
    found = []
    for event, target in schemas["EventFrame"]["discriminator"]["mapping"].items():
        name = target.rpartition("/")[2]
        case = models.language.case.format(event=re.escape(event), schema=name)
        if not re.search(case, source):
            found.append(f"EventFrame doesn't decode {event} as {name}")
        if set(models.fields(name)) != set(schemas[name]["properties"]):
            found.append(f"{name} has the fields {set(models.fields(name))}")
        for example in schemas[name]["examples"]:
            found += models.faults(name, example, event)
    return found


def type_faults(models: Models, document: dict[str, Any]) -> list[str]:
    """Properties with a generated type that is narrower than the document allows."""
    found = []
    for name, schema in document["components"]["schemas"].items():
        if "properties" not in schema or name not in models.sources:
            continue
        fields = models.fields(name)
        for key, part in schema["properties"].items():
            field = fields.get(key)
            if field is None:
                found.append(f"{name}.{key} is missing")
                continue
            wanted = {"int64": models.language.int64, "date-time": models.language.date}.get(part.get("format", ""))
            if wanted is not None and field.type != wanted:
                found.append(f"{name}.{key} is a {field.type}, not a {wanted}")
            may_be_absent = key not in schema.get("required", ()) or _can_be_null(part)
            if _is_typed(part) and field.is_optional != may_be_absent:
                found.append(f"{name}.{key} is {'optional' if field.is_optional else 'required'}")
    return found


def _can_be_null(schema: dict[str, Any]) -> bool:
    return "null" in schema.get("type", ()) or {"type": "null"} in (*schema.get("oneOf", ()), *schema.get("anyOf", ()))


def _is_typed(schema: dict[str, Any]) -> bool:
    """Whether a schema has constraints: properties of any JSON type are optional in some languages."""
    return bool({"type", "$ref", "oneOf", "anyOf", "allOf"} & set(schema))
