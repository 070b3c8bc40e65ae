"""Write the bill of materials of the lock (CycloneDX 1.5, JSON), and check it.

    python tools/sbom.py UV OUTPUT

uv lists the components and their dependencies; this adds the hash of each distribution, and whether a component is
always installed (`required`), belongs to an extra (`optional`) or is for development only (`excluded`). The output is
reproducible. Run it in `.venv/checks`, which has the schema.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCOPES = (
    ("required", ("--no-dev",)),
    ("optional", ("--no-dev", "--all-extras")),
    ("excluded", ("--all-groups", "--all-extras")),
)
"""From the required packages to all locked ones."""


def locked(lock: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The distributions of each locked package, as file names with SHA-256."""
    found = {}
    for package in tomllib.loads(lock)["package"]:
        if "registry" in package["source"]:
            distributions = [*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", ())]
            found[package["name"], package["version"]] = [
                (each["filename"], each["hash"].removeprefix("sha256:")) for each in distributions
            ]
    return found


def complete(bill: dict[str, Any], lock: str, scopes: dict[str, str]) -> dict[str, Any]:
    """Add hashes, and scopes by `bom-ref`; remove values that differ between runs."""
    packages = locked(lock)
    for component in bill["components"]:
        component["scope"] = scopes[component["purl"]]
        component["externalReferences"] = [
            {"type": "distribution", "url": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for name, digest in packages[component["name"], component["version"]]
        ]
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, lock).urn
    del bill["metadata"]["timestamp"]
    return bill


def faults(bill: dict[str, Any], lock: str) -> list[str]:
    """Locked packages that are missing from the bill or have no hash."""
    named = {(each["name"], each["version"]): each for each in bill["components"]}
    return [
        f"{name} {version}"
        for (name, version), distributions in locked(lock).items()
        if (name, version) not in named
        or {hash_["content"] for each in named[name, version]["externalReferences"] for hash_ in each["hashes"]}
        != {digest for _, digest in distributions}
        or not distributions
    ]


def _export(uv: str, *options: str) -> dict[str, Any]:
    command = [uv, "export", "--frozen", "--quiet", "--preview-features", "sbom-export", "--format", "cyclonedx1.5"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def _schema_faults(bill: dict[str, Any]) -> list[str]:
    """The schema's errors. Checks only the first file of each component, since the library validates URLs slowly."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    short = [{**each, "externalReferences": each["externalReferences"][:1]} for each in bill["components"]]
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps({**bill, "components": short}))
    return [] if fault is None else [f"CycloneDX: {fault}"]


def main(uv: str, output: Path) -> int:
    lock = (ROOT / "uv.lock").read_text()
    scopes: dict[str, str] = {}
    bill: dict[str, Any] = {}
    for scope, options in SCOPES:
        bill = _export(uv, *options)
        for component in bill["components"]:
            scopes.setdefault(component["purl"], scope)
    complete(bill, lock, scopes)
    found = _schema_faults(bill) + faults(bill, lock)
    if found:
        print("\n".join(found))
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(bill, indent=2) + "\n")
    counts = {scope: list(scopes.values()).count(scope) for scope, _ in SCOPES}
    print(f"{output}: {len(scopes)} components, each with its hashes: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
