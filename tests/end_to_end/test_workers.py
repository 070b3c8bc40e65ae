"""Workers that die, and SIGHUP, which replaces workers or stops a server with a single worker."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from uvicorn.config import STARTUP_FAILURE

from messenger.testing.folders import memory_folder
from tests.support.server import Server, environment, running

TOKEN = "a-token-that-only-prometheus-has"
PATIENCE_SECONDS = 60.0
BROKEN = """
import socket, uvicorn
from messenger.server.workers import Workers
with socket.socket() as listening:
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config("tests.end_to_end._broken:app", workers=2, lifespan="on")
    Workers(config, [listening], lambda: None).run()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The folder of the server that outlives each test."""
    with memory_folder("workers") as path:
        yield path


@pytest.fixture(scope="module")
def other_folder() -> Iterator[Path]:
    """The folder of servers that end within a test."""
    with memory_folder("workers") as path:
        yield path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder, workers=2, metrics_token=TOKEN) as server:
        yield server


@pytest.fixture
def unreadable_settings(server: Server, folder: Path) -> Iterator[Path]:
    """A file that keeps new workers from starting."""
    # A worker started by an earlier test must not read it.
    _until_started(server, folder)
    path = folder / ".env"
    path.write_text("MESSENGER_SECRET=short\n")
    yield path
    path.unlink(missing_ok=True)
    _until_started(server, folder)


def _until(found: Callable[[], re.Match[str] | None]) -> re.Match[str]:
    """Poll: only the log shows when it happens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (match := found()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)
    return match


def _line(server: Server, pattern: str) -> re.Match[str]:
    return _until(lambda: re.search(pattern, server.log.read_text()))


def _workers(server: Server) -> list[int]:
    found = []
    for child in psutil.Process(server.process.pid).children():
        # A process that has just ended has no command line.
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def _started(server: Server, folder: Path) -> list[int]:
    """Workers that have read their settings: they have a file of gauges, which a failing worker never creates."""
    return [pid for pid in _workers(server) if (folder / "metrics" / f"gauge_livesum_{pid}.db").exists()]


def _until_started(server: Server, folder: Path) -> None:
    _until(lambda: re.match("2", str(len(_started(server, folder)))))


def _metric(server: Server, name: str) -> float:
    text = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


class TestWorkerDeath:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_worker_death_and_replacement_are_logged_and_counted(self, server: Server, number: signal.Signals) -> None:
        before = _metric(server, "messenger_worker_restarts_total")
        victim = _workers(server)[0]
        psutil.Process(victim).send_signal(number)
        how = rf"warning messenger\.server\.workers: worker {victim} was ended by signal {number:d} \({number.name}\)"
        successor = int(_line(server, rf"{how}; started worker (\d+) in its place")[1])
        server.await_ready()
        assert successor in _workers(server)
        assert victim not in _workers(server)
        assert _metric(server, "messenger_worker_restarts_total") == before + 1

    def test_sockets_of_dead_worker_are_not_counted_forever(self, server: Server, folder: Path) -> None:
        _until_started(server, folder)
        victim = _workers(server)[0]
        gauges = folder / "metrics" / f"gauge_livesum_{victim}.db"
        assert gauges.exists()
        psutil.Process(victim).kill()
        _line(server, rf"worker {victim} was ended")
        assert not gauges.exists()

    def test_first_worker_failing_to_start_ends_server_with_exit_code(self, folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", BROKEN],
            env={**environment(folder), "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == STARTUP_FAILURE
        assert b"can't start; stopping" in done.stderr

    def test_replacement_failing_to_start_keeps_other_workers(
        self, server: Server, folder: Path, unreadable_settings: Path
    ) -> None:
        victim, other = _workers(server)
        psutil.Process(victim).kill()
        _line(server, rf"worker \d+ exited with code {STARTUP_FAILURE}; started worker")
        assert httpx.get(f"{server.url}/health/ready", timeout=10).status_code == 200
        unreadable_settings.unlink()
        _until_started(server, folder)
        assert other in _started(server, folder)


class TestHangUp:
    def test_workers_are_replaced_without_a_refused_request(self, server: Server) -> None:
        before, drained = set(_workers(server)), len(re.findall("which drains", server.log.read_text()))
        restarts = _metric(server, "messenger_worker_restarts_total")
        server.process.send_signal(signal.SIGHUP)
        _line(server, r"info +messenger\.server\.workers: SIGHUP: replacing 2 workers, one after another")
        while len(re.findall("which drains", server.log.read_text())) < drained + 2:
            # Over a new connection each time.
            assert httpx.get(f"{server.url}/health/live", timeout=10).status_code == 200
        psutil.wait_procs([psutil.Process(pid) for pid in before if psutil.pid_exists(pid)], timeout=20)
        assert len(set(_workers(server)) - before) == 2
        assert _metric(server, "messenger_worker_restarts_total") == restarts

    def test_further_signals_are_handled_during_replacement(self, other_folder: Path) -> None:
        with running(other_folder, workers=2) as server:
            server.process.send_signal(signal.SIGHUP)
            _line(server, "replacing 2 workers")
            server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0

    @pytest.mark.usefixtures("unreadable_settings")
    def test_failing_successor_keeps_current_workers(self, server: Server) -> None:
        before = set(_workers(server))
        server.process.send_signal(signal.SIGHUP)
        _line(server, r"can't start; keeping the current workers")
        assert set(_workers(server)) == before
        assert httpx.get(f"{server.url}/health/ready").status_code == 200

    def test_hang_up_ends_single_worker_server_cleanly(self, other_folder: Path) -> None:
        with running(other_folder, workers=1) as server:
            server.process.send_signal(signal.SIGHUP)
            assert server.process.wait(20) == 0
            assert "info    messenger.serving: SIGHUP: shutting down" in server.log.read_text()

    def test_worker_ignores_hang_up(self, server: Server, folder: Path) -> None:
        _until_started(server, folder)
        before = _workers(server)
        psutil.Process(before[0]).send_signal(signal.SIGHUP)
        server.await_ready()
        assert _workers(server) == before

    def test_starting_worker_ignores_hang_up(self, server: Server, folder: Path) -> None:
        _until_started(server, folder)
        victim, other = _workers(server)
        psutil.Process(victim).kill()
        starting = int(_line(server, rf"worker {victim} was ended .* started worker (\d+) in its place")[1])
        psutil.Process(starting).send_signal(signal.SIGHUP)
        _until_started(server, folder)
        assert _workers(server) == [other, starting]
