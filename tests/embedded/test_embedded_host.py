"""Users, folders and programs that the embedded PostgreSQL finds on the machine."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from messenger.embedded import location as embedded_location
from messenger.embedded import machine as embedded_host
from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from messenger.embedded.process import postmaster_of

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


@_AS_ROOT
class TestStartedByRoot:
    @pytest.fixture
    def system_dir(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(embedded_host, "SYSTEM_DIR", folder / "system")
        return folder / "system"

    @pytest.fixture
    def private(self, folder: Path) -> Path:
        (folder / "private").mkdir(mode=0o700)
        return folder / "private"

    def test_postgres_runs_as_unprivileged_user(self, data: Path) -> None:
        with EmbeddedPostgres(data, durable=False):
            postmaster = postmaster_of(data / "cluster")
            assert Path(f"/proc/{postmaster}").stat().st_uid == embedded_location.account_for(data).uid != 0

    async def test_unreachable_binaries_are_copied_elsewhere(self, private: Path, system_dir: Path) -> None:
        package = next(embedded_host._candidates()).parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, private / source.name)
        bin_dir = private / package.name / "pginstall" / "bin"
        for _ in range(2):
            with EmbeddedPostgres(private / "data" / "postgres", bin_dir=bin_dir, durable=False) as postgres:
                connection = await asyncpg.connect(postgres.start())
                assert await connection.fetchval("SELECT 1") == 1
                await connection.close()
                assert postgres.log_file.is_relative_to(system_dir)
        assert os.stat(private).st_mode & 0o777 == 0o700
        assert sorted(name.split("-")[0] for name in os.listdir(system_dir)) == [".copying", "postgres", "postgresql"]

    def test_concurrent_starts_copy_binaries_once(self, private: Path, system_dir: Path) -> None:
        (private / "bin").mkdir()
        (private / "share").mkdir()
        (private / "share" / "postgres.bki").touch()
        (private / "bin" / "postgres").write_text("#!/bin/sh\n")
        account = embedded_location.account_for(private)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda _: embedded_host._reachable(private / "bin", account), range(2)))
        assert found[0] == found[1]
        assert (found[0] / "postgres").exists()
        assert len(list(system_dir.glob("postgresql-*"))) == 1

    def test_inaccessible_cluster_is_not_replaced(
        self, folder: Path, data: Path, private: Path, system_dir: Path
    ) -> None:
        (private / "installation").mkdir()
        data.rename(private / "installation" / "postgres")
        with pytest.raises(EmbeddedPostgresError, match="cannot access it"):
            EmbeddedPostgres(private / "installation" / "postgres").start()

    def test_symlink_in_place_of_own_folder_is_refused(self, folder: Path) -> None:
        (folder / "squatted").symlink_to("/root")
        account = embedded_location.account_for(folder)
        with pytest.raises(EmbeddedPostgresError, match="belongs to another user"):
            embedded_host.own_folder(folder / "squatted", account)


class TestBinaries:
    def test_missing_binaries_error_names_remedy(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded_host, "_candidates", lambda: iter(()))
        with pytest.raises(
            EmbeddedPostgresError, match=r"install this project with the extra `embedded`.*MESSENGER_DATABASE_URL"
        ):
            EmbeddedPostgres(data).start()

    def test_folder_without_binaries_is_named(self, data: Path, folder: Path) -> None:
        with pytest.raises(EmbeddedPostgresError, match=f"{folder} does not contain initdb and postgres"):
            EmbeddedPostgres(data, bin_dir=folder).start()

    @pytest.mark.parametrize(
        ("script", "fault"), [("echo 'postgres (PostgreSQL) 14.9'", "is PostgreSQL 14"), ("exit 1", "does not run")]
    )
    def test_unusable_binaries_are_refused(self, data: Path, folder: Path, script: str, fault: str) -> None:
        for name in ("postgres", "initdb"):
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        with pytest.raises(EmbeddedPostgresError, match=f"{fault}; PostgreSQL 15 or later is required"):
            EmbeddedPostgres(data, bin_dir=folder).start()

    def test_major_version_mismatch_names_both_versions(self, data: Path) -> None:
        binaries = embedded_host.find_binaries(None, embedded_location.account_for(data))
        (data / "cluster" / "PG_VERSION").write_text("9\n")
        with pytest.raises(EmbeddedPostgresError, match=f"created by PostgreSQL 9, .* are PostgreSQL {binaries.major}"):
            EmbeddedPostgres(data).start()
