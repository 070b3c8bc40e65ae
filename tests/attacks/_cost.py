"""What an attack costs the server: the longest stall of its event loop, and memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from messenger.testing.factories import PASSWORD
from tests.support.server import environment

_ROOT = Path(__file__).parents[2]
_SAMPLE_SECONDS = 0.01
MIB = 1024 * 1024


class Cost(msgspec.Struct, frozen=True):
    """`stall`: seconds on the clock; `cpu`: seconds of the event loop's thread; `grown` and `worker`: bytes by which
    the memory of the server and of its largest image worker grew.
    """

    answer: str
    stall: float
    cpu: float
    grown: int
    worker: int


class Victim:
    """The attacked process, and one user who is signed in there."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.memory = psutil.Process(process.pid)
        self.token = ""
        self.user_id = 0
        self.avatar = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bearer(self) -> bytes:
        """The `Authorization` header of the user."""
        return b"Authorization: Bearer %b\r\n" % self.token.encode()

    def state(self) -> dict[str, Any]:
        """Stalls, tasks and connections that the server reports since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        state: dict[str, Any] = json.loads(self.process.stdout.readline())
        return state

    async def measure(self, play: Callable[[Victim], Awaitable[str]]) -> Cost:
        """Measure what an attack costs."""
        await asyncio.to_thread(self.state)
        before = self.memory.memory_info().rss
        peak = [before, 0]
        done = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(peak, done))
        sampler.start()
        try:
            answer = await play(self)
            state = await asyncio.to_thread(self.state)
        finally:
            done.set()
            sampler.join()
        return Cost(answer, state["wall"], state["cpu"], peak[0] - before, peak[1])

    def _sample(self, peak: list[int], done: threading.Event) -> None:
        while not done.wait(_SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                peak[0] = max(peak[0], self.memory.memory_info().rss)
                peak[1] = max([peak[1], *(child.memory_info().rss for child in self.memory.children())])

    def join(self, name: str) -> tuple[int, str]:
        """Register a user; return the id and the token."""
        body = {"username": name, "password": PASSWORD, "name": name}
        answer = httpx.post(f"{self.url}/register", json=body, timeout=10).json()
        return answer["user"]["id"], answer["tokens"]["access_token"]


@contextmanager
def victim(folder: Path, database_url: str, **settings: object) -> Iterator[Victim]:
    """A server to attack, on a migrated database."""
    given = {
        "database_url": database_url,
        "secret": "a secret that only tests know, 32+",
        "storage_url": "memory:///",
        "bus_url": "local:",
        "password_time_cost": 1,
        "password_memory_cost": 32,
        "rate_limits": "off",
        "log_level": "error",
        **settings,
    }
    log = folder / "victim.log"
    with log.open("wb") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks._victim"],
            cwd=_ROOT,
            env=environment(folder, **given),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
    try:
        assert process.stdout is not None
        answer = process.stdout.readline()
        assert answer.strip().isdigit(), log.read_text()
        yield Victim(process, int(answer), log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
