"""`messenger serve` from an operator's point of view."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from messenger.embedded.postgres import EmbeddedPostgres
from messenger.server.listening import listening_on, url_of
from messenger.testing.factories import PASSWORD
from messenger.testing.folders import memory_folder
from tests.support.server import command, refused, running


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder("serve") as path:
        yield path


CHEAP = {"password_time_cost": 1, "password_memory_cost": 32}


class DurableDatabase:
    """A durable PostgreSQL, unless its settings say otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, sql: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            await connection.execute(sql)
            await connection.close()

        asyncio.run(run())


@pytest.fixture
def durable(folder: Path) -> Iterator[DurableDatabase]:
    with EmbeddedPostgres(folder / "apart") as postgres:
        yield DurableDatabase(postgres.start())


class TestEmbeddedDatabase:
    def test_server_starts_from_empty_folder(self, folder: Path) -> None:
        with running(folder, **CHEAP) as server:
            draft = {"username": "ada", "password": PASSWORD, "name": "Ada"}
            assert httpx.post(f"{server.url}/register", json=draft).status_code == 201

    def test_accounts_survive_restart(self, folder: Path) -> None:
        with running(folder, **CHEAP) as server:
            httpx.post(f"{server.url}/register", json={"username": "ada", "password": PASSWORD, "name": "Ada"})
        with running(folder, **CHEAP) as server:
            answer = httpx.post(f"{server.url}/login", json={"login": "ada", "password": PASSWORD})
        assert answer.status_code == 200

    @pytest.mark.parametrize("workers", [1, 2])
    def test_killed_server_leaves_no_process(self, folder: Path, workers: int) -> None:
        with running(folder, workers=workers) as server:
            processes = server.descendants()
            assert any("postgres" in process.name() for process in processes)
            server.process.kill()
            server.process.wait()
            _, alive = psutil.wait_procs(processes, timeout=20)
        assert alive == []

    def test_server_recovers_after_database_was_killed(self, folder: Path) -> None:
        with running(folder, **CHEAP) as server:
            postmaster = next(p for p in psutil.Process(server.process.pid).children() if "postgres" in p.name())
            postmaster.kill()
            psutil.wait_procs([postmaster], timeout=10)
            server.await_ready()
            draft = {"username": "ada", "password": PASSWORD, "name": "Ada"}
            assert httpx.post(f"{server.url}/register", json=draft).status_code == 201

    def test_second_server_on_same_data_folder_is_refused(self, folder: Path) -> None:
        with running(folder):
            code, said = refused(folder, port=0)
        assert code == 1
        assert "in use" in said
        assert len(said.strip().splitlines()) == 1


class TestStartLog:
    def test_start_log_names_reference_and_served_demo(self, folder: Path) -> None:
        for demo, end in (("on", "the API reference is at /docs, the demo at /demo"), ("off", "reference is at /docs")):
            with running(folder, demo=demo, **CHEAP) as server:
                lines = server.log.read_text().splitlines()
                assert httpx.get(f"{server.url}/").status_code == 200
            assert [line.endswith(end) for line in lines if "/docs" in line] == [True]


class TestDataFolder:
    def test_doctor_names_database_location(self, folder: Path) -> None:
        with running(folder, **CHEAP):
            done = command(folder, "doctor")
        assert f", in {folder}/postgres" in done.stdout

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
    def test_doctor_warns_of_database_outside_data_folder(self, folder: Path) -> None:
        elsewhere = folder / "elsewhere" / "postgres"
        (folder / "data").mkdir()
        with running(folder / "data", **CHEAP):
            pass
        elsewhere.parent.mkdir()
        (folder / "data" / "postgres").rename(elsewhere)
        (folder / "data" / "postgres.location").write_text(str(elsewhere))
        done = command(folder / "data", "doctor")
        assert f", in {elsewhere}" in done.stdout
        assert f"Its files are outside of {folder}/data: back up both." in done.stdout

    def test_missing_database_is_refused(self, folder: Path) -> None:
        with running(folder, **CHEAP):
            pass
        shutil.rmtree(folder / "postgres")
        code, said = refused(folder, port=0)
        assert code == 1
        assert "PostgreSQL is missing" in said.strip().splitlines()[-1]
        assert not (folder / "postgres").exists()

    def test_uncreatable_folder_is_named(self, folder: Path) -> None:
        (folder / "file").touch()
        code, said = refused(folder, data_dir=folder / "file" / "data")
        assert code == 2
        assert said == f"messenger: MESSENGER_DATA_DIR: {folder}/file/data is not writable: Not a directory\n"


