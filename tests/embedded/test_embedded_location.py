"""The location of the cluster of a server started by root: in the data folder, or in a path stored there."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest

from messenger.embedded import location as embedded_location
from messenger.embedded import machine as embedded_host
from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@pytest.fixture(autouse=True)
def system_dir(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A replacement for /var/lib/messenger."""
    monkeypatch.setattr(embedded_host, "SYSTEM_DIR", folder / "system")
    return folder / "system"


@pytest.fixture
def private(folder: Path) -> Path:
    """A folder that only root can enter, like /root."""
    (folder / "root").mkdir(mode=0o700)
    return folder / "root"


def _run(data_dir: Path, statement: str) -> object:
    """Start the PostgreSQL of a data folder as the server does, ask it once, and stop it."""

    async def ask(url: str) -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    with EmbeddedPostgres(data_dir / "postgres", durable=False) as postgres:
        answer = asyncio.run(ask(postgres.start()))
    (data_dir / "secret").touch(0o600)
    return answer


def _fill(data_dir: Path) -> None:
    _run(data_dir, "SELECT 1")
    _run(data_dir, "CREATE TABLE kept AS SELECT 7 AS n")


def _kept(data_dir: Path) -> object:
    return _run(data_dir, "SELECT n FROM kept")


def _copy(source: Path, target: Path, *how: str) -> None:
    subprocess.run(["cp", *how, source, target], check=True)


def _of_older_release(data_dir: Path, moved: Path) -> None:
    """An installation with its cluster elsewhere, from before the location was stored in a file."""
    _fill(data_dir)
    embedded_location.location_file(data_dir / "postgres").unlink(missing_ok=True)
    if (data_dir / "postgres").exists():
        moved.parent.mkdir(exist_ok=True)
        (data_dir / "postgres").rename(moved)


class TestBackup:
    @pytest.mark.parametrize("path", ["data", "made/by/the/server/data"])
    @pytest.mark.parametrize("umask", [0o022, 0o077])
    def test_copy_of_a_new_data_folder_holds_the_database(self, folder: Path, path: str, umask: int) -> None:
        before = os.umask(umask)
        try:
            _fill(folder / path)
        finally:
            os.umask(before)
        _copy(folder / path, folder / "copy", "-a")
        shutil.rmtree(folder / path)
        assert (folder / "copy" / "postgres" / "cluster").is_dir()
        assert _kept(folder / "copy") == 7

    @pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
    def test_existing_folder_of_root_holds_the_database(self, folder: Path, mode: int) -> None:
        (folder / "data").mkdir()
        (folder / "data").chmod(mode)
        _fill(folder / "data")
        assert (folder / "data" / "postgres" / "cluster").is_dir()
        assert (folder / "data").stat().st_mode & 0o022 == 0

    def test_copy_without_owners_is_usable(self, folder: Path) -> None:
        _fill(folder / "data")
        _copy(folder / "data", folder / "copy", "-r")
        assert (folder / "copy" / "postgres" / "cluster").stat().st_uid == 0
        assert _kept(folder / "copy") == 7

    def test_copy_without_owners_is_usable_after_an_interrupted_start(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _fill(folder / "data")
        _copy(folder / "data", folder / "copy", "-r")
        left = iter(range(20))

        def chown(path: Path, *owner: int, **options: bool) -> None:
            if next(left, None) is None:
                raise InterruptedError
            os_chown(path, *owner, **options)

        os_chown = os.chown
        with monkeypatch.context() as patch:
            patch.setattr(os, "chown", chown)
            with pytest.raises(EmbeddedPostgresError):
                _kept(folder / "copy")
        assert _kept(folder / "copy") == 7

    def test_moved_folder_keeps_the_database(self, folder: Path) -> None:
        _fill(folder / "data")
        (folder / "data").rename(folder / "renamed")
        assert _kept(folder / "renamed") == 7

    def test_partial_copy_is_refused(self, folder: Path) -> None:
        _fill(folder / "data")
        shutil.rmtree(folder / "data" / "postgres")
        with pytest.raises(EmbeddedPostgresError, match=rf"{folder}/data/postgres: restore that folder"):
            _kept(folder / "data")

    def test_copy_with_the_secret_alone_is_refused(self, folder: Path) -> None:
        _fill(folder / "data")
        (folder / "copy").mkdir()
        shutil.copy(folder / "data" / "secret", folder / "copy")
        with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL is missing.*remove secret from"):
            _kept(folder / "copy")
        (folder / "copy" / "secret").unlink()
        assert _run(folder / "copy", "SELECT to_regclass('kept') IS NULL") is True


class TestUnreachableFolder:
    def test_file_contains_the_location(self, private: Path, system_dir: Path) -> None:
        _fill(private / "data")
        recorded = embedded_location.recorded_home(private / "data" / "postgres")
        assert recorded is not None
        assert recorded.parent == system_dir
        assert (recorded / "cluster").is_dir()
        assert private.stat().st_mode & 0o777 == 0o700

    def test_shared_folder_is_left_alone(self, folder: Path, system_dir: Path) -> None:
        (folder / "data").mkdir()
        os.chown(folder / "data", -1, 12345)
        (folder / "data").chmod(0o770)
        _fill(folder / "data")
        found = (folder / "data").stat()
        assert (found.st_gid, found.st_mode & 0o777) == (12345, 0o770)
        assert list(system_dir.glob("postgres-*/cluster"))

    @pytest.mark.parametrize("how", ["move", "copy"])
    def test_moved_folder_finds_database_outside(self, private: Path, how: str) -> None:
        _fill(private / "data")
        if how == "move":
            (private / "data").rename(private / "other")
        else:
            _copy(private / "data", private / "other", "-a")
        assert _kept(private / "other") == 7

    def test_restore_without_the_database_folder_is_refused(self, private: Path, system_dir: Path) -> None:
        _fill(private / "data")
        system_dir.rename(system_dir.with_name("lost"))
        with pytest.raises(EmbeddedPostgresError, match=rf"its database was in {system_dir}/postgres-"):
            _kept(private / "data")
        assert not system_dir.exists()

    def test_database_moved_into_the_folder_is_found(self, private: Path, folder: Path, system_dir: Path) -> None:
        _fill(private / "data")
        (private / "data").rename(folder / "data")
        next(system_dir.glob("postgres-*")).rename(folder / "data" / "postgres")
        assert _kept(folder / "data") == 7
        assert embedded_location.recorded_home(folder / "data" / "postgres") == folder / "data" / "postgres"


class TestOlderInstallation:
    @pytest.mark.parametrize("parent", ["root", "open"])
    def test_database_of_older_release_is_found_and_location_stored(
        self, folder: Path, private: Path, parent: str
    ) -> None:
        data = folder / parent / "data"
        moved = embedded_host.moved_home(data / "postgres")
        _of_older_release(data, moved)
        assert _kept(data) == 7
        assert embedded_location.recorded_home(data / "postgres") == moved

    def test_moved_folder_is_refused_with_the_candidates(self, folder: Path) -> None:
        data = folder / "data"
        moved = embedded_host.moved_home(data / "postgres")
        _of_older_release(data, moved)
        data.rename(folder / "renamed")
        location = folder / "renamed" / "postgres.location"
        with pytest.raises(EmbeddedPostgresError, match=rf"one of {moved}, write that path into {location}"):
            _kept(folder / "renamed")
        location.write_text(f"{moved}\n")
        assert _kept(folder / "renamed") == 7
