"""NATS and Redis servers for tests, from the binaries of the machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

REQUIRED = "MESSENGER_TEST_REQUIRE_SERVERS"
START_SECONDS = 20.0
_FIRST_PORT, _PORTS = 20_000, 12_000


def require(binary: str, *, package: str) -> str:
    """The path of a program. Without it the test is skipped, or fails if `MESSENGER_TEST_REQUIRE_SERVERS` is set."""
    # Debian installs servers in a folder that may not be in a user's PATH.
    path = shutil.which(binary) or shutil.which(binary, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        give_up(f"NOT TESTED: missing {binary} here (apt-get install {package})")
    return path


def give_up(reason: str) -> NoReturn:
    """Skip the test, with a visible reason, or fail if the servers are required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    pytest.skip(reason)


def freeze(process: int) -> None:
    """Send SIGSTOP, and wait until all threads have stopped."""
    os.kill(process, signal.SIGSTOP)
    deadline = time.monotonic() + START_SECONDS
    while not all(_is_stopped(thread) for thread in Path(f"/proc/{process}/task").glob("*/stat")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {process} does not stop")
        time.sleep(0.001)


def _is_stopped(thread: Path) -> bool:
    try:
        # The name before it, in brackets, may contain any character.
        return thread.read_text().rpartition(")")[2].split()[0] in "TtZX"
    except FileNotFoundError:
        return True


def free_port(host: str = "127.0.0.1") -> int:
    """A free TCP port.

    It is outside of the range for outgoing connections (Linux: 32768 to 60999), one of which could take the port
    before it is used.
    """
    while True:
        # Not with `random`, which has the same seed in every test process.
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


class ServerProcess:
    """A server that can be killed and restarted on its port; it is stopped at the end of the block."""

    binary = ""
    package = ""
    scheme = ""
    # Sent on a new connection, and the beginning of the expected answer.
    question, answer = b"", b""

    def __init__(self, host: str = "127.0.0.1", *, password: str = "", extra: Sequence[str] = ()) -> None:
        self.host = host
        self.extra = extra
        self.password = password
        self._path = require(self.binary, package=self.package)
        self.port = free_port(host)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, with the password."""
        account = f"tester:{self.password}@" if self.password else ""
        return f"{self.scheme}://{account}{self.host}:{self.port}"

    def arguments(self) -> Sequence[str]:
        """The command-line arguments."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [*_parting(), self._path, *self.arguments(), *self.extra]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.binary} did not start on {self.host}:{self.port}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server, if it is running."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Suspend the server: connections stay open without answers, as if half-open."""
        assert self._process is not None
        freeze(self._process.pid)

    def thaw(self) -> None:
        """Resume the server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(self.question)
                heard = connection.recv(100)
                return bool(heard) and heard.startswith(self.answer)
        except OSError:
            return False


class NatsServer(ServerProcess):
    """NATS without JetStream."""

    binary = package = "nats-server"
    scheme = "nats"
    answer = b"INFO"

    def arguments(self) -> Sequence[str]:
        account = ["--user", "tester", "--pass", self.password] if self.password else []
        return ["--addr", self.host, "--port", str(self.port), *account]


class RedisServer(ServerProcess):
    """Redis without persistence."""

    binary = package = "redis-server"
    scheme = "redis"
    question = b"PING\r\n"

    def arguments(self) -> Sequence[str]:
        account = ["--user", "tester", "on", f">{self.password}", "~*", "&*", "+@all", "--user", "default", "off"]
        return [
            *("--bind", self.host, "--port", str(self.port), "--save", "", "--appendonly", "no"),
            *("--protected-mode", "no", *(account if self.password else ())),
        ]


def _parting() -> list[str]:
    # The server ends even if the tests are killed. Only in the main thread: the kernel sends the signal when the thread
    # that started it ends.
    setpriv = shutil.which("setpriv")
    if sys.platform != "linux" or setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]


class Proxy:
    """A TCP proxy that can silently stop forwarding, like a broken network."""

    def __init__(self, dial: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]) -> None:
        self.port = 0
        self._dial = dial
        self._flows: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def hold(self, *numbers: int) -> None:
        """Stop forwarding for these connections, numbered in the order of their creation; all by default."""
        for number in numbers or range(len(self._flows)):
            self._flows[number].clear()

    async def __aenter__(self) -> Self:
        listening = socket.socket()
        # Small buffers, so that the sender is soon blocked.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._on_connection, sock=listening, limit=1024)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._dial()
        flows = asyncio.Event()
        flows.set()
        self._flows.append(flows)
        ways = (reader, there[1]), (there[0], writer)
        tasks = [asyncio.create_task(_carry(*way, flows)) for way in ways]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, there[1]):
            end.transport.abort()
        for task in tasks:
            task.cancel()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            await flows.wait()
            writer.write(data)
            await writer.drain()
