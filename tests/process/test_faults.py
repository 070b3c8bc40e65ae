"""Faults under load, the issue's recorder and checker over them, and a run that it must find fault with.

`MESSENGER_PROOF=long` goes round 20 times instead of once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.process.load import Load
from tests.process.server import Server, running

CYCLES = 20 if os.environ.get("MESSENGER_PROOF") == "long" else 1
CHEAP = {"password_time_cost": 1, "password_memory_cost": 32, "rate_limits": "off", "workers": 2}
PAIRS = 3


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder on a disk, that PostgreSQL's own user can reach."""
    path = Path(tempfile.mkdtemp(prefix="messenger-faults-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def workers(server: Server) -> list[psutil.Process]:
    """Its worker processes: those that listen."""
    found = []
    for process in server.descendants():
        with contextlib.suppress(psutil.Error):
            if any(c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp")):
                found.append(process)
    return found


async def sql(folder: Path, text: str) -> None:
    connection = await asyncpg.connect((folder / "postgres.url").read_text())
    try:
        await connection.execute(text)
    finally:
        await connection.close()


async def kill_a_worker(server: Server, folder: Path) -> None:
    workers(server)[0].kill()


async def freeze_a_worker(server: Server, folder: Path) -> None:
    worker = workers(server)[0]
    worker.send_signal(signal.SIGSTOP)
    # The fault itself takes this long.
    await asyncio.sleep(2)
    worker.send_signal(signal.SIGCONT)


async def end_the_bus(server: Server, folder: Path) -> None:
    await sql(folder, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'messenger bus'")


async def end_every_backend(server: Server, folder: Path) -> None:
    await sql(
        folder,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL",
    )


async def kill_the_database(server: Server, folder: Path) -> None:
    next(p for p in psutil.Process(server.process.pid).children() if "postgres" in p.name()).kill()


FAULTS = (kill_a_worker, freeze_a_worker, end_the_bus, end_every_backend, kill_the_database)


@pytest.mark.timeout(240 * CYCLES)
async def test_nothing_is_lost_doubled_or_out_of_order(folder: Path) -> None:
    async with Load([]) as load:
        with running(folder, **CHEAP) as server:
            load.urls[:] = [server.url]
            await load.meet(PAIRS)
            load.start()
            for _ in range(CYCLES):
                for fault in FAULTS:
                    await load.more(10)
                    await fault(server, folder)
            await load.more(10)
            # Everything at once: the supervisor dies, and all its children with it.
            server.process.kill()
        with running(folder, **CHEAP) as server:
            load.urls[:] = [server.url]
            await load.more(20)
            findings = await load.settle()
    print(f"{len(FAULTS) * CYCLES + 1} faults: {findings}")  # noqa: T201
    assert findings.faults == {}, str(findings)
    assert findings.acknowledged > 50


async def test_loss_and_repetition_are_seen(folder: Path) -> None:
    async with Load([]) as load:
        with running(folder, **CHEAP) as server:
            load.urls[:] = [server.url]
            await load.meet(1)
            load.start()
            await load.more(20)
            await load.settle()
            one, _ = load.pairs[0]
            # Behind everybody's back an event names another message: that one comes twice, its own never.
            await sql(
                folder,
                f"UPDATE events SET subject = (SELECT subject FROM events WHERE user_id = {one.user_id}"
                " AND name = 'message.created' ORDER BY position LIMIT 1) WHERE (user_id, position) = ("
                f"SELECT user_id, position FROM events WHERE user_id = {one.user_id} AND name = 'message.created'"
                " ORDER BY position DESC LIMIT 1)",
            )
            for device in load.devices:
                device.log.clear()
            load._tasks = [asyncio.create_task(load._listen(device)) for device in load.devices]
            findings = await load.settle()
    assert {"lost", "duplicated"} <= set(findings.faults), str(findings)
