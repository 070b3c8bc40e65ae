"""Some sockets stop reading while messages are sent to them and to others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle, islice
from time import perf_counter

from _report import Table, ms, percentile

from _realtime.bench import Bench
from _realtime.sockets import Socket, connect, connect_all, quiet, unbroken
from _realtime.traffic import Line, Sample, Traffic, refusals

WRITERS = 10
SHORT = "Hello " * 10
LONG = "x" * 60_000
"""The body for sockets that stop: 25 of them exceed the kernel's buffers and the server's queue of a socket."""
_MEGABYTE = 1024 * 1024


async def slow(bench: Bench) -> list[Table]:
    """Half of the messages go to sockets that stop reading; measures the effect on the other half."""
    healthy, stopping = bench.pick(800, 160), bench.pick(200, 40)
    rate, count = bench.pick(200, 100), bench.pick(2000, 1000)
    to_healthy, _ = await _lines(bench, healthy, SHORT)
    to_stopped, stopped = await _lines(bench, stopping, LONG)
    sides = (to_healthy, to_stopped)
    # The first round opens the conversations.
    await _both(sides, rate, max(healthy, stopping))
    before = await _phase(bench, "all read", sides, rate, count // 4)
    stopped = await _stop(bench, to_stopped, stopped)
    during = await _phase(bench, f"{stopping} have stopped", sides, rate, count)
    seconds, cut = await _read_again(bench, to_stopped, stopped)
    await quiet()
    fallen = sum(socket.catch_ups > 1 for socket in stopped)
    return [
        Table(
            f"slow: {stopping} of {healthy + stopping} sockets stop reading",
            [before, during],
            [
                f"{rate} messages a second of {len(SHORT)} bytes to reading sockets, and {rate} of {len(LONG)} bytes "
                "to stopped ones. Latencies are those of reading sockets.",
                f"{seconds:.1f} s after the stopped ones resumed, all had all messages; {to_stopped.missing()} of "
                f"{count} were lost. {fallen} of {stopping} continued from their cursor, {cut} were cut "
                "and reconnected with it.",
                unbroken(),
            ],
        )
    ]


async def _lines(bench: Bench, readers: int, body: str) -> tuple[Traffic, list[Socket]]:
    """Traffic from a few senders to many receivers."""
    writers, devices = await bench.people.make(WRITERS), await bench.people.make(readers)
    theirs = list(islice(cycle(writers), readers))
    await bench.people.befriend((a.user_id, b.user_id) for a, b in zip(theirs, devices, strict=True))
    await bench.people.settle()
    senders = await bench.connect(writers)
    sockets = await connect_all(bench.server.port, devices, narrow=body is LONG)
    lines = [Line(senders[n % WRITERS], device.user_id) for n, device in enumerate(devices)]
    return Traffic(lines, sockets, body), sockets


async def _both(sides: Sequence[Traffic], rate: float, count: int) -> tuple[Sample, Sample]:
    """Send to both sides at once, without waiting for the second side's recipients."""
    first, second = sides
    return await asyncio.gather(first.run(rate, count), second.run(rate, count, wait=second.is_answered))


async def _phase(bench: Bench, name: str, sides: Sequence[Traffic], rate: float, count: int) -> dict[str, object]:
    await quiet()
    start, used = bench.server.memory().rss, bench.server.cpu()
    watch = asyncio.create_task(_watch_rss(bench))
    samples = await _both(sides, rate, count)
    sample = samples[0]
    await quiet()
    watch.cancel()
    spent = bench.server.cpu().since(used).each(2 * count)
    peak = max(start, bench.server.memory().rss, *await watch)
    return {
        "": name,
        "messages": 2 * count,
        "delivered p50, ms": ms(percentile(sample.delivered, 0.5)),
        "p99": ms(percentile(sample.delivered, 0.99)),
        "max": ms(max(sample.delivered, default=0)),
        "reply p99, ms": ms(percentile(sample.answered, 0.99)),
        "lost": sample.lost,
        "refused": refusals(samples),
        "RSS, MB": round(start / _MEGABYTE, 1),
        "grew by, MB": round((peak - start) / _MEGABYTE, 1),
        "server CPU a message, ms": round(spent.server, 2),
        "PostgreSQL CPU, ms": round(spent.postgres, 2),
    }


async def _stop(bench: Bench, traffic: Traffic, sockets: Sequence[Socket]) -> list[Socket]:
    """Stop reading, on new connections, for which the kernel has not increased its buffers to a megabyte yet."""
    stopped = []
    for socket in sockets:
        socket.cut()
        again = await connect(bench.server.port, socket.device, socket.position, on_event=traffic.on_event, narrow=True)
        again.transport.pause_reading()
        stopped.append(again)
    return stopped


async def _watch_rss(bench: Bench) -> list[int]:
    """The server's memory, measured once a second until cancelled."""
    seen = [0]
    try:
        while True:
            await asyncio.sleep(1)
            seen.append(bench.server.memory().rss)
    except asyncio.CancelledError:
        return seen


async def _read_again(bench: Bench, traffic: Traffic, stopped: Sequence[Socket]) -> tuple[float, int]:
    """Seconds until the stopped sockets have all messages, and how many of them were cut."""
    started = perf_counter()
    cuts = 0

    async def go_on(socket: Socket) -> None:
        nonlocal cuts
        device = socket.device
        socket.transport.resume_reading()
        while not traffic.is_complete():
            await asyncio.wait([socket.ended], timeout=0.1)
            if socket.ended.done():
                cuts += 1
                socket = await connect(bench.server.port, device, socket.position, on_event=traffic.on_event)

    await asyncio.wait_for(asyncio.gather(*(go_on(socket) for socket in stopped)), 60)
    return perf_counter() - started, cuts
