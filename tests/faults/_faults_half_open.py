"""Connections whose other end disappears silently: the network drops every packet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from random import Random

import httpx
import psutil

from tests.faults._fault import Installation, fault
from tests.faults._faults_sockets import people
from tests.faults._many_sockets import many_sockets
from tests.faults._world import World

TIMEOUT = 6.0
"""`socket_timeout`, 90 s as it comes."""
HALF_OPEN, BRIEF_HALF_OPEN = 50, 20
"""Of these in each cycle, so that 20 cycles make the thousand of the promise."""
_TOKEN = "a token that prometheus knows"
# Loopback is a whole network: only packets of clients with this address are dropped.
_ADDRESS = f"127.77.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
_SPARE_FILES = 24


def _iptables(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("iptables") or shutil.which("iptables", path="/usr/sbin:/sbin") or "iptables"
    return subprocess.run([program, "--wait", *words], capture_output=True, text=True, check=False)


def needs_iptables() -> str | None:
    """Firewall rules, which only root may set, and not everywhere."""
    if shutil.which("iptables") is None and shutil.which("iptables", path="/usr/sbin:/sbin") is None:
        return "NOT TESTED: there is no iptables here (apt-get install iptables)"
    try:
        with dropping():
            return None
    except RuntimeError as error:
        return f"NOT TESTED: no packets can be dropped here ({error})"


@contextlib.contextmanager
def dropping() -> Iterator[None]:
    """Drop every packet from or to that address."""
    rules = [("INPUT", way, _ADDRESS, "-j", "DROP") for way in ("-s", "-d")]
    done = []
    try:
        for rule in rules:
            said = _iptables("-I", *rule)
            if said.returncode:
                raise RuntimeError(said.stderr.strip())
            done.append(rule)
        yield
    finally:
        for rule in done:
            _iptables("-D", *rule)


@fault(
    "half_open",
    "G10",
    "50 sockets whose packets are dropped in both directions: closed within the socket timeout, and removed completely",
    installation=Installation(settings=(("socket_timeout", TIMEOUT), ("metrics_token", _TOKEN))),
    answers=frozenset(),
    needs=needs_iptables,
)
async def half_open(world: World, chance: Random) -> None:
    size = BRIEF_HALF_OPEN if world.brief else HALF_OPEN
    files, sockets = _files(world), await _sockets(world)
    async with many_sockets(world.servers[0].port) as cut_off:
        users = await people(world, cut_off, size, [])
        await cut_off.do("connect", source=_ADDRESS)
        world.expect(len(_held(world)) == size, f"{len(_held(world))} sockets are held, not {size}")
        with dropping():
            began = time.monotonic()
            while _held(world) and time.monotonic() < began + 2 * TIMEOUT:
                await asyncio.sleep(0.1)
            seconds = time.monotonic() - began
            late = TIMEOUT + (2.0 if world.brief else 0.5)
            world.expect(seconds <= late, f"{len(_held(world))} of {size} are open after {seconds:.1f} s")
            await _expect_offline(world, users)
            await _expect_nothing_left(world, files, sockets)
        world.healed()
        await cut_off.do("cut")
    world.note(f"{size} half-open sockets closed within {seconds:.1f} s of the {TIMEOUT:.0f} s that are allowed")


def _held(world: World) -> list[object]:
    """Connections from that address that a worker has open."""
    found: list[object] = []
    for worker in world.workers():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [each for each in worker.net_connections("tcp") if each.raddr and each.raddr.ip == _ADDRESS]
    return found


def _files(world: World) -> int:
    return sum(worker.num_fds() for worker in world.workers())


async def _sockets(world: World) -> int:
    """The number of sockets that the server counts in its metrics."""
    async with httpx.AsyncClient(timeout=5) as http:
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        text = (await http.get(f"{world.servers[0].url}/metrics", headers=headers)).raise_for_status().text
    found = re.search(r"^messenger_sockets (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


async def _expect_offline(world: World, users: list[int]) -> None:
    """Presence becomes correct again."""
    left = -1
    for _ in range(40):
        rows = await world.fetch("SELECT count(*) FROM connections WHERE user_id = ANY ($1)", users)
        left = rows[0]["count"]
        if not left:
            return
        await asyncio.sleep(0.1)
    world.report(f"{left} people are online of whom nothing was heard")


async def _expect_nothing_left(world: World, files: int, sockets: int) -> None:
    """Neither a file nor a task of the connections remains."""
    for _ in range(100):
        if await _sockets(world) <= sockets and _files(world) <= files + _SPARE_FILES:
            return
        await asyncio.sleep(0.1)
    world.report(f"{_files(world)} open files after {files}, {await _sockets(world)} sockets after {sockets}")
