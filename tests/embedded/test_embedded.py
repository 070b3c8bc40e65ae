"""The PostgreSQL that ships with the server, on real clusters: in memory and without fsync, except where durability is
tested.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from messenger.embedded import location as embedded_location
from messenger.embedded import postgres as embedded
from messenger.embedded import process as embedded_process
from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError

_DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
_WITH_DEBIAN_15 = pytest.mark.skipif(not _DEBIAN_15.exists(), reason="there is no PostgreSQL 15 of Debian")
_OWNER = """
import sys
from pathlib import Path
from messenger.embedded import process as embedded_process
from messenger.embedded.postgres import EmbeddedPostgres
embedded_process.LINUX = sys.argv[2] == "kernel"
postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
sys.stdout.write(postgres.start() + "\\n")
sys.stdout.flush()
sys.stdin.read()
"""


class Owner:
    """Another process that owns a server, and can be killed."""

    def __init__(self, data_dir: Path, tie: str = "kernel") -> None:
        argv = [sys.executable, "-c", _OWNER, str(data_dir), tie]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        with self.process:
            pass


@pytest.fixture
def own() -> Iterator[Callable[..., Owner]]:
    """Starts owners that do not outlive the test."""
    owners: list[Owner] = []

    def start(data_dir: Path, tie: str = "kernel") -> Owner:
        owners.append(Owner(data_dir, tie))
        return owners[-1]

    yield start
    for owner in owners:
        owner.kill()


def _wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


def _all_ended(data_dir: Path) -> bool:
    """Whether all processes of the cluster have ended; a zombie holds no lock."""
    with (data_dir / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _postmaster(data_dir: Path) -> int:
    found = embedded_process.postmaster_of(data_dir / "cluster")
    assert found is not None
    return found


async def _ask(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


class TestStart:
    async def test_cold_start_answers_as_the_owner_of_the_database(self, folder: Path) -> None:
        with EmbeddedPostgres(folder / "new" / "data", durable=False) as postgres:
            url = postgres.start()
            assert await _ask(url, "SELECT current_user || ' ' || current_database()") == "messenger messenger"
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'messenger'"
            assert await _ask(url, owner) == "messenger"
            assert postgres.log_file.exists()
        _wait_until(lambda: _all_ended(folder / "new" / "data"))

    async def test_restart_keeps_data(self, data: Path) -> None:
        postgres = EmbeddedPostgres(data, durable=False)
        await _ask(postgres.start(), "CREATE TABLE t AS SELECT 7 AS n", "SELECT n FROM t")
        postgres.stop()
        postgres.stop()
        assert await _ask(postgres.start(), "SELECT n FROM t") == 7
        postgres.stop()

    async def test_long_path_moves_socket_elsewhere(self, folder: Path, data: Path) -> None:
        long = folder / ("d" * 120) / "по-русски, с запятой"
        os.renames(data, long)
        with EmbeddedPostgres(long, durable=False) as postgres:
            url = postgres.start()
            assert await _ask(url, "SELECT 1") == 1
            socket = parse_qs(urlsplit(url).query)["host"][0]
            assert os.stat(socket).st_mode & 0o077 == 0
        assert os.path.basename(socket) not in os.listdir(os.path.dirname(socket))

    async def test_lost_password_file_is_replaced(self, data: Path) -> None:
        before = (data / "password").read_text()
        (data / "password").unlink()
        with EmbeddedPostgres(data, durable=False) as postgres:
            assert await _ask(postgres.start(), "SELECT 1") == 1
        assert (data / "password").read_text() != before

    def test_start_outside_main_thread_is_refused(self, data: Path) -> None:
        refused: list[Exception] = []

        def start() -> None:
            try:
                EmbeddedPostgres(data).start()
            except RuntimeError as error:
                refused.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        assert "main thread" in str(refused[0])

    def test_stale_pid_file_of_unrelated_process_is_ignored(self, data: Path) -> None:
        stranger = embedded_process.spawn(embedded_location.account_for(data), ["/bin/sleep", "60"])
        try:
            (data / "cluster" / "postmaster.pid").write_text(f"{stranger.pid}\n{data}/cluster\n0\n5432\n\n\n0 0\n")
            with EmbeddedPostgres(data, durable=False):
                pass
        finally:
            stranger.kill()
            stranger.wait()


class TestSettings:
    async def test_durable_settings_are_enabled(self, data: Path) -> None:
        with EmbeddedPostgres(data) as postgres:
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
                assert await _ask(postgres.start(), f"SHOW {name}") == "on"

    async def test_given_settings_apply_at_each_start(self, data: Path) -> None:
        for wanted in ("21", "22"):
            settings = {"max_connections": wanted}
            with EmbeddedPostgres(data, settings=settings, durable=False) as postgres:
                assert await _ask(postgres.start(), "SHOW max_connections") == wanted
                assert await _ask(postgres.start(), "SHOW fsync") == "off"

    def test_invalid_setting_is_reported_in_single_line(self, data: Path) -> None:
        with pytest.raises(EmbeddedPostgresError, match=r"FATAL.*shared_buffers") as raised:
            EmbeddedPostgres(data, settings={"shared_buffers": "lots"}).start()
        assert "\n" not in str(raised.value)
        _wait_until(lambda: _all_ended(data))

    async def test_connection_without_password_is_refused(self, data: Path) -> None:
        with EmbeddedPostgres(data, durable=False) as postgres:
            url = postgres.start()
            password = (data / "password").read_text()
            with pytest.raises(asyncpg.InvalidPasswordError):
                await _ask(url.replace(password, "guess"), "SELECT 1")
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await _ask(url.replace("messenger:", "postgres:"), "SELECT 1")
            assert await _ask(url, "SHOW listen_addresses") == ""
            assert (data / "password").stat().st_mode & 0o077 == 0
            assert (data / "run").stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("bin_dir", [None, pytest.param(_DEBIAN_15, marks=_WITH_DEBIAN_15)])
    async def test_cyrillic_text_is_searchable(self, folder: Path, bin_dir: Path | None) -> None:
        with EmbeddedPostgres(folder / "data", bin_dir=bin_dir, durable=False) as postgres:
            extension = "CREATE EXTENSION pg_trgm"
            assert await _ask(postgres.start(), extension, "SELECT show_trgm('Привет') <> '{}'") is True
            assert await _ask(postgres.start(), "SELECT lower('ПРИВЕТ') || upper('ё')") == "приветЁ"


class TestOwnerProcess:
    @pytest.mark.parametrize("tie", ["kernel", "watchdog"])
    async def test_killing_owner_stops_server_without_data_loss(
        self, data: Path, own: Callable[..., Owner], tie: str
    ) -> None:
        owner = own(data, tie)
        assert await _ask(owner.url(), "CREATE TABLE t AS SELECT 7 AS n", "SELECT n FROM t") == 7
        owner.kill()
        _wait_until(lambda: _all_ended(data))
        with EmbeddedPostgres(data, durable=False) as postgres:
            assert await _ask(postgres.start(), "SELECT n FROM t") == 7

    async def test_start_after_owner_kill_waits_for_old_server(self, data: Path, own: Callable[..., Owner]) -> None:
        owner = own(data)
        connection = await asyncpg.connect(owner.url())
        owner.kill()
        with EmbeddedPostgres(data, durable=False) as postgres:
            assert await _ask(postgres.start(), "SELECT 1") == 1
        connection.terminate()

    def test_old_server_still_running_is_reported(
        self, data: Path, own: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "LEFT_OVER_SECONDS", 0.05)
        owner = own(data)
        assert owner.url()
        postmaster = _postmaster(data)
        os.kill(postmaster, signal.SIGSTOP)
        try:
            owner.kill()
            with pytest.raises(EmbeddedPostgresError, match=f"process {postmaster}.*does not end"):
                EmbeddedPostgres(data, durable=False).start()
        finally:
            os.kill(postmaster, signal.SIGCONT)
        _wait_until(lambda: _all_ended(data))

    def test_second_owner_is_refused(self, data: Path, own: Callable[..., Owner]) -> None:
        owner = own(data)
        assert owner.url()
        with pytest.raises(EmbeddedPostgresError, match=f"in use by another server .process {owner.process.pid}"):
            EmbeddedPostgres(data, durable=False).start()
        assert owner.process.poll() is None
        assert _postmaster(data)

    async def test_killing_owner_during_initdb_leaves_no_partial_cluster(
        self, folder: Path, own: Callable[..., Owner]
    ) -> None:
        owner = own(folder / "data")
        _wait_until((folder / "data" / "cluster.new" / "PG_VERSION").exists)
        owner.kill()
        assert not (folder / "data" / "cluster").exists()
        with EmbeddedPostgres(folder / "data", durable=False) as postgres:
            assert await _ask(postgres.start(), "SELECT 1") == 1

    async def test_killed_server_can_be_restarted(self, data: Path) -> None:
        with EmbeddedPostgres(data, durable=False) as postgres:
            postgres.start()
            os.kill(_postmaster(data), signal.SIGKILL)
            _wait_until(lambda: not postgres.is_running)
            assert await _ask(postgres.start(), "SELECT 1") == 1
