"""Database URLs: poolers, and several hosts of which one accepts writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from messenger.database.connection import connect
from messenger.database.engine import create_engine
from messenger.embedded import process as embedded_process
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.testing.factories import PASSWORD
from tests.end_to_end._pgbouncer import PgBouncer
from tests.support.server import command, refused, running

CHEAP = {"password_time_cost": 1, "password_memory_cost": 32, "allow_data_loss": "on"}
IGNORED = "ignore_startup_parameters = statement_timeout,lock_timeout,jit,plan_cache_mode,random_page_cost"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's and PgBouncer's user can reach."""
    path = Path(tempfile.mkdtemp(prefix="messenger-urls-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data_dir(folder: Path) -> Path:
    (folder / "data").mkdir(mode=0o711)
    return folder / "data"


@pytest.fixture
def pooler_folder(folder: Path) -> Path:
    (folder / "pooler").mkdir()
    return folder / "pooler"


class Options:
    """The settings that the engine needs."""

    pool_size, pool_timeout, statement_timeout = 2, 2.0, 5.0


class TestTransactionPooler:
    @pytest.fixture(params=["", IGNORED, "server_round_robin = 1", "server_reset_query_always = 1"])
    def pooler(self, request: pytest.FixtureRequest, pooler_folder: Path, fresh_database_url: str) -> Iterator[str]:
        with PgBouncer(pooler_folder, fresh_database_url, "transaction", request.param) as pooler:
            yield pooler.url

    def test_serve_refuses_transaction_pooler_in_single_line(self, data_dir: Path, pooler: str) -> None:
        code, said = refused(data_dir, database_url=pooler, port=0, **CHEAP)
        assert code == 2
        assert said.startswith("messenger: MESSENGER_DATABASE_URL: a transaction pooler is not supported; use session")
        assert len(said.splitlines()) == 1

    def test_doctor_refuses_transaction_pooler(self, data_dir: Path, pooler: str) -> None:
        done = command(data_dir, "doctor", database_url=pooler, **CHEAP)
        assert done.returncode == 1
        assert "FAIL database: a transaction pooler is not supported" in done.stdout

    def test_bus_refuses_transaction_pooler(self, data_dir: Path, pooler: str, fresh_database_url: str) -> None:
        code, said = refused(data_dir, database_url=fresh_database_url, bus_url=pooler, port=0, **CHEAP)
        assert code == 2
        assert said.startswith("messenger: MESSENGER_BUS_URL: a transaction pooler is not supported")

    def test_doctor_refuses_transaction_pooler_for_bus(
        self, data_dir: Path, pooler: str, fresh_database_url: str
    ) -> None:
        done = command(data_dir, "doctor", database_url=fresh_database_url, bus_url=pooler, **CHEAP)
        assert "FAIL bus: a transaction pooler is not supported" in done.stdout


class TestStatementPooler:
    def test_serve_refuses_statement_pooler(self, data_dir: Path, pooler_folder: Path, fresh_database_url: str) -> None:
        with PgBouncer(pooler_folder, fresh_database_url, "statement") as pooler:
            code, said = refused(data_dir, database_url=pooler.url, port=0, **CHEAP)
        assert code == 2
        assert "a transaction pooler is not supported" in said


class TestSessionPooler:
    @pytest.fixture(params=["", IGNORED])
    def pooler(self, request: pytest.FixtureRequest, pooler_folder: Path, fresh_database_url: str) -> Iterator[str]:
        with PgBouncer(pooler_folder, fresh_database_url, "session", request.param) as pooler:
            yield pooler.url

    def test_server_runs_through_session_pooler(self, data_dir: Path, pooler: str) -> None:
        with running(data_dir, database_url=pooler, workers=2, **CHEAP) as server:
            draft = {"username": "ada", "password": PASSWORD, "name": "Ada"}
            assert httpx.post(f"{server.url}/register", json=draft).status_code == 201
        done = command(data_dir, "doctor", database_url=pooler, **CHEAP)
        assert "ok   database: PostgreSQL" in done.stdout

    async def test_connection_settings_apply_through_session_pooler(self, pooler: str) -> None:
        engine = create_engine(pooler, Options())
        names = ("statement_timeout", "lock_timeout", "plan_cache_mode", "random_page_cost", "jit")
        async with engine.connect() as connection:
            shown = [(await connection.execute(text(f"SHOW {name}"))).scalar() for name in names]
        await engine.dispose()
        assert shown == ["5s", "1800ms", "force_generic_plan", "1.1", "off"]


class Pair:
    """A primary, and a standby copied from it."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres, standby_folder: Path) -> None:
        self.primary = primary
        self._standby_folder = standby_folder
        self._standby = standby
        first, second = urlsplit(standby.start()), urlsplit(primary.start())
        sockets = [parse_qs(parts.query)["host"][0] for parts in (first, second)]
        # The standby comes first, so that a client that takes the first responding host takes the wrong one.
        query = f"host={quote(','.join(sockets))}&port=5432,5432"
        self.url = f"postgresql://{second.username}:{second.password}@/messenger?{query}"

    def promote(self) -> None:
        """Make the standby accept writes, as `pg_ctl promote` does."""
        cluster = self._standby_folder / "cluster"
        (cluster / "promote").touch()
        postmaster = embedded_process.postmaster_of(cluster)
        assert postmaster is not None
        os.kill(postmaster, signal.SIGUSR1)


@pytest.fixture
def pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    def takes_connections(cluster: Path, pid: int) -> bool:
        lines = embedded_process._pid_file(cluster)
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() in {"ready", "standby"}

    monkeypatch.setattr(embedded_process, "is_ready", takes_connections)
    with EmbeddedPostgres(folder / "primary", durable=False) as primary:
        assert command(folder, "db", "upgrade", database_url=primary.start()).returncode == 0
    subprocess.run(["cp", "-a", folder / "primary", folder / "standby"], check=True)
    (folder / "standby" / "cluster" / "standby.signal").touch()
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedPostgres(folder / "primary", durable=False))
        standby = stack.enter_context(EmbeddedPostgres(folder / "standby", durable=False))
        yield Pair(primary, standby, folder / "standby")


class TestSeveralHosts:
    @pytest.mark.parametrize("attributes", ["", "&target_session_attrs=read-write", "&target_session_attrs=primary"])
    async def test_connection_selects_writable_host(self, pair: Pair, attributes: str) -> None:
        connection = await connect(pair.url + attributes, timeout=5)
        assert await connection.fetchval("SELECT pg_is_in_recovery()") is False
        await connection.close()

    async def test_other_session_attributes_are_respected(self, pair: Pair) -> None:
        connection = await connect(f"{pair.url}&target_session_attrs=standby", timeout=5)
        assert await connection.fetchval("SELECT pg_is_in_recovery()") is True
        await connection.close()

    async def test_connection_fails_without_writable_host(self, pair: Pair) -> None:
        pair.primary.stop()
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
            await connect(pair.url, timeout=5)

    def test_server_follows_a_failover(self, pair: Pair, data_dir: Path) -> None:
        with running(data_dir, database_url=pair.url, **CHEAP) as server:
            pair.primary.stop()
            assert httpx.get(f"{server.url}/health/ready", timeout=10).status_code == 503
            pair.promote()
            server.await_ready()
            draft = {"username": "ada", "password": PASSWORD, "name": "Ada"}
            assert httpx.post(f"{server.url}/register", json=draft, timeout=10).status_code == 201


class TestSilentHost:
    @pytest.fixture
    async def silent(self) -> AsyncIterator[int]:
        """A port that accepts connections and never responds."""

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def test_silent_host_leaves_time_for_next_host(self, silent: int, fresh_database_url: str) -> None:
        parts = urlsplit(fresh_database_url)
        socket = parse_qs(parts.query)["host"][0]
        query = f"host=127.0.0.1,{quote(socket)}&port={silent},5432"
        url = f"postgresql://{parts.username}:{parts.password}@{parts.path}?{query}"
        async with asyncio.timeout(4):
            connection = await connect(url, timeout=4)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
