"""Failures of dependencies: the lock file names no version with a known vulnerability."""

from __future__ import annotations

import ast
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]

FLOORS = {
    "cve_2026_40192_cve_2026_25990_cve_2023_4863": ("pillow", (12, 2, 0)),
    "cve_2026_25479_cve_2026_25480_cve_2024_32982_ghsa_hm36_ffrh_c77c": ("litestar", (2, 20, 0)),
    "cve_2023_28858_cve_2023_28859": ("redis", (4, 5, 4)),
    "cve_2025_62727_cve_2023_30798": ("starlette", (0, 49, 1)),
    "cve_2021_29510": ("pydantic", (1, 8, 2)),
    "the form parser": ("multipart", (1, 3)),
}
"""The first version without it, by advisory; starlette and pydantic are a yardstick's, and never the server's."""

ABSENT = {
    "cve_2024_24762_cve_2024_53981_cve_2026_24486_cve_2026_53538_cve_2026_53539": "python-multipart",
    "cve_2022_29217": "pyjwt",
    "cve_2024_37568": "authlib",
    "cve_2026_28231": "pillow-heif",
    "algorithm confusion, too": "python-jose",
}
"""What we do without."""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


@pytest.mark.parametrize("advisory", FLOORS)
def test_lock_has_patched_version(advisory: str) -> None:
    name, floor = FLOORS[advisory]
    locked = [package["version"] for package in LOCK if package["name"] == name]
    assert locked
    assert [version for version in locked if _version(version) < floor] == []


@pytest.mark.parametrize("advisory", FLOORS)
def test_installed_version_is_patched(advisory: str) -> None:
    name, floor = FLOORS[advisory]
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        assert name in {"starlette", "pydantic"}
        return
    assert _version(installed) >= floor


@pytest.mark.parametrize("advisory", ABSENT)
def test_lock_omits_vulnerable_package(advisory: str) -> None:
    assert ABSENT[advisory] not in {package["name"] for package in LOCK}


@pytest.mark.parametrize("installer", ["Makefile", "Dockerfile"])
def test_installed_versions_match_lock(installer: str) -> None:
    """File by file: a mirror cannot substitute other content."""
    synced = [line for line in (ROOT / installer).read_text().splitlines() if " pip sync" in line]
    assert synced
    assert [line for line in synced if "--require-hashes" not in line] == []


# --- addresses that users name --------------------------------------------------------------------

_CLIENTS = {"aiohttp", "ftplib", "http.client", "httpx", "requests", "smtplib", "urllib.request", "urllib3", "xmlrpc"}
_NOT_THE_SERVER = ("chat", "client", "testing")


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_cve_2022_31052_cve_2023_32683_server_imports_no_http_client() -> None:
    """Synapse: link previews reached into the server's own network. The server has no HTTP client to fetch with."""
    source = ROOT / "src" / "messenger"
    files = [file for file in source.rglob("*.py") if file.relative_to(source).parts[0] not in _NOT_THE_SERVER]
    assert len(files) > 100
    assert {str(file.relative_to(source)): used for file in files if (used := _imports(file) & _CLIENTS)} == {}
