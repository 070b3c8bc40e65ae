"""An image worker, as seen by the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import cast

from messenger.media.frames import Answer, BadFrame, Done, Job, Ready, Refused, encode, take_answer

# By default glibc keeps large freed blocks; with a fixed threshold it returns them to the system.
_ENVIRONMENT = {"LANG": "C.UTF-8", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}


class WorkerDied(Exception):
    """The worker ended before it answered, or was killed because it violated the protocol."""

    def __init__(self, returncode: int | None) -> None:
        super().__init__(f"image worker ended with {returncode}")
        self.returncode = returncode

    @property
    def used_up_its_time(self) -> bool:
        """Whether the kernel killed it because it used up its CPU time."""
        return self.returncode == -signal.SIGXCPU


class WorkerProcess(asyncio.SubprocessProtocol):
    """A worker process, for one job at a time. Kill it if a job is abandoned, or the next one gets its answer."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.served = 0
        self._killed = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._pending: asyncio.Future[Answer] | None = loop.create_future()

    async def start(self, *, memory: int, max_pixels: int, cpu: int, jobs: int) -> None:
        """Start the process and wait until it is sandboxed. Raises WorkerDied or OSError."""
        numbers = map(str, (memory, max_pixels, cpu, jobs, os.getpid()))
        command = (sys.executable, "-I", "-m", "messenger.media.worker", *numbers)
        try:
            # Errors at its start appear in the server's log; the worker closes stderr afterwards.
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self, *command, stderr=None, cwd="/", env=_environment()
            )
            if not isinstance(await self._next_answer(), Ready):
                raise WorkerDied(None)
        except BaseException:
            self._pending = None
            self.kill()
            if self._transport is None:
                self._tell_exited()
            raise

    @property
    def pid(self) -> int:
        return self._transport.get_pid() if self._transport else 0

    @property
    def is_alive(self) -> bool:
        """Whether it is running and was not killed."""
        return not self._killed and self._transport is not None and self._transport.get_returncode() is None

    async def ask(self, data: bytes) -> Done | Refused:
        """The worker's answer for this file. Raises WorkerDied."""
        if self._transport is None or not self.is_alive:
            raise WorkerDied(None)
        self.served += 1
        self._pending = asyncio.get_running_loop().create_future()
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        stdin.write(encode(Job(self.served, data)))
        answer = await self._next_answer()
        if isinstance(answer, Ready) or answer.number != self.served:
            raise WorkerDied(None)
        return answer

    def kill(self) -> None:
        """Kill it; await `exited` for its end."""
        self._killed = True
        if self._transport is not None and self._transport.get_returncode() is None:
            self._transport.kill()

    async def _next_answer(self) -> Answer:
        assert self._pending is not None
        try:
            return await self._pending
        finally:
            self._pending = None

    # --- called by the event loop -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._received += data
        try:
            answer = take_answer(self._received)
        except BadFrame:
            self.kill()
            return
        if answer is None:
            return
        if self._pending is None or self._pending.done():
            # No job is pending: this must not be mistaken for the answer to the next one.
            self.kill()
        else:
            self._pending.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended and its pipes are read completely."""
        returncode = self._transport.get_returncode() if self._transport else None
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(WorkerDied(returncode))
        if self._transport is not None:
            self._transport.close()
        self._tell_exited()

    def _tell_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


def _environment() -> dict[str, str]:
    """Only the path of shared libraries: the server's environment contains secrets."""
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return _ENVIRONMENT | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
