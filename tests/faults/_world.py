"""The world of a fault: real servers in processes of their own, a database on a disk, and access to all of them.

Faults may use the public parts: processes (`workers`, `postgres`, `backends`, `everything`), `start_again`,
`database_proxy`, `fetch` and `execute`, the users of the run (`population`), and reports (`healed`, `report`, `note`).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil

from messenger.testing.servers import free_port
from tests.faults._database_process import DatabaseProcess
from tests.faults._fault import Installation
from tests.faults._server import Server
from tests.support.proxy import Address, Proxy
from tests.support.server import SERVE

if TYPE_CHECKING:
    from tests.support.fault_population import FaultPopulation

# Cheap passwords and no limits: neither is tested here. Tokens outlive the longest run.
SETTINGS: dict[str, object] = {
    "password_time_cost": 1,
    "password_memory_cost": 32,
    "rate_limits": "off",
    "access_token_ttl": 86400,
    "secret": "one secret for all servers of an installation",
}
_STOP_SECONDS = 20.0
_WHOLE_SECONDS = 60.0


class World:
    """One installation. `servers` keep their ports however often they are killed and restarted.

    `commands[n]`, `settings[n]` and `variables[n]`: the command line of server n, its settings, and its environment
    variables (`LD_PRELOAD`). `Installation.prepare` may change them, and mount a volume over `folder`; a fault may
    change those of `servers[n]` itself, which apply from its next start on.
    """

    def __init__(self, installation: Installation, folder: Path, stack: AsyncExitStack, *, brief: bool) -> None:
        self.installation = installation
        self.folder = folder
        self.stack = stack
        self.brief = brief
        self.commands: list[Sequence[str]] = [SERVE] * installation.servers
        self.variables: list[dict[str, str]] = [{} for _ in range(installation.servers)]
        self.settings: list[dict[str, object]] = [dict(installation.settings) for _ in range(installation.servers)]
        self.servers: list[Server] = []
        self.database_process: DatabaseProcess | None = None
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.healed_at: float | None = None
        self._population: FaultPopulation | None = None
        self._database_proxy: Proxy | None = None

    # --- what a fault says ---

    def healed(self) -> None:
        """The fault has ended; recovery is counted from here."""
        self.healed_at = time.monotonic()

    def report(self, problem: str) -> None:
        """Report a violation."""
        self.problems.append(problem)

    def note(self, figure: str) -> None:
        """Report a figure: seconds until all had reconnected, memory."""
        self.notes.append(figure)

    def expect(self, good: bool, otherwise: str) -> None:
        """Report a violation unless the condition holds."""
        if not good:
            self.report(otherwise)

    async def hold(self, seconds: float, *, brief: float = 4.0) -> None:
        """Let the fault last this long; in the short form, `brief`. The load continues."""
        await asyncio.sleep(brief if self.brief else seconds)

    @property
    def population(self) -> FaultPopulation:
        """The users of this run: `population.devices`, their proxies, `population.probe(…)`."""
        assert self._population is not None
        return self._population

    @population.setter
    def population(self, population: FaultPopulation | None) -> None:
        self._population = population

    # --- processes ---

    def workers(self, number: int | None = None) -> list[psutil.Process]:
        """The serving processes of one server, or of all."""
        servers = self.servers if number is None else [self.servers[number]]
        return sorted((each for server in servers for each in server.workers()), key=lambda each: each.pid)

    def postgres(self) -> list[psutil.Process]:
        """All PostgreSQL processes, the postmaster first. Raises `AssertionError` if it is dead."""
        found = {}
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = process.ppid(), process
        first = [process for parent, process in found.values() if parent not in found]
        assert first, "PostgreSQL isn't there"
        return first + [process for parent, process in found.values() if parent in found]

    def postmaster(self) -> psutil.Process:
        """PostgreSQL's first process, the parent of all others."""
        return self.postgres()[0]

    def backends(self) -> list[psutil.Process]:
        """PostgreSQL processes that serve our connections, identified by their titles: they may be stopped."""
        found = []
        for process in self.postmaster().children():
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("postgres: messenger messenger "):
                    found.append(process)
        return sorted(found, key=lambda each: each.pid)

    def everything(self) -> list[psutil.Process]:
        """Servers, workers, PostgreSQL; without the process that keeps a separate database."""
        kept = {self.database_process.process.pid} if self.database_process else set()
        return [each for each in self._family() if each.pid not in kept]

    def _family(self) -> Iterable[psutil.Process]:
        roots = [server.process.pid for server in self.servers] + (
            [self.database_process.process.pid] if self.database_process else []
        )
        for pid in roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                yield root
                yield from root.children(recursive=True)

    async def whole(self) -> None:
        """Wait until every worker accepts connections, and PostgreSQL too."""
        expected = self.installation.workers * self.installation.servers
        async with asyncio.timeout(_WHOLE_SECONDS):
            while not (len(self.workers()) >= expected and await self._database_answers()):
                await asyncio.sleep(0.05)

    async def _database_answers(self) -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            return bool(await self.fetch("SELECT true"))
        return False

    async def start_again(self, number: int = 0) -> None:
        """Start a server that has ended, retrying while its port or data folder are in use; wait until it serves."""
        await self.servers[number].restart()

    # --- the database ---

    @property
    def database_proxy(self) -> Proxy:
        """The servers' connection to a separate database."""
        assert self._database_proxy is not None, 'only with Installation(database="apart")'
        return self._database_proxy

    @property
    def database_url(self) -> str:
        """The URL past the proxy. Raises `FileNotFoundError` while the server's own database is away."""
        return (
            self.database_process.url
            if self.database_process
            else (self.folder / "server-0" / "postgres.url").read_text()
        )

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Query the database past all proxies and pools."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            rows: list[Any] = await connection.fetch(sql, *values)
        finally:
            await connection.close()
        return rows

    async def execute(self, sql: str) -> None:
        """Run statements without a result; several are allowed."""
        connection = await asyncpg.connect(self.database_url, timeout=10)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    # --- addresses ---

    def address(self, chance: Random) -> Address:
        """Where a client may connect to."""
        return "127.0.0.1", chance.choice(self.servers).port

    # --- from beginning to end ---

    async def open(self) -> None:
        """Start everything."""
        if self.installation.prepare is not None:
            await self.installation.prepare(self)
        if self.installation.database == "apart":
            await self._open_database()
        for number in range(self.installation.servers):
            await self._open_server(number)

    async def _open_database(self) -> None:
        self.database_process = DatabaseProcess(self.folder / "database", dict(self.installation.postgres))
        self.stack.push_async_callback(self.database_process.aclose)
        await self.database_process.start()
        self._database_proxy = await self.stack.enter_async_context(self.database_process.proxy())

    async def _open_server(self, number: int) -> None:
        folder = self.folder / f"server-{number}"
        folder.mkdir(mode=0o711, exist_ok=True)
        settings = {**SETTINGS, "workers": self.installation.workers, **self.settings[number]}
        if self.database_process is not None:
            settings["database_url"] = self.database_process.url_through(self.database_proxy)
            settings.setdefault("bus_url", "postgres:")
            settings.setdefault("storage_url", (self.folder / "files").as_uri())
        server = Server(
            folder,
            port=free_port(),
            command=self.commands[number],
            variables=self.variables[number],
            settings=settings,
        )
        self.servers.append(server)
        self.stack.push_async_callback(asyncio.to_thread, server.stop, _STOP_SECONDS)
        await server.restart(attempts=1)


@asynccontextmanager
async def opened(installation: Installation, *, brief: bool = False) -> AsyncIterator[World]:
    """A serving world; all its processes end with the block, and its folder is removed."""
    folder = _make_folder()
    try:
        async with AsyncExitStack() as stack:
            world = World(installation, folder, stack, brief=brief)
            await world.open()
            yield world
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="messenger-faults-", dir="/var/tmp"))
    # PostgreSQL's own user must reach the folder.
    folder.chmod(0o711)
    return folder
