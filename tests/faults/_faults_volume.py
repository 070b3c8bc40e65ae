"""Full volumes: the database's data, with its WAL on another volume as recommended, and the uploads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import msgspec
from PIL import Image

from tests.faults._database_process import DatabaseProcess
from tests.faults._fault import Installation, fault
from tests.faults._probe import Answered, Probe, probe
from tests.faults._world import World

FULL_SECONDS = 8.0
_DATA_MEGABYTES, _FILES_MEGABYTES = 160, 32
_RECOVERY_SECONDS = 3.0


async def on_small_volumes(world: World) -> None:
    """A volume each for the database's data and for uploads. A full volume under the WAL would end PostgreSQL."""
    for folder, megabytes in ((_data(world), _DATA_MEGABYTES), (_files(world), _FILES_MEGABYTES)):
        folder.mkdir(parents=True)
        _mount(folder, megabytes)
        world.stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    first = DatabaseProcess(world.folder / "database", {})
    await first.start()
    await first.aclose()
    (world.folder / "database" / "url").unlink()
    _move_wal(_data(world) / "cluster", world.folder / "wal")


def _data(world: World) -> Path:
    return world.folder / "database" / "postgres"


def _files(world: World) -> Path:
    return world.folder / "files"


def _mount(folder: Path, megabytes: int) -> None:
    mode = "0711" if megabytes == _DATA_MEGABYTES else "0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode={mode}", "tmpfs", str(folder)], check=True)


def _move_wal(cluster: Path, to: Path) -> None:
    """The same as `initdb --waldir`."""
    wal = cluster / "pg_wal"
    owner = wal.stat()
    to.mkdir(mode=0o711)
    # Files moved to another volume are copies that belong to root.
    moved = Path(shutil.move(wal, to / "pg_wal"))
    for path in (moved, *moved.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    wal.symlink_to(moved)


def needs_volumes() -> str | None:
    """Mounting small volumes, which only root may, and not everywhere."""
    if os.geteuid() != 0:
        return "NOT TESTED: only root mounts a small volume"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"NOT TESTED: no volume can be mounted here ({done.stderr.strip()})"
        subprocess.run(["umount", folder], check=True)
    return None


VOLUMES = Installation(database="apart", prepare=on_small_volumes)


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[None]:
    """Fill the volume, and fill it again whenever space becomes free, as long as the block lasts."""
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    async def keep() -> None:
        while True:
            await asyncio.sleep(0.1)
            fill()

    fill()
    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        filler.unlink()


@fault(
    "data_volume_full",
    "G15",
    "the database's volume is full: writes get 507 with Retry-After, reads 200, no restart",
    recovery=_RECOVERY_SECONDS,
    installation=VOLUMES,
    answers=frozenset({507}),
    needs=needs_volumes,
)
async def data_volume_full(world: World, chance: Random) -> None:
    refused = 0
    async with probe(world) as mine:
        async with full(_data(world)):
            until = time.monotonic() + (3.0 if world.brief else FULL_SECONDS)
            while time.monotonic() < until:
                # Large enough for new pages: a small message may still fit into existing ones.
                sent = await mine.send(chance.randbytes(8000).hex())
                refused += sent.status == 507
                world.expect(sent.status in {201, 507}, str(sent))
                world.expect(sent.status == 201 or sent.retry_after, f"without Retry-After: {sent}")
                _expect_ok(world, [*await mine.read(), *await mine.health()])
                await asyncio.sleep(0.05)
        world.healed()
        sent = await mine.send(chance.randbytes(8000).hex())
        world.expect(sent.status == 201, f"with room again: {sent}")
    for answer in world.population.answers:
        world.expect(answer.status != 507 or answer.retry_after, "507 without Retry-After")
    world.expect(refused > 0, "no write was refused: the volume was never full")
    world.note(f"{refused} writes refused with 507, every read answered")


@fault(
    "upload_volume_full",
    "G15",
    "the volume of uploads is full: 507 with Retry-After, no partial file, no row without a file; messages continue",
    installation=VOLUMES,
    answers=frozenset(),
    needs=needs_volumes,
)
async def upload_volume_full(world: World, chance: Random) -> None:
    async with probe(world) as mine:
        _expect(world, await _upload(mine, chance), 201)
        before = _kept(world)
        async with full(_files(world)):
            for _ in range(3 if world.brief else 20):
                refused = await _upload(mine, chance)
                world.expect(refused.status == 507 and refused.retry_after, str(refused))
                _expect_ok(world, [*await mine.read(), *await mine.health()])
            world.expect(_kept(world) == before, f"a refused upload left {_kept(world) - before}")
        world.healed()
        _expect(world, await _upload(mine, chance), 201)
        profile = msgspec.json.decode((await mine.ask("GET", "/profile")).said)
        _expect_ok(world, [await mine.ask("GET", profile["avatar"][which]) for which in ("url", "thumb_url")])
    await _expect_no_dangling_row(world)


async def _upload(mine: Probe, chance: Random) -> Answered:
    """An image that no other test has sent."""
    file = BytesIO()
    Image.frombytes("RGB", (64, 64), chance.randbytes(64 * 64 * 3)).save(file, "PNG")
    return await mine.ask("POST", "/avatar/upload", files={"file": ("a.png", file.getvalue())})


def _kept(world: World) -> set[str]:
    """Every file of the store, including unfinished ones."""
    root = _files(world)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "filler"}


async def _expect_no_dangling_row(world: World) -> None:
    rows = await world.fetch(
        "SELECT u.avatar_key AS key, a.state FROM users AS u LEFT JOIN avatars AS a ON a.key = u.avatar_key"
        " WHERE u.avatar_key IS NOT NULL"
    )
    kept = " ".join(_kept(world))
    for row in rows:
        world.expect(row["state"] == "ready" and kept.count(row["key"]) == 2, f"{row['key']} is {row['state']}: {kept}")


def _expect(world: World, answer: Answered, status: int) -> None:
    world.expect(answer.status == status, str(answer))


def _expect_ok(world: World, answers: list[Answered]) -> None:
    for answer in answers:
        _expect(world, answer, 200)
