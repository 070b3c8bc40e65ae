"""The attacked server, in a process of its own: the parts of `messenger serve` with short timeouts, and a probe.
`python -m tests.attacks._victim` prints its port on the first line, then answers each line of standard input with a
line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, cast

import uvicorn

from messenger import serving
from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.observability.logs import configure_logging
from messenger.server.http_protocol import ProtocolFactory
from messenger.server.timeouts import ClientTimeouts

PATIENCE = ClientTimeouts(connections=300, idle=1.5, head=1.5, body=4, rate=1024, window=1)
_TICK_SECONDS = 0.002


class Probe:
    """The longest stall of the event loop: the time between two ticks scheduled 2 ms apart. `wall`: seconds on the
    clock; `cpu`: seconds of the event loop's thread, which other processes do not lengthen.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._now, self._used = perf_counter(), thread_time()

    def tick(self) -> None:
        now, used = perf_counter(), thread_time()
        self.wall = max(self.wall, now - self._now - _TICK_SECONDS)
        self.cpu = max(self.cpu, used - self._used)
        self._now, self._used = now, used
        asyncio.get_running_loop().call_later(_TICK_SECONDS, self.tick)

    def take(self) -> dict[str, float]:
        """The longest stall since the last call."""
        taken = {"wall": self.wall, "cpu": self.cpu}
        self.wall = self.cpu = 0.0
        return taken


def _state(container: Container, server: uvicorn.Server, probe: Probe) -> dict[str, Any]:
    pool = cast(Any, container.engine.pool)
    return {
        **probe.take(),
        "connections": len(server.server_state.connections),
        "requests": len(server.server_state.tasks),
        "tasks": len(asyncio.all_tasks()),
        "on_loan": pool.checkedout(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


async def _main(settings: Settings) -> None:
    container, listening, probe = Container(settings), socket.socket(), Probe()
    listening.bind(("127.0.0.1", 0))
    config = serving._config(settings, create_app(container))
    config.http = cast(Any, ProtocolFactory(PATIENCE))
    config.timeout_graceful_shutdown = 2
    server = uvicorn.Server(config)

    def answer() -> None:
        asked = os.read(0, 1024)
        if not asked:
            # The process that started this one has ended.
            server.should_exit = True
            loop.remove_reader(0)
            return
        for _ in range(asked.count(b"\n")):
            print(json.dumps(_state(container, server, probe)), flush=True)  # noqa: T201

    loop = asyncio.get_running_loop()
    loop.add_reader(0, answer)
    serving_task = asyncio.create_task(server.serve([listening]))
    while not server.started and not serving_task.done():
        await asyncio.sleep(0.005)
    probe.tick()
    print(listening.getsockname()[1], flush=True)  # noqa: T201
    await serving_task


if __name__ == "__main__":
    settings = Settings.from_env(dotenv=None)
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=serving._loop) as runner:
        runner.run(_main(settings))
    sys.exit(0)