class TestShutdown:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_sigterm_ends_cleanly(self, folder: Path, workers: int) -> None:
        with running(folder, workers=workers) as server:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(15) == 0


class TestStartRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("port", "eighty"),
            ("port", "70000"),
            ("workers", "0"),
            ("database_url", "mysql://root@localhost/x"),
            ("secret", "short"),
            ("activity_resolution", "-1"),
            ("rate_limits", "maybe"),
            ("turn_urls", "turn:relay.example:3478"),
            ("stun_urls", "http://relay.example"),
            ("storage_url", "somewhere"),
            ("storage_url", "ftp://example/x"),
            ("metrics_token", "short"),
        ],
    )
    def test_invalid_setting_is_named_in_single_line(self, folder: Path, name: str, value: str) -> None:
        code, said = refused(folder, **{name: value})
        assert code == 2
        lines = said.strip().splitlines()
        assert len(lines) == 1
        assert "MESSENGER_" in lines[0]

    def test_unreachable_database_is_named_in_single_line(self, folder: Path) -> None:
        code, said = refused(folder, database_url="postgresql://nobody@127.0.0.1:1/none")
        assert code == 2
        assert said.strip().splitlines()[-1].startswith("messenger: MESSENGER_DATABASE_URL")

    @pytest.mark.parametrize("environment", ["development", "production"])
    def test_database_risking_message_loss_is_refused(
        self, folder: Path, fresh_database_url: str, environment: str
    ) -> None:
        # The tests' own PostgreSQL runs with all three off.
        code, said = refused(folder, database_url=fresh_database_url, environment=environment, port=0)
        assert code == 2
        assert "fsync, full_page_writes, synchronous_commit is off" in said

    def test_role_setting_risking_message_loss_is_refused(self, folder: Path, durable: DurableDatabase) -> None:
        durable.run("ALTER ROLE messenger SET synchronous_commit = off")
        code, said = refused(folder, database_url=durable.url, port=0)
        assert code == 2
        assert ": synchronous_commit is off" in said

    def test_allow_data_loss_starts_with_warning(self, folder: Path, fresh_database_url: str) -> None:
        with running(folder, database_url=fresh_database_url, allow_data_loss="on", **CHEAP) as server:
            assert "acknowledged messages can be lost" in server.log.read_text()

    def test_production_refuses_allow_data_loss(self, folder: Path) -> None:
        code, said = refused(folder, allow_data_loss="on", environment="production", port=0)
        assert code == 2
        assert "MESSENGER_ALLOW_DATA_LOSS" in said


class TestListenAddress:
    @pytest.mark.parametrize(
        ("host", "listens"),
        [
            ("127.0.0.1", ["127.0.0.1"]),
            ("::1", ["[::1]"]),
            ("[::1]", ["[::1]"]),
            ("localhost", ["127.0.0.1", "[::1]"]),
        ],
    )
    def test_host_is_bound_and_shown_as_url(self, host: str, listens: list[str]) -> None:
        with listening_on(host, 0) as sockets:
            port = sockets[0].getsockname()[1]
            assert [url_of(each) for each in sockets] == [f"http://{each}:{port}" for each in listens]
            for each in sockets:
                each.listen()
                socket.create_connection(each.getsockname()[:2], timeout=5).close()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_localhost_is_served_on_both_families(self, folder: Path, workers: int) -> None:
        with running(folder, host="localhost", workers=workers) as server:
            port = server.url.rpartition(":")[2]
            assert f"listening on http://127.0.0.1:{port} and http://[::1]:{port}" in server.log.read_text()
            for host in ("127.0.0.1", "[::1]"):
                assert httpx.get(f"http://{host}:{port}/health/live", timeout=10).status_code == 200

    def test_unknown_name_is_refused(self, folder: Path) -> None:
        code, said = refused(folder, host="no-such-host.invalid", port=0)
        assert code == 2
        assert said.startswith(
            "messenger: MESSENGER_HOST, MESSENGER_PORT: no-such-host.invalid:0 cannot be listened on"
        )

    def test_port_in_use_is_named_in_single_line(self, folder: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            code, said = refused(folder, port=taken.getsockname()[1])
        assert code == 2
        assert "MESSENGER_PORT" in said
        assert len(said.strip().splitlines()) == 1
