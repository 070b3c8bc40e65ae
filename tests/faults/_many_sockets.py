"""Many sockets in a separate process, which can be stopped like an app that a phone's system has frozen. `python -m
tests.faults._many_sockets PORT` reads one JSON command a line from standard input, and answers each with a line. It
creates its users in the database, and uses the benchmarks' sockets: the Python client does too much for one device to
run a thousand of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket as sockets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

_ROOT = Path(__file__).parents[2]
_AT_ONCE = 64
_PATIENCE = 60.0
# Loopback's huge segments let the kernel buffer megabytes, which no network does.
_NARROW = ((sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096), (sockets.IPPROTO_TCP, sockets.TCP_MAXSEG, 1400))
_SENT_AT = re.compile(rb'"body":"t(\d+\.\d+) ')


class ManySockets:
    """The process, controlled from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def process(self) -> psutil.Process:
        """The process, to be suspended and resumed."""
        return psutil.Process(self._process.pid)

    async def do(self, command: str, /, **values: Any) -> Any:
        """Run a command, and wait for its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **values}).encode() + b"\n")
        said = await self._process.stdout.readline()
        if not said:
            raise AssertionError(f"a flock ended at {command}")
        return json.loads(said)


@asynccontextmanager
async def many_sockets(port: int) -> AsyncIterator[ManySockets]:
    """A process that ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults._many_sockets", str(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'benchmarks'}"},
        limit=1 << 24,
    )
    try:
        yield ManySockets(process)
    finally:
        process.kill()
        await process.wait()


# --- inside -----------------------------------------------------------------------------------------


class _Inside:
    """The commands, a method each."""

    def __init__(self, port: int) -> None:
        from _realtime.sockets import Socket

        self._port = port
        self._kind = Socket
        self._devices: list[Any] = []
        self._sockets: dict[Any, Socket] = {}
        self._delivered: list[float] = []
        self._codes: Counter[int] = Counter()
        self._refused: Counter[str] = Counter()
        self._options: dict[str, Any] = {}
        self._dialling = asyncio.Semaphore(_AT_ONCE)
        self._returning: set[asyncio.Task[float]] = set()

    async def people(self, *, database_url: str, first: int, count: int, friends: list[int]) -> list[int]:
        """Create users with a device each, numbered from here, all of them contacts of these users."""
        from _realtime.people import People

        people = await People.of(database_url)
        people._next = first
        self._devices = await people.make(count)
        users = [device.user_id for device in self._devices]
        await people.befriend((user, friend) for user in users for friend in friends)
        await people.close()
        return users

    async def connect(self, *, narrow: bool = False, source: str = "", returning: bool = True) -> int:
        """Open a socket for each of them; `returning`: an ended socket is reopened at its cursor."""
        self._options = {"narrow": narrow, "source": source, "returning": returning}
        waiting = iter(self._devices)

        async def some() -> None:
            for device in waiting:
                await self._connect(device, None)

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        return len(self._sockets)

    async def drop(self) -> dict[str, Any]:
        """Close all sockets at once and reopen them; return the seconds until each had caught up."""
        self._options["returning"] = False
        self._refused.clear()
        places = {device: socket.position for device, socket in self._sockets.items()}
        for socket in self._sockets.values():
            socket.cut()
        seconds = await asyncio.gather(*(self._reconnect(device, place) for device, place in places.items()))
        self._options["returning"] = True
        return {"seconds": max(seconds), "median": sorted(seconds)[len(seconds) // 2], "refused": dict(self._refused)}

    async def cut(self) -> None:
        """Close all sockets for good."""
        self._options["returning"] = False
        for socket in self._sockets.values():
            socket.cut()

    async def write(self, *, to: list[int], count: int, rate: float, size: int) -> dict[str, int]:
        """Send messages with their time to these users in turn, at a rate per second; return how many were
        acknowledged.
        """
        acknowledged: Counter[str] = Counter()
        writers = cycle([self._sockets[device] for device in self._devices])
        answered = asyncio.Event()

        def on_reply(_: int, code: str, __: float) -> None:
            acknowledged[code] += 1
            answered.set()

        for socket in self._sockets.values():
            socket.on_reply = on_reply
        began, run = perf_counter(), f"{random.getrandbits(48):x}"
        for number, user in enumerate(islice(cycle(to), count)):
            await asyncio.sleep(began + number / rate - perf_counter())
            body = f"t{perf_counter():.6f} " + "x" * size
            data: dict[str, object] = {"target_id": user, "client_id": f"{run}-{number}", "body": body}
            next(writers).request(number, "message.send", data)
        async with asyncio.timeout(_PATIENCE):
            while acknowledged.total() < count:
                answered.clear()
                await answered.wait()
        return dict(acknowledged)

    async def reach(self, *, ends: dict[str, int]) -> int:
        """Wait until everyone has everything up to there; return the number of gaps between events."""
        async with asyncio.timeout(_PATIENCE):
            while any(self._sockets[each].position < ends[str(each.user_id)] for each in self._devices):
                await asyncio.sleep(0.02)
        return int(self._kind.breaks)

    async def delivered(self) -> list[float]:
        """Seconds from sender to reader of all messages since the last call, sorted."""
        found, self._delivered = sorted(self._delivered), []
        return found

    async def codes(self) -> dict[int, int]:
        """How sockets ended."""
        return dict(self._codes)

    # --- one socket ---

    async def _connect(self, device: Any, position: int | None) -> None:
        loop = asyncio.get_running_loop()
        raw = sockets.socket()
        for option in _NARROW if self._options["narrow"] else ():
            raw.setsockopt(*option)
        raw.setblocking(False)
        socket = self._kind(device, position)
        socket.on_event = self._on_event
        try:
            # Send at once after connecting: a server does not wait for long, and one process has many sockets.
            async with self._dialling:
                if self._options["source"]:
                    raw.bind((self._options["source"], 0))
                await loop.sock_connect(raw, ("127.0.0.1", self._port))
                await loop.create_connection(lambda: socket, sock=raw)
        except OSError:
            raw.close()
            raise
        try:
            async with asyncio.timeout(_PATIENCE):
                await socket.caught_up
        except ConnectionError as error:
            code = socket.ended.result() if socket.ended.done() else 0
            raise ConnectionError(f"{error}, closed with {code}") from None
        self._sockets[device] = socket
        socket.ended.add_done_callback(lambda ended: self._on_end(device, socket, ended.result()))

    def _on_event(self, _: bytes, payload: bytes, now: float) -> None:
        sent_at = _SENT_AT.search(payload, 0, 2000)
        if sent_at is not None:
            self._delivered.append(now - float(sent_at[1]))

    def _on_end(self, device: Any, socket: Any, code: int) -> None:
        self._codes[code] += 1
        if self._options["returning"]:
            task = asyncio.create_task(self._reconnect(device, socket.position))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _reconnect(self, device: Any, position: int) -> float:
        started = perf_counter()
        while True:
            try:
                await self._connect(device, position)
            except (OSError, TimeoutError) as error:
                self._refused[f"{type(error).__name__} {error}"] += 1
                await asyncio.sleep(random.uniform(0, 0.5))
            else:
                return perf_counter() - started


async def _main(port: int) -> None:
    inside = _Inside(port)
    commands = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command: dict[str, Any] = json.loads(line)
        said = await getattr(inside, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
