"""A database apart from the server: a process of its own keeps it running, as a service manager would. `python -m
tests.faults._database_process FOLDER [NAME=VALUE …]` starts PostgreSQL with these settings, restarts it when it dies,
and stops it when standard input is closed. It is a separate process because starting PostgreSQL blocks, and because the
kernel ends PostgreSQL with the thread that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from tests.support.proxy import Proxy

_START_SECONDS = 60.0
_LOOK_SECONDS = 0.1


class DatabaseProcess:
    """The process that keeps the database running, and the database's address."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = folder
        self._settings = settings

    async def start(self) -> None:
        """Start it and wait until PostgreSQL answers."""
        self._launch()
        deadline = time.monotonic() + _START_SECONDS
        while not _url_file(self.folder).exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start: {self._log.read_text()}")
            await asyncio.sleep(0.02)

    def _launch(self) -> None:
        self.folder.mkdir(mode=0o711, exist_ok=True)
        words = [f"{name}={value}" for name, value in self._settings.items()]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults._database_process", str(self.folder), *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def aclose(self) -> None:
        """End PostgreSQL and the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.to_thread(self.process.wait, _START_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    @property
    def url(self) -> str:
        """The URL of its Unix socket."""
        return _url_file(self.folder).read_text()

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Proxy]:
        """A path to it over TCP that can be cut."""
        query = parse_qs(urlsplit(self.url).query)
        path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        async with Proxy(path, make_socket=lambda: socket.socket(socket.AF_UNIX)) as proxy:
            yield proxy

    def url_through(self, proxy: Proxy) -> str:
        """Its URL through the proxy."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{proxy.port}{parts.path}"

    @property
    def _log(self) -> Path:
        return self.folder / "keeper.log"


def _url_file(folder: Path) -> Path:
    return folder / "url"


def _keep(folder: Path, settings: dict[str, str]) -> None:
    with EmbeddedPostgres(folder / "postgres", settings=settings) as postgres:
        partial = folder / "url.new"
        partial.write_text(postgres.start())
        partial.rename(_url_file(folder))
        while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            if not postgres.is_running:
                # While it cannot be started (a full disk), starting is retried.
                with contextlib.suppress(EmbeddedPostgresError):
                    postgres.start()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), dict(word.split("=", 1) for word in sys.argv[2:]))
