"""Servers that are measured in turns: of this checkout or another, with one worker or several."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from _http import METRICS_TOKEN
from _realtime.people import Device, People
from _realtime.sockets import Socket, connect_all, quiet
from _realtime.traffic import Line
from _server import Server
from _yardsticks.world import PAIRS, WRITERS, World, device_id, token, user_id

from _sending.load import Load

CONNECTED = 64
_ATTEMPTS = 100


class Contender:
    """A server with pairs of connected contacts, of which one sends to the other. `folder`: of another checkout."""

    def __init__(self, folder: Path | None, workers: int) -> None:
        self.name = "this" if folder is None else "other"
        self.workers = workers
        python = None if folder is None else folder.absolute() / ".venv" / "bin" / "python"
        settings = {"WORKERS": workers, "LOG_LEVEL": "error", "METRICS_TOKEN": METRICS_TOKEN}
        self.server = Server(0, python=python, **settings)
        self._load: Load | None = None

    def __enter__(self) -> Self:
        self.server.__enter__()
        try:
            self.server.start()
        except BaseException:
            self.server.__exit__()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    @property
    def load(self) -> Load:
        """Of its connected pairs."""
        assert self._load is not None
        return self._load

    async def connect(self) -> str:
        """Fill the database, connect some of its pairs, and return the version of PostgreSQL."""
        await World.write(self.server.database_url, has_group=False)
        people = await People.of(self.server.database_url)
        try:
            senders = [_device(WRITERS + n) for n in range(CONNECTED)]
            recipients = [_device(WRITERS + PAIRS + n) for n in range(CONNECTED)]
            sockets = await self._spread(people, senders, recipients)
            pairs = zip(senders, recipients, strict=True)
            lines = [Line(sockets[sender], recipient.user_id) for sender, recipient in pairs]
            self._load = Load(lines, [sockets[recipient] for recipient in recipients])
            return await people.version()
        finally:
            await people.close()

    async def disconnect(self) -> None:
        """Disconnect the pairs."""
        self.load.close()
        await quiet(0.1)

    async def _spread(self, people: People, senders: list[Device], recipients: list[Device]) -> dict[Device, Socket]:
        """A socket for each device. Half of the pairs are on one worker, and half on two.

        The kernel chooses the worker of a connection; a connection to another worker than planned is made again.
        """
        planned = {device: n % self.workers for n, device in enumerate(senders)}
        planned |= {device: n // self.workers % self.workers for n, device in enumerate(recipients)}
        sockets: dict[Device, Socket] = {}
        missing = list(planned)
        for _ in range(_ATTEMPTS):
            sockets |= zip(missing, await connect_all(self.server.port, missing), strict=True)
            found = await people.workers_of(planned)
            missing = [device for device, worker in planned.items() if found[device] != worker]
            if not missing:
                return sockets
            for device in missing:
                sockets[device].cut()
        raise RuntimeError(f"{len(missing)} sockets could not be spread over {self.workers} workers")


def _device(number: int) -> Device:
    return Device(user_id(number), device_id(number), token(number))
