"""Generate clients from the OpenAPI document, and check that they decode what the server sends."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from messenger.openapi_export import openapi_json
from tests.generated_clients._mobile import check_mobile
from tests.generated_clients._models import say
from tests.generated_clients._typescript import check_typescript

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "clients"
ENVIRONMENT = ROOT / ".venv" / "clients"


def main() -> int:
    """The exit code: 0 if every client decodes every event."""
    started = monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    path = FOLDER / "openapi.json"
    path.write_text(openapi_json())
    document = msgspec.json.decode(path.read_bytes())
    faults = _check_document(document, path)
    if not faults:
        faults += check_typescript(document, path, FOLDER, ENVIRONMENT)
        faults += check_mobile(document, path, FOLDER, ENVIRONMENT)
    for fault in faults:
        sys.stderr.write(f"WRONG {fault}\n")
    say(f"generated clients: {'ok' if not faults else f'{len(faults)} faults'} in {monotonic() - started:.0f} s")
    return 1 if faults else 0


def _check_document(document: dict[str, Any], path: Path) -> list[str]:
    """Violations of the OpenAPI 3.1 schema in the document, and faults in its events."""
    if "discriminator" not in document["components"]["schemas"]["EventFrame"]:
        return ["EventFrame has no discriminator"]
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "openapi_spec_validator", "--schema", "3.1", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    say(f"OpenAPI 3.1: {'ok' if done.returncode == 0 else 'wrong'}")
    return (
        []
        if done.returncode == 0
        else [f"the document is not valid OpenAPI 3.1: {(done.stdout + done.stderr)[-2000:]}"]
    )


if __name__ == "__main__":
    sys.exit(main())
