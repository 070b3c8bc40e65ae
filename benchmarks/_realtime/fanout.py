"""One message to one user with very many devices."""

from __future__ import annotations

import asyncio
from time import perf_counter

from _report import Table, middle, ms

from _realtime.bench import Bench
from _realtime.sockets import Socket, quiet, unbroken
from _realtime.traffic import Line, until

# Target of the server's CPU per socket, with a thousand sockets.
AIM_MILLISECONDS = 0.03


async def fanout(bench: Bench) -> list[Table]:
    """One message to one user with many devices."""
    devices = bench.pick(1000, 300)
    writer, reader = await bench.people.make(2)
    await bench.people.befriend([(writer.user_id, reader.user_id)])
    more = await bench.people.sign_in([reader.user_id] * (devices - 1))
    await bench.people.settle()
    sender, *receivers = await bench.connect([writer, reader, *more])
    crowd = Crowd(receivers)
    upkeep = await _upkeep(bench)
    line = Line(sender, reader.user_id)
    turns = [await _fan(bench, crowd, line, n, upkeep) for n in range(bench.pick(17, 7) + 2)][2:]
    columns = {name: [turn[name] for turn in turns] for name in turns[0]}
    return [
        Table(
            f"fanout: one message to {devices} sockets",
            [
                {
                    "": "median",
                    **{name: middle(values) for name, values in columns.items()},
                    "aim": f"≤ {AIM_MILLISECONDS * devices:g}",
                },
                {"": "max", **{name: round(max(values), 2) for name, values in columns.items()}},
            ],
            [
                f"{len(turns)} messages, each after all receipts of the previous one. Each socket receives two events "
                "(the message and its delivered receipt) and a ping, and sends a pong; CPU includes all of these.",
                f"CPU excludes the upkeep of these idle sockets: {ms(upkeep)} ms per second in the server.",
                unbroken(),
            ],
        )
    ]


class Crowd:
    """Many sockets of one user: when the first and the last received each event."""

    def __init__(self, sockets: list[Socket]) -> None:
        self._size = len(sockets)
        self._came: dict[bytes, list[float]] = {}
        for socket in sockets:
            socket.on_event = self._on_event

    def forget(self) -> None:
        self._came = {b"message.created": [], b"receipt.updated": []}

    def times(self, name: bytes) -> list[float]:
        return self._came[name]

    def is_complete(self) -> bool:
        return all(len(times) == self._size for times in self._came.values())

    def _on_event(self, name: bytes, payload: bytes, now: float) -> None:
        self._came.setdefault(name, []).append(now)


async def _upkeep(bench: Bench) -> float:
    """Seconds of the server's CPU a second while nothing is sent."""
    await quiet()
    # As often as the table is looked at: what comes every five seconds is in it once.
    before, seconds = bench.server.cpu(), 5
    await asyncio.sleep(seconds)
    return bench.server.cpu().since(before).server / seconds


async def _fan(bench: Bench, crowd: Crowd, line: Line, number: int, upkeep: float) -> dict[str, float]:
    crowd.forget()
    before = bench.server.cpu()
    sent = perf_counter()
    line.sender.request(number, "message.send", {"target_id": line.target_id, "client_id": f"f{number}", "body": "Hi"})
    if not await until(crowd.is_complete, 20):
        raise RuntimeError("a message did not reach every socket")
    await quiet()
    used = bench.server.cpu().since(before)
    kept_up = upkeep * (perf_counter() - sent)
    times = crowd.times(b"message.created")
    return {
        "first received, ms": 1000 * (min(times) - sent),
        "last received, ms": 1000 * (max(times) - sent),
        "last receipt, ms": 1000 * (max(crowd.times(b"receipt.updated")) - sent),
        "PostgreSQL CPU, ms": 1000 * used.postgres,
        "upkeep meanwhile, ms": 1000 * kept_up,
        "server CPU a socket, µs": 1e6 * (used.server - kept_up) / len(times),
        "server CPU in all, ms": 1000 * (used.server - kept_up),
    }
