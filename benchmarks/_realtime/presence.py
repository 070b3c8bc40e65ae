"""A user with many contacts who connects and disconnects all the time."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from _report import Table, ms, percentile

from _realtime.bench import Bench
from _realtime.people import Device
from _realtime.sockets import Socket, connect, quiet
from _realtime.traffic import Sample, Traffic, refusals


async def presence(bench: Bench) -> list[Table]:
    """The cost of a user with many contacts who connects and disconnects all the time, and the effect on others."""
    contacts, here, seconds = bench.pick(5000, 1000), 50, bench.pick(8, 3)
    (flapper,) = await bench.people.make(1)
    others = await bench.people.make(contacts)
    await bench.people.befriend((flapper.user_id, other.user_id) for other in others)
    lines, readers = await bench.pairs(20)
    watched = Watched(await bench.connect(others[:here]))
    traffic = Traffic(lines, readers)
    await traffic.run(50, 100)
    samples: dict[int, list[Sample]] = {0: [], seconds: []}
    rows = [await _alone(bench, watched, flapper, flaps, seconds) for flaps in samples]
    for flaps, taken in samples.items():
        sample, _ = await asyncio.gather(traffic.run(50, 50 * seconds), _flap(bench, flapper, flaps))
        taken.append(sample)
    rows = [{**row, **_latency(taken)} for row, taken in zip(rows, samples.values(), strict=True)]
    return [
        Table(
            f"presence: {contacts} contacts, {here} of them connected",
            rows,
            [
                f"The user connects and disconnects once a second for {seconds} s. CPU and signals are measured "
                "without messages, latencies with 20 other pairs that send 50 messages a second. "
                + _each(rows, seconds),
            ],
        )
    ]


async def _alone(bench: Bench, watched: Watched, flapper: Device, flaps: int, seconds: int) -> dict[str, object]:
    """The CPU and the signals of one phase, without other load."""
    await quiet()
    told, before = watched.signals, bench.server.cpu()
    # Delayed announcements are sent within five seconds.
    await asyncio.gather(_flap(bench, flapper, flaps), asyncio.sleep(seconds + 5))
    used = bench.server.cpu().since(before)
    return {
        "": "one user reconnects" if flaps else "no reconnects",
        "signals/s": round((watched.signals - told) / seconds, 1),
        "server CPU, ms": ms(used.server),
        "PostgreSQL CPU, ms": ms(used.postgres),
    }


def _latency(samples: list[Sample]) -> dict[str, object]:
    delivered = [each for sample in samples for each in sample.delivered]
    return {
        "delivered p50, ms": ms(percentile(delivered, 0.5)),
        "p99": ms(percentile(delivered, 0.99)),
        "max": ms(max(delivered, default=0)),
        "lost": sum(sample.lost for sample in samples),
        "refused": refusals(samples),
    }


def _each(rows: list[dict[str, Any]], flaps: int) -> str:
    without, with_flaps = rows
    server, postgres = ((with_flaps[name] - without[name]) / flaps for name in ("server CPU, ms", "PostgreSQL CPU, ms"))
    return f"Each reconnect costs {server:.2f} ms of the server and {postgres:.2f} ms of PostgreSQL."


class Watched:
    """Counts the presence signals that some sockets receive."""

    def __init__(self, sockets: list[Socket]) -> None:
        self.signals = 0
        for socket in sockets:
            socket.on_signal = self._on_signal

    def _on_signal(self, name: bytes, payload: bytes, now: float) -> None:
        self.signals += name == b"presence"


async def _flap(bench: Bench, device: Device, count: int) -> None:
    for _ in range(count):
        started = perf_counter()
        socket = await connect(bench.server.port, device)
        await asyncio.sleep(0.5)
        socket.cut()
        await asyncio.sleep(max(0.0, started + 1 - perf_counter()))
