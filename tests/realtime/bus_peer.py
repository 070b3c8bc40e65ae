"""A process with a bus, for `test_bus_hosts.py`: `bus_peer.py URL PROBE_SECONDS`.

`say N` on its input publishes `DevicesRevoked(N)`; its output is `up`, `down`, `back` (on_reconnect) and `heard N`.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

from messenger.bus.bus import Bus
from messenger.bus.messages import BusMessage, DevicesRevoked
from messenger.bus.nats import NatsTransport
from messenger.bus.redis import RedisTransport


class Receiver:
    """Prints what it receives."""

    def on_message(self, message: BusMessage) -> None:
        if isinstance(message, DevicesRevoked):
            write_line(f"heard {message.user_id}")

    def on_disconnect(self) -> None:
        """`watch` prints it."""

    def on_reconnect(self) -> None:
        write_line("back")


def write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def watch(bus: Bus) -> None:
    """Print each change; the bus itself only announces that it has reconnected."""
    before = False
    while True:
        if bus.connected is not before:
            before = bus.connected
            write_line("up" if before else "down")
        await asyncio.sleep(0.005)


async def main(url: str, probe_seconds: float) -> None:
    kind = NatsTransport if url.startswith("nats:") else RedisTransport
    bus = Bus(uuid4(), kind(url, "hosts", probe_seconds=probe_seconds))
    bus.subscribe(Receiver())
    tasks = [asyncio.create_task(bus.run()), asyncio.create_task(watch(bus))]
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        bus.publish(DevicesRevoked(int(line.split()[1])))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
