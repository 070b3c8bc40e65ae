"""A device that reconnects with an old cursor."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from _http import pages
from _report import Table, middle
from _server import Cpu

from _realtime.bench import Bench
from _realtime.people import Device
from _realtime.sockets import connect, quiet
from _realtime.traffic import Line, Traffic


async def resume(bench: Bench) -> list[Table]:
    """A device with an old cursor: over the socket, and over pages of `GET /sync`."""
    events, each = 1000, bench.pick(5, 2)
    writers, readers = await bench.people.make(2 * each), await bench.people.make(2 * each)
    await bench.people.befriend((a.user_id, b.user_id) for a, b in zip(writers, readers, strict=True))
    await bench.people.settle()
    senders = await bench.connect(writers)
    lines = [Line(sender, reader.user_id) for sender, reader in zip(senders, readers, strict=True)]
    traffic = Traffic(lines, [])
    await traffic.run(bench.pick(600, 800), events * len(lines), wait=traffic.is_answered)
    for sender in senders:
        sender.cut()
    await bench.people.settle()
    await quiet(1)
    over = {"GET /ws": _over_socket, "GET /sync, pages of 200": _over_sync}
    taken: dict[str, list[tuple[float, int, Cpu]]] = {name: [] for name in over}
    for turn in range(each):
        for offset, (name, way) in enumerate(over.items()):
            before = bench.server.cpu()
            seconds, count = await way(bench, readers[2 * turn + offset])
            await quiet(0.6)
            taken[name].append((seconds, count, bench.server.cpu().since(before)))
    rows = [_resume_row(name, turns) for name, turns in taken.items()]
    return [
        Table(
            f"resume: {events} events after an old cursor",
            rows,
            [f"Medians of {each} devices that resume for the first time, including the receipts that follow."],
        )
    ]


def _resume_row(name: str, turns: list[tuple[float, int, Cpu]]) -> dict[str, object]:
    return {
        "": name,
        "events": round(median(count for _, count, _ in turns)),
        "caught up, ms": middle([1000 * seconds for seconds, _, _ in turns], 1),
        "events/s": middle([count / seconds for seconds, count, _ in turns], 0),
        "server CPU an event, µs": middle([1e6 * cpu.server / count for _, count, cpu in turns], 1),
        "PostgreSQL CPU, µs": middle([1e6 * cpu.postgres / count for _, count, cpu in turns], 1),
    }


async def _over_socket(bench: Bench, device: Device) -> tuple[float, int]:
    started = perf_counter()
    socket = await connect(bench.server.port, device, 0)
    count = socket.events
    seconds = await socket.caught_up - started
    await quiet(0.6)
    socket.cut()
    return seconds, count


async def _over_sync(bench: Bench, device: Device) -> tuple[float, int]:
    return await pages(bench.server.port, device.token, 200)
