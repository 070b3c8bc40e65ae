"""A real server: a separate process, started with the command that users run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from messenger.testing.servers import free_port

START_SECONDS = 60.0
SERVE = (sys.executable, "-m", "messenger", "serve")


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """A minimal environment with these settings (lower-case names)."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given = {f"MESSENGER_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "MESSENGER_DATA_DIR": str(folder), **given}


class Server:
    """The process and its address."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log

    def await_ready(self) -> None:
        """Wait until it serves; a process that ends first reports why."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                # Nothing reports when it listens; polling is the only way.
                time.sleep(0.02)
        raise AssertionError(f"the server isn't ready: {self.log.read_text()}")

    def descendants(self) -> list[psutil.Process]:
        """Its processes: workers, PostgreSQL."""
        return psutil.Process(self.process.pid).children(recursive=True)


def launch(
    folder: Path,
    port: int,
    log: Path,
    settings: Mapping[str, object],
    *,
    command: Sequence[str] = SERVE,
    variables: Mapping[str, str] = {},
) -> subprocess.Popen[bytes]:
    """Start a server in its data folder, with these settings and environment variables."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={**environment(folder, port=port, **settings), **variables},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Server]:
    """A serving server; at the end it is asked to stop, and killed if it does not."""
    port = free_port()
    log = folder / "server.log"
    log.unlink(missing_ok=True)
    process = launch(folder, port, log, settings)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        server.await_ready()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def refused(folder: Path, **settings: object) -> tuple[int, str]:
    """Start a server that must refuse to start; return its exit code and output."""
    done = subprocess.run(
        SERVE,
        env=environment(folder, **settings),
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def command(folder: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command beside the server, or on its data folder."""
    argv = [*SERVE[:-1], *words]
    env = environment(folder, **settings)
    return subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
