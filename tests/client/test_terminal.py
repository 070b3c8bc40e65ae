"""The chat in a pseudo-terminal with a real server, driven by bytes as a user types them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.client.real import PASSWORD, Device, befriend, device, serving

DOWN, ENTER = "\x1b[B", "\r"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"


class Terminal:
    """A program on a terminal of 110 columns and 30 rows."""

    def __init__(self, *command: str, home: Path) -> None:
        self._side, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            command, stdin=side, stdout=side, stderr=side, env=environment, cwd=home, start_new_session=True
        )
        os.close(side)
        self._shown = ""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._side, self._read)

    def _read(self) -> None:
        try:
            self._shown += os.read(self._side, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self._side)
        self._more.set()

    async def seen(self, text: str) -> None:
        """Wait until the program has written this."""
        try:
            async with asyncio.timeout(60):
                while text not in _ESCAPE.sub("", self._shown):
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not written: {self._shown[-2000:]!r}") from None

    def type(self, keys: str) -> None:
        """Type everything at once."""
        os.write(self._side, keys.encode())

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._side)
        self.process.kill()
        self.process.wait()
        os.close(self._side)


@asynccontextmanager
async def chat(url: str, username: str, home: Path) -> AsyncIterator[Terminal]:
    """`messenger chat`, signed in."""
    command = (sys.executable, "-m", "messenger", "chat", "--url", url, "--username", username, "--no-save")
    terminal = Terminal(*command, home=home)
    try:
        await terminal.seen("Password")
        terminal.type(PASSWORD + ENTER)
        await terminal.seen("■ live")
        yield terminal
    finally:
        terminal.close()


async def bodies(reader: Device, writer: Device, count: int) -> list[str | None]:
    """The texts of a conversation, once there are this many."""
    async with asyncio.timeout(60):
        while True:
            items = await reader.client.whole_history(writer.user_id)
            if len(items) >= count:
                return [message.body for message in items]
            await reader.client.sync(reader.cursor, wait=1)
            reader.cursor = await reader.newest()


async def test_chat_sends_what_is_typed_and_pasted_at_once(tmp_path: Path) -> None:
    lines = [f"line {number} of forty" for number in range(40)]
    with serving() as server:
        async with device(server.url) as ada, device(server.url) as bob:
            await befriend(ada, bob)
            bob.cursor = await bob.newest()
            async with chat(server.url, ada.username, tmp_path) as terminal:
                await terminal.seen(bob.username)
                terminal.type(DOWN + ENTER)
                await terminal.seen(f"@{bob.username}")
                terminal.type("".join(line + ENTER for line in lines))
                terminal.type(PASTE_BEGINS + "alpha\r  beta\r\rgamma\r" + PASTE_ENDS + ENTER + "after" + ENTER)
                assert await bodies(bob, ada, 42) == [*lines, "alpha\n  beta\n\ngamma", "after"]
