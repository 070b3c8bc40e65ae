"""The contenders: servers on a port, and the CPU of their processes, without PostgreSQL's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol, Self

import psutil
from _server import Server, seconds_of

from messenger.testing.servers import free_port

_START_SECONDS = 30.0
_BENCHMARKS = Path(__file__).parents[1]
# `make setup` installs the baseline's additional packages there.
PACKAGES = _BENCHMARKS.parent / ".venv" / "bench"


class Contender(Protocol):
    """A server that is measured."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    def cpu(self) -> float:
        """CPU seconds that its processes have used so far."""
        ...


class Ours:
    """The product: `python -m messenger serve`."""

    name = "ours"

    def __init__(self, server: Server) -> None:
        self._server = server
        self.port = server.port

    def cpu(self) -> float:
        return self._server.cpu().server


class Yardstick:
    """An application of this package, on the database that ours fills."""

    def __init__(self, name: str, database_url: str, *, workers: int, pool_size: int) -> None:
        self.name = name
        self.port = free_port()
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (_BENCHMARKS, PACKAGES))),
            "MESSENGER_PORT": str(self.port),
            "MESSENGER_WORKERS": str(workers),
            "YARDSTICK_DATABASE_URL": database_url,
            "YARDSTICK_POOL_SIZE": str(pool_size),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "_yardsticks.serve", f"_yardsticks.{self.name}:app"]
        self._process = subprocess.Popen(command, env=self._environment)
        asyncio.run(self._until_ready(self._process))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def cpu(self) -> float:
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        return sum(seconds_of(process) for process in [root, *root.children(recursive=True)])

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < until:
            try:
                # A server that listens but is not ready delays its response.
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /nothing HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                answer = await reader.read(1)
                writer.close()
                if answer:
                    return
            except OSError:
                await asyncio.sleep(0.02)
        raise SystemExit(f"{self.name} did not start")
