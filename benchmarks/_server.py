"""A server for benchmarks, with durable settings and cheap password hashes, and the resources that it uses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

import httpx
import psutil

from messenger.testing.servers import free_port

_START_SECONDS = 60.0


class Cpu(NamedTuple):
    """Seconds of CPU that the server and its PostgreSQL have used."""

    server: float
    postgres: float

    def since(self, earlier: Cpu) -> Cpu:
        """The CPU used since `earlier`."""
        return Cpu(self.server - earlier.server, self.postgres - earlier.postgres)

    def each(self, count: int) -> Cpu:
        """Milliseconds for each of `count`."""
        return Cpu(1000 * self.server / count, 1000 * self.postgres / count)


class Memory(NamedTuple):
    """Bytes of the server's processes without PostgreSQL: resident, proportional and private memory."""

    rss: int
    pss: int
    uss: int


class Server:
    """`python -m messenger serve` with its own data folder, which is deleted at the end of the `with`.

    `port`: 0 for a free one. `python`: the interpreter of another checkout.
    """

    def __init__(self, port: int, *, python: Path | None = None, **settings: object) -> None:
        self._python = python or sys.executable
        self.port = port = port or free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="messenger-bench-", dir="/var/tmp"))
        self._folder.chmod(0o711)
        cheap = {"RATE_LIMITS": "off", "PASSWORD_TIME_COST": 1, "PASSWORD_MEMORY_COST": 32}
        self.settings: dict[str, object] = {"PORT": port, "DATA_DIR": self._folder, **cheap, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start, and wait until it is ready; returns the seconds taken."""
        environment = {**os.environ, **{f"MESSENGER_{name}": str(value) for name, value in self.settings.items()}}
        self._process = subprocess.Popen([self._python, "-m", "messenger", "serve"], env=environment)
        return asyncio.run(self._until_ready(self._process))

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        # A signal that ends the benchmark also ends its server.
        signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def database_url(self) -> str:
        """The URL of its PostgreSQL, while it runs."""
        return (self._folder / "postgres.url").read_text()

    def cpu(self) -> Cpu:
        """The CPU used so far, including children that have ended."""
        root = psutil.Process(self.pid)
        server = postgres = 0.0
        postmasters = []
        for process in [root, *root.children(recursive=True)]:
            # When a backend ends, its CPU time is added to its parent's.
            with contextlib.suppress(psutil.NoSuchProcess):
                if "postgres" not in process.name():
                    server += seconds_of(process)
                    continue
                if process.ppid() == root.pid:
                    postmasters.append(process)
                postgres += seconds_of(process)
        for process in postmasters:
            times = process.cpu_times()
            postgres += times.children_user + times.children_system
        return Cpu(server, postgres)

    def memory(self) -> Memory:
        """The memory in use (Linux)."""
        root = psutil.Process(self.pid)
        own = [each for each in [root, *root.children(recursive=True)] if "postgres" not in each.name()]
        held = [_rollup(process.pid) for process in own]
        return Memory(*(sum(column) for column in zip(*held, strict=True)))

    @property
    def pid(self) -> int:
        """The process ID of the server's first process, while it runs."""
        assert self._process is not None
        return self._process.pid

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> float:
        started = time.perf_counter()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as http:
            while process.poll() is None and time.perf_counter() - started < _START_SECONDS:
                try:
                    if (await http.get("/health/ready")).status_code == 200:
                        return time.perf_counter() - started
                except httpx.HTTPError:
                    await asyncio.sleep(0.01)
        raise SystemExit("the server did not start")


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def seconds_of(process: psutil.Process) -> float:
    """CPU of one process; on Linux from its clock, in nanoseconds (clock_getcpuclockid(3))."""
    if sys.platform == "linux":
        try:
            return time.clock_gettime(~process.pid << 3 | 2)
        except OSError:
            return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def _rollup(pid: int) -> Memory:
    """From `/proc/PID/smaps_rollup` (proc_pid_smaps(5)), in bytes."""
    kilobytes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kilobytes[name] = int(value)
    own = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    return Memory(kilobytes["Rss:"] * 1024, kilobytes["Pss:"] * 1024, own * 1024)
