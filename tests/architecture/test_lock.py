"""The lock file lists a hash for each file and no registry; the bill of materials and the audit follow it."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "uv.lock").read_text()
PACKAGES: list[dict[str, Any]] = tomllib.loads(LOCK)["package"]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLock:
    def test_every_locked_file_has_a_hash(self) -> None:
        foreign = [package for package in PACKAGES if package["source"] != {"editable": "."}]
        files = {
            package["name"]: [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
            for package in foreign
        }
        assert len(files) > 50
        assert [name for name, each in files.items() if not each] == []
        hashes = [(name, file.get("hash", "")) for name, each in files.items() for file in each]
        assert [name for name, digest in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest)] == []

    def test_swagger_package_installs_without_django(self) -> None:
        names = {package["name"] for package in PACKAGES}
        assert "drf-spectacular-sidecar" in names
        assert names & {"django", "djangorestframework", "asgiref"} == set()

    def test_lock_names_no_registry(self) -> None:
        assert re.findall(r"https?://[^\"\s]*", LOCK) == []
        sources = {tuple(package["source"].items()) for package in PACKAGES}
        assert sources == {(("registry", "index"),), (("editable", "."),)}


class TestBill:
    sbom = _tool("sbom")

    def _bill(self, *left_out: str) -> dict[str, Any]:
        components = [
            {"name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
            for name, version in self.sbom.locked(LOCK)
            if name not in left_out
        ]
        bill = {"metadata": {"timestamp": "now"}, "serialNumber": "random", "components": components}
        scopes = {component["purl"]: "required" for component in components}
        completed: dict[str, Any] = self.sbom.complete(bill, LOCK, scopes)
        return completed

    def test_bill_lists_every_package_with_hashes(self) -> None:
        assert self.sbom.faults(self._bill(), LOCK) == []

    def test_bill_is_reproducible(self) -> None:
        assert self._bill() == self._bill()

    def test_package_missing_from_bill_is_found(self) -> None:
        assert [fault.split()[0] for fault in self.sbom.faults(self._bill("litestar"), LOCK)] == ["litestar"]

    def test_wrong_hash_in_bill_is_found(self) -> None:
        bill = self._bill()
        bill["components"][0]["externalReferences"][0]["hashes"][0]["content"] = "0" * 64
        assert len(self.sbom.faults(bill, LOCK)) == 1


class TestAudit:
    audit = _tool("audit")

    def test_first_requirement_includes_hashes(self) -> None:
        text = "# uv\na==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n    # via b\nb==2 \\\n    --hash=sha256:3\n"
        assert self.audit.first_of(text) == "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"

    @pytest.mark.parametrize(
        ("answers", "code", "words"),
        [
            ([None], 0, "NOT AUDITED"),
            ([[{"name": "a", "skip_reason": "unknown"}]], 0, "NOT AUDITED"),
            ([[{"name": "a", "version": "1", "vulns": []}]] * 2, 0, "no known vulnerabilities in 1"),
            ([[{"name": "a", "version": "1", "vulns": []}], None], 0, "NOT AUDITED"),
            ([[{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]] * 2, 1, "a 1: CVE-1"),
        ],
    )
    def test_audit_reports_verdict(
        self,
        answers: list[Any],
        code: int,
        words: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "locked.txt").write_text("a==1 \\\n    --hash=sha256:1\n")
        left = iter(answers)
        monkeypatch.setattr(self.audit, "ask", lambda _: next(left))
        assert self.audit.main(tmp_path / "locked.txt") == code
        assert words in capsys.readouterr().out
