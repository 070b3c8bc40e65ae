"""Servers whose clocks are two hours off: order, deduplication, resuming and tokens are not affected."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx

from messenger.testing.factories import PASSWORD
from tests.faults._fault import Installation, fault
from tests.faults._world import World

OFF = (timedelta(0), timedelta(hours=2), timedelta(hours=-2))
"""What the clock of each server is off."""
SECONDS = 10.0
_TTL = 900
# The database's time is read every ten seconds, and interpolated with the monotonic clock.
_TOLERANCE = timedelta(seconds=2)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.MULTILINE)


def _library() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def needs_faketime() -> str | None:
    """Debian's faketime."""
    return None if _library() else "NOT TESTED: there is no libfaketime here (apt-get install faketime)"


async def with_wrong_clocks(world: World) -> None:
    """Change the wall clock of each server, not its monotonic clock, which cannot be set."""
    for variables, off in zip(world.variables, OFF, strict=True):
        if off:
            variables |= {
                "LD_PRELOAD": str(_library()),
                "FAKETIME": f"{off.total_seconds():+.0f}s",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }


@fault(
    "wrong_clocks",
    "G3, G16",
    "three servers, one two hours ahead and one two hours behind; users switch between them",
    installation=Installation(
        servers=3,
        workers=1,
        database="apart",
        prepare=with_wrong_clocks,
        settings=(("access_token_ttl", _TTL), ("bus_url", "postgres:")),
    ),
    answers=frozenset(),
    needs=needs_faketime,
)
async def wrong_clocks(world: World, chance: Random) -> None:
    began: datetime = (await world.fetch("SELECT clock_timestamp() AS now"))[0]["now"]
    _expect_wrong(world)
    for _ in range(4 if world.brief else 12):
        for device in chance.sample(world.population.devices, len(world.population.devices) // 2):
            device.proxy.target = world.address(chance)
            device.proxy.abort()
        await asyncio.sleep(SECONDS / 12)
    world.healed()
    await _expect_one_time(world, began)
    await _expect_tokens_everywhere(world, chance)


def _expect_wrong(world: World) -> None:
    """The fault is present: each server logs by its own clock."""
    for server, off in zip(world.servers, OFF, strict=True):
        first = _STAMP.search(server.log.read_text())
        assert first is not None
        said = datetime.fromisoformat(f"{first[0]}+00:00")
        started = datetime.fromtimestamp(_started(server.process.pid), UTC)
        if abs(said - started - off) > timedelta(minutes=5):
            raise AssertionError(f"the clock of {server.url} is not {off} off: it started at {said}, truly {started}")


def _started(pid: int) -> float:
    """When it was started, by the machine's clock."""
    return Path(f"/proc/{pid}").stat().st_ctime


async def _expect_one_time(world: World, began: datetime) -> None:
    """Everything written since then has the database's time."""
    rows = await world.fetch(
        "SELECT min(e.at) AS first, max(e.at) AS last, min(m.created_at) AS oldest, max(m.created_at) AS newest,"
        " clock_timestamp() AS now FROM events AS e JOIN messages AS m ON m.id = e.subject"
        " WHERE e.name = 'message.created' AND e.user_id = ANY ($1)",
        [member.id for member in world.population.members],
    )
    for earliest, latest in (("first", "last"), ("oldest", "newest")):
        range_found = f"{earliest} {rows[0][earliest]}, {latest} {rows[0][latest]}, and it is {rows[0]['now']}"
        good = rows[0][earliest] > began - timedelta(hours=1) and rows[0][latest] <= rows[0]["now"] + _TOLERANCE
        world.expect(good, f"messages bear another time than the database's: {range_found}")


async def _expect_tokens_everywhere(world: World, chance: Random) -> None:
    """Tokens issued by one server are valid at all of them, for the same time."""
    async with httpx.AsyncClient(timeout=10) as http:
        for giver in world.servers:
            newcomer = {"username": f"c{chance.getrandbits(48):x}", "password": PASSWORD, "name": "Clock"}
            tokens = (await http.post(f"{giver.url}/register", json=newcomer)).raise_for_status().json()["tokens"]
            for server in world.servers:
                headers = {"Authorization": f"Bearer {tokens['access_token']}"}
                answer = await http.get(f"{server.url}/profile", headers=headers)
                world.expect(answer.status_code == 200, f"a token of {giver.url} at {server.url}: {answer.text:.200}")
            other = chance.choice([server for server in world.servers if server is not giver])
            renewed = await http.post(f"{other.url}/token/refresh", json={"refresh_token": tokens["refresh_token"]})
            world.expect(renewed.status_code == 200, f"refreshed elsewhere: {renewed.text:.200}")
    rows = await world.fetch("SELECT max(access_expires_at) - clock_timestamp() AS left FROM devices")
    world.expect(
        rows[0]["left"] <= timedelta(seconds=_TTL) + _TOLERANCE, f"a token lives for {rows[0]['left']}, not {_TTL} s"
    )
