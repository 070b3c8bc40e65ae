"""Check `compose.yaml`: its references, its settings, and the hardening of the server's container."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from messenger.config import PREFIX, Settings

ROOT = Path(__file__).parents[1]


def faults(compose: dict[str, Any]) -> list[str]:
    """The faults of the file."""
    services = compose["services"]
    server = services["messenger"]
    found = [f"{name} is not a service" for name in server.get("depends_on", {}) if name not in services]
    known = {PREFIX + field.upper() for field in Settings.__struct_fields__}
    given = [name for name in server["environment"] if name.startswith(PREFIX)]
    found += [f"{name} is not a setting" for name in given if name not in known]
    for name, expected in (("read_only", True), ("cap_drop", ["ALL"])):
        if server.get(name) != expected:
            found.append(f"messenger: {name} is not {expected}")
    if "no-new-privileges:true" not in server.get("security_opt", []):
        found.append("messenger: security_opt lacks no-new-privileges")
    volumes = compose.get("volumes", {})
    for name, service in services.items():
        mounted = [volume.split(":")[0] for volume in service.get("volumes", [])]
        found += [f"{name}: volume {volume} is not declared" for volume in mounted if volume not in volumes]
        if "image" in service and ":" not in service["image"]:
            found.append(f"{name}: the image has no version")
    secrets = re.findall(r"(?:PASSWORD|SECRET)\S*: (?!\$\{|.*@)(\S+)", (ROOT / "compose.yaml").read_text())
    return found + ["the file contains a secret" for _ in secrets]


if __name__ == "__main__":
    wrong = faults(yaml.safe_load((ROOT / "compose.yaml").read_text()))
    print("\n".join(wrong) if wrong else "compose.yaml: fine")
    sys.exit(1 if wrong else 0)
