"""Idle sockets: their memory and CPU, and the reconnection of many at once."""

from __future__ import annotations

import asyncio
import itertools
from statistics import median
from time import perf_counter

from _http import Counts
from _report import Table, ms, percentile
from _server import Memory

from _realtime.bench import Bench
from _realtime.people import Device
from _realtime.sockets import Socket, connect, quiet
from _realtime.traffic import until

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
AIM_KILOBYTES = 24
_ASK_SECONDS = 0.02


async def idle(bench: Bench) -> list[Table]:
    """The cost of an idle socket, and of the reconnection of many sockets at once."""
    sizes = bench.pick(10_000, 2000), bench.pick(1000, 500), bench.pick(5000, 1000)
    most, few, storm = sizes
    devices = await bench.people.make(most + 200)
    pairs = zip(devices[::2], devices[1::2], strict=True)
    await bench.people.befriend((one.user_id, other.user_id) for one, other in pairs)
    await bench.people.settle()
    await _warm_up(bench, devices[most + 1 :])
    bystander = Bystander(await connect(bench.server.port, devices[most]))
    empty = bench.server.memory()
    sockets: list[Socket] = []
    rows = [_memory_row(0, empty, empty)]
    rows += [await _grow(bench, devices[:size], sockets, bystander, empty) for size in (few, most)]
    return [
        Table(
            "idle: memory and CPU of idle sockets",
            rows,
            [
                "Memory of the server's processes (`smaps_rollup`), without PostgreSQL's. Memory per socket is "
                "measured against the server without sockets, after some have connected and disconnected.",
                "Connecting includes the handshake, catching up, and notifying the user's one contact. Each idle "
                "socket is pinged every 30 s and compared with the table every 5 s.",
                "Others: the latency of another client's `ping` meanwhile, a request that does not use the database.",
            ],
        ),
        await _storm(bench, sockets[:storm], bystander),
    ]


class Bystander:
    """Another client that sends requests all the time, to measure the delay of the event loop."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._asked: dict[int, float] = {}
        self._waits: list[float] = []
        self._task: asyncio.Task[None] | None = None
        socket.on_reply = self._on_reply

    def row(self) -> dict[str, object]:
        """Of the last time."""
        return {"others p99, ms": ms(percentile(self._waits, 0.99)), "max, ms": ms(max(self._waits, default=0))}

    async def __aenter__(self) -> None:
        self._waits = []
        self._task = asyncio.create_task(self._ask())

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await until(lambda: not self._asked, 10)

    async def _ask(self) -> None:
        for number in itertools.count():
            self._asked[number] = perf_counter()
            self._socket.request(number, "ping", {})
            await asyncio.sleep(_ASK_SECONDS)

    def _on_reply(self, number: int, error: str, now: float) -> None:
        self._waits.append(now - self._asked.pop(number))


async def _warm_up(bench: Bench, devices: list[Device]) -> None:
    for socket in await bench.connect(devices):
        socket.cut()
    await quiet(1)


async def _grow(
    bench: Bench, devices: list[Device], sockets: list[Socket], bystander: Bystander, empty: Memory
) -> dict[str, object]:
    """Connect further sockets, and measure them while they are idle."""
    before, count = bench.server.cpu(), len(devices) - len(sockets)
    started = perf_counter()
    async with bystander:
        sockets += await bench.connect(devices[len(sockets) :])
        took = perf_counter() - started
    await quiet()
    connecting = bench.server.cpu().since(before).each(count)
    seconds = bench.pick(10, 3)
    before = bench.server.cpu()
    await asyncio.sleep(seconds)
    used = bench.server.cpu().since(before)
    return {
        **_memory_row(len(sockets), bench.server.memory(), empty),
        "connects/s": round(count / took),
        "CPU a connect, ms": round(connecting.server, 2),
        "PostgreSQL, ms": round(connecting.postgres, 2),
        **bystander.row(),
        "idle CPU, ms/s": round(1000 * used.server / seconds, 1),
        "PostgreSQL, ms/s": round(1000 * used.postgres / seconds, 1),
    }


def _memory_row(count: int, now: Memory, empty: Memory) -> dict[str, object]:
    row: dict[str, object] = {"sockets": count}
    for name, held, base in zip(("RSS", "PSS", "USS"), now, empty, strict=True):
        row[f"{name}, MB"] = round(held / MEGABYTE, 1)
        row[f"{name} a socket, KB"] = round((held - base) / KILOBYTE / count, 2) if count else ""
        if name == "RSS":
            row["aim"] = f"≤ {AIM_KILOBYTES}" if count else ""
    return row


async def _storm(bench: Bench, sockets: list[Socket], bystander: Bystander) -> Table:
    """Cut many sockets at once; all reconnect at once, without a delay."""
    counts, backends = await Counts.read(bench.server), [await bench.people.backends()]
    before, started = bench.server.cpu(), perf_counter()
    refused: dict[str, int] = {}
    for socket in sockets:
        socket.cut()
    watch = asyncio.create_task(_watch_backends(bench, backends))
    async with bystander:
        back = await asyncio.gather(*(_return(bench, socket, refused) for socket in sockets))
        took = perf_counter() - started
    watch.cancel()
    await quiet()
    used = bench.server.cpu().since(before).each(len(sockets))
    statements = (await Counts.read(bench.server)).since(counts, len(sockets))
    return Table(
        f"idle: {len(sockets)} sockets are cut and reconnect at once",
        [
            {
                "all reconnected, s": round(took, 2),
                "p50, s": round(median(back) - started, 2),
                "p99, s": round(percentile(back, 0.99) - started, 2),
                "CPU a reconnect, ms": round(used.server, 2),
                "PostgreSQL, ms": round(used.postgres, 2),
                **bystander.row(),
                "refused": refused or 0,
                "database connections before, most": f"{backends[0]}, {max(backends)}",
            }
        ],
        [
            f"Statements for each: {statements}.",
            "Each socket reconnects with its cursor; after a refusal, it retries in 50 ms.",
        ],
    )


async def _return(bench: Bench, socket: Socket, refused: dict[str, int]) -> float:
    """Reconnect; returns when the socket has caught up."""
    while True:
        try:
            return await (await connect(bench.server.port, socket.device, socket.position)).caught_up
        except ConnectionError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
            await asyncio.sleep(0.05)


async def _watch_backends(bench: Bench, seen: list[int]) -> None:
    while True:
        seen.append(await bench.people.backends())
        await asyncio.sleep(0.2)
