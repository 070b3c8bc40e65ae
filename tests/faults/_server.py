"""A server that keeps its port and folder however often it is killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from tests.support.server import SERVE, launch

_START_SECONDS = 60.0


class Server:
    """`process` is the newest one. `log` holds the output of all of them."""

    process: subprocess.Popen[bytes]

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        settings: Mapping[str, object],
        command: Sequence[str] = SERVE,
        variables: Mapping[str, str] = {},
    ) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self.settings = dict(settings)
        self.command = command
        self.variables = dict(variables)

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        self.process = launch(
            self.folder, self.port, self.log, self.settings, command=self.command, variables=self.variables
        )

    async def restart(self, *, attempts: int = 20) -> None:
        """Start it until it serves, as a service manager would: an ending process still has its port and folder."""
        deadline = time.monotonic() + _START_SECONDS
        self.start()
        async with httpx.AsyncClient(timeout=1.0) as http:
            while not await self.is_ready(http):
                if self.process.poll() is not None:
                    attempts -= 1
                    if attempts:
                        self.start()
                if not attempts or time.monotonic() > deadline:
                    raise AssertionError(f"the server isn't ready:\n{self.tail()}")
                await asyncio.sleep(0.05)

    async def is_ready(self, http: httpx.AsyncClient) -> bool:
        """Whether it reports that it can serve."""
        try:
            return (await http.get(f"{self.url}/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    def workers(self) -> list[psutil.Process]:
        """The processes that accept connections now: its workers, or itself where it serves alone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [each for each in (root, *root.children(recursive=True)) if _accepts(each)]
        return []

    def stop(self, patience: float) -> None:
        """Ask it to end, and kill it if it does not; blocks."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
            return
        self.process.kill()
        self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _accepts(process: psutil.Process) -> bool:
    """Whether it accepts connections, as Linux reports: a starting process has its socket, but does not poll it yet."""
    with contextlib.suppress(psutil.Error, OSError):
        listening = {each.fd for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        if listening:
            watched = "".join(info.read_text() for info in Path(f"/proc/{process.pid}/fdinfo").iterdir())
            return any(re.search(rf"^tfd: +{fd} ", watched, re.MULTILINE) for fd in listening)
    return False
