"""The common parts of all cases."""

from __future__ import annotations

from typing import NamedTuple

from _server import Server

from _realtime.people import Device, People
from _realtime.sockets import Socket, connect_all
from _realtime.traffic import Line


class Bench(NamedTuple):
    """A fresh server, its users, and whether the run is a quick one."""

    server: Server
    people: People
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """How many."""
        return quick if self.quick else full

    async def connect(self, devices: list[Device]) -> list[Socket]:
        """Connect a socket for each device."""
        return await connect_all(self.server.port, devices)

    async def pairs(self, count: int) -> tuple[list[Line], list[Socket]]:
        """Create this many pairs of connected contacts; one of each pair sends to the other."""
        devices = await self.people.make(2 * count)
        writers, readers = devices[:count], devices[count:]
        await self.people.befriend((a.user_id, b.user_id) for a, b in zip(writers, readers, strict=True))
        await self.people.settle()
        sockets = await self.connect(devices)
        lines = [Line(sockets[n], readers[n].user_id) for n in range(count)]
        return lines, sockets[count:]
