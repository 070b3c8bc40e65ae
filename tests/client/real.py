"""A real server that can be killed and restarted on its port, and users with clients of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from messenger.client import CaughtUp, Client, Event, EventStream, Resync, Signal, State
from messenger.client.codec import Item
from messenger.testing.servers import free_port
from tests.support.server import Server, environment

PASSWORD = "fjord-lantern-quiet-93"
# Tokens with such a short lifetime that they are renewed all the time.
SETTINGS = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off", "access_token_ttl": 5}


class RealServer:
    """`messenger serve` with a data folder in memory."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108
        base = memory if os.access(memory, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="messenger-client-", dir=base))
        # PostgreSQL's own user must reach the folder.
        self.folder.chmod(0o711)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "messenger", "serve"],
                env=environment(self.folder, port=self.port, **SETTINGS),
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        Server(self._process, self.url, self.log).await_ready()

    def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving() -> Iterator[RealServer]:
    """A running server; at the end it is stopped and its data removed."""
    server = RealServer()
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGTERM)
        shutil.rmtree(server.folder, ignore_errors=True)


class Device:
    """A client that applies its stream to a state."""

    def __init__(self, client: Client, user_id: int, username: str) -> None:
        self.client = client
        self.user_id = user_id
        self.username = username
        self.state = State(user_id)
        self.stream: EventStream = client.stream()
        self.cursor = ""
        self.passed: set[str] = set()
        self.items: list[Item] = []
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def follow(self, **options: Any) -> None:
        """Load the state, and keep it current."""
        loaded = await self.client.load_state(messages=None, members=True)
        self.state, self.cursor = loaded.state, loaded.cursor
        self.passed.add(self.cursor)
        self.stream = self.client.stream(self.cursor, **options)
        self._task = asyncio.create_task(self._run())
        await self.receive(CaughtUp)

    async def _run(self) -> None:
        async for item in self.stream:
            if isinstance(item, Event):
                await self._apply(item)
            elif isinstance(item, Signal):
                self.state.apply_signal(item)
            elif isinstance(item, Resync):
                self.state = (await self.client.load_state(messages=None, members=True)).state
            self.cursor = getattr(item, "cursor", self.cursor)
            self.passed.add(self.cursor)
            self.items.append(item)
            self._moved.set()

    async def _apply(self, event: Event) -> None:
        assert self.state.apply(event), event
        while self.state.joined:
            await self.client.load_conversation(self.state, self.state.joined.pop(), messages=None)

    async def until(self, cursor: str) -> None:
        """Wait until the state has reached a position of the stream."""
        async with asyncio.timeout(30):
            while cursor not in self.passed:
                await self._next()

    async def receive(self, kind: type[Item], name: str | None = None) -> Item:
        """The first item of this kind and name; waits for it."""
        async with asyncio.timeout(30):
            while True:
                for item in self.items:
                    if isinstance(item, kind) and (name is None or getattr(item, "name", None) == name):
                        return item
                await self._next()

    async def _next(self) -> None:
        self._moved.clear()
        moved = asyncio.create_task(self._moved.wait())
        assert self._task is not None
        # A stream that has ended raises its reason.
        await asyncio.wait([moved, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            moved.cancel()
            self._task.result()
            raise AssertionError("the stream ended")

    async def ended(self) -> BaseException | None:
        """Why the stream ended; waits for the end."""
        assert self._task is not None
        async with asyncio.timeout(30):
            await asyncio.wait([self._task])
        return self._task.exception()

    async def newest(self) -> str:
        """The end of this user's stream."""
        return (await self.client.sync())[1]

    def cut(self) -> None:
        """Drop the connection of the socket without a close frame."""
        link = self.stream._link
        if link is not None:
            link._connection.transport.abort()


@asynccontextmanager
async def device(url: str, username: str | None = None, **options: Any) -> AsyncIterator[Device]:
    """A device: of a new account, or another device of an existing one."""
    async with Client(url, **options) as client:
        name = username or f"u{secrets.token_hex(5)}"
        view = await (client.login(name, PASSWORD) if username else client.register(name, PASSWORD))
        yield Device(client, view.user.id, name)


async def befriend(one: Device, other: Device) -> None:
    """Make them mutual contacts."""
    await one.client.subscribe(other.user_id)
    await other.client.confirm(one.user_id)
