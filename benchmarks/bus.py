"""The cost of the bus: the latency of a wake-up over each transport, and the cost of notifications for commits.

`python benchmarks/bus.py [--seconds S] [--rounds R]`. Everything is on this machine: a PostgreSQL of its own with
durable settings in a temporary folder, NATS and Redis if their binaries are installed. Prints Markdown.

Wake-ups: one bus publishes a message every few milliseconds, another one in the same process receives it; measured is
the time from `publish` to `on_message`. Commits: connections insert rows as fast as they can, one per transaction,
alternating between no notification, a message on the bus after each commit (sent in batches over its own connection),
and `pg_notify` in the transaction. A separate process listens all the time. Results are medians over the rounds, with
the lowest and highest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import pytest
import uvloop

from messenger.bus.bus import Bus, BusMessage, StreamAdvanced, Transport, transport_of
from messenger.embedded.postgres import EmbeddedPostgres
from messenger.testing.servers import NatsServer, RedisServer

CONNECTIONS, USERS = 16, 10_000
PAUSE_SECONDS = 0.004
RAW_CHANNEL = "bench_in_transaction"
INSERT = "INSERT INTO bench (user_id, position, body) VALUES ($1, $2, $3)"
NOTIFYING = f"WITH made AS ({INSERT} RETURNING user_id) SELECT pg_notify('{RAW_CHANNEL}', user_id::text) FROM made"
BODY = "x" * 200


class Ear:
    """Records when the last message arrived."""

    def __init__(self) -> None:
        self.count = 0
        self.came = asyncio.Event()
        self.at = 0.0

    def on_message(self, message: BusMessage) -> None:
        self.at = time.perf_counter()
        self.count += 1
        self.came.set()

    def on_disconnect(self) -> None:
        pass

    def on_reconnect(self) -> None:
        raise SystemExit("the bus was disconnected during the measurement")


class Counting:
    """A transport that counts its payloads."""

    def __init__(self, transport: Transport) -> None:
        self.max_payload = transport.max_payload
        self.payloads = 0
        self._transport = transport

    @contextlib.asynccontextmanager
    async def connect(self):
        async with self._transport.connect() as link:
            send = link.send

            async def counted(payload: str) -> None:
                self.payloads += 1
                await send(payload)

            link.send = counted
            yield link


@contextlib.asynccontextmanager
async def running(*buses: Bus):
    tasks = [asyncio.create_task(bus.run()) for bus in buses]
    while not all(bus.connected for bus in buses):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def wake_ups(transport: Transport, seconds: float) -> list[float]:
    """Microseconds from `publish` to `on_message`."""
    one, two, ear = Bus(uuid4(), transport), Bus(uuid4(), transport), Ear()
    two.subscribe(ear)
    times: list[float] = []
    async with running(one, two):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ear.came.clear()
            said = time.perf_counter()
            one.publish(StreamAdvanced(len(times), 1))
            async with asyncio.timeout(5):
                await ear.came.wait()
            times.append((ear.at - said) * 1e6)
            await asyncio.sleep(PAUSE_SECONDS)
    return times[len(times) // 20 :]


def cpu_seconds() -> tuple[float, float, float]:
    """CPU seconds that this process, PostgreSQL and the listener have used so far."""
    times = {"here": time.process_time(), "postgres": 0.0, "listener": 0.0}
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            times["listener" if "--listen" in child.cmdline() else "postgres"] += used.user + used.system
    return times["here"], times["postgres"], times["listener"]


async def commits(url: str, how: str, seconds: float) -> tuple[float, ...]:
    """Rows per second, bus payloads per second, and CPU microseconds per row: here, PostgreSQL, the listener."""
    transport = Counting(transport_of("postgres:", database_url=url, namespace="bench"))
    bus = Bus(uuid4(), transport)
    pool = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    done = 0

    async def insert(connection: asyncpg.Connection, number: int) -> None:
        nonlocal done
        statement = await connection.prepare(NOTIFYING if how == "in the transaction" else INSERT)
        position = 0
        while time.monotonic() < end:
            position += 1
            user = (number + position * CONNECTIONS) % USERS
            await statement.fetch(user, position, BODY)
            done += 1
            if how == "the bus":
                bus.publish(StreamAdvanced(user, position))

    async with running(bus):
        cpu, start = cpu_seconds(), time.monotonic()
        end = start + seconds
        await asyncio.gather(*(insert(connection, number) for number, connection in enumerate(pool)))
        took = time.monotonic() - start
        spent = [(after - before) / done * 1e6 for before, after in zip(cpu, cpu_seconds(), strict=True)]
    for connection in pool:
        await connection.close()
    return done / took, transport.payloads / took, *spent


async def listen(url: str) -> None:
    """The other worker: receives both kinds of notification, until its input ends."""
    bus = Bus(uuid4(), transport_of("postgres:", database_url=url, namespace="bench"))
    bus.subscribe(Ear())
    connection = await asyncpg.connect(url)
    await connection.add_listener(RAW_CHANNEL, lambda *_: None)
    async with running(bus):
        print("listening", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await connection.close()


@contextlib.contextmanager
def listener(url: str) -> Iterator[None]:
    command = [sys.executable, __file__, "--listen", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate("", timeout=10)


def transports_of(stack: contextlib.ExitStack, database_url: str) -> dict[str, Transport]:
    """The transports whose servers are installed."""
    found = {"postgres": "postgres:"}
    for name, kind in (("nats", NatsServer), ("redis", RedisServer)):
        try:
            found[name] = stack.enter_context(kind()).url
        except pytest.skip.Exception as absent:
            print(f"({absent})\n")
    return {name: transport_of(url, database_url=database_url, namespace="bench") for name, url in found.items()}


def measure_wake_ups(transports: dict[str, Transport], rounds: int, seconds: float) -> None:
    print("| wake-up, µs | p50 | p99 | wake-ups a round |\n| --- | --- | --- | --- |")
    times: dict[str, list[list[float]]] = {name: [] for name in transports}
    for _ in range(rounds):
        for name, transport in transports.items():
            times[name].append(sorted(uvloop.run(wake_ups(transport, seconds))))
    for name, of_rounds in times.items():
        p50, p99 = ([row[int(len(row) * part)] for row in of_rounds] for part in (0.5, 0.99))
        print(f"| {name} | {told(p50)} | {told(p99)} | {statistics.median(map(len, of_rounds)):.0f} |")


def measure_commits(url: str, rounds: int, seconds: float) -> None:
    ways = ("none", "the bus", "in the transaction")
    rows: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    with listener(url):
        for way in ways:
            uvloop.run(commits(url, way, min(1, seconds)))
        for number in range(rounds):
            # Each way is the first of a round equally often.
            for way in ways[number % 3 :] + ways[: number % 3]:
                rows[way].append(uvloop.run(commits(url, way, seconds)))
    print("\n| notification | commits/s | of `none` | payloads/s | CPU µs a commit: here | PostgreSQL | listener |")
    print("| --- " * 7 + "|")
    for way, measured in rows.items():
        rates, payloads, *cpus = zip(*measured, strict=True)
        shares = [rate / base[0] for rate, base in zip(rates, rows["none"], strict=True)]
        share = f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        cells = [way, told(rates), share, f"{statistics.median(payloads):,.0f}", *map(told, cpus)]
        print(f"| {' | '.join(cells)} |")


def told(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):,.0f} ({min(numbers):,.0f} to {max(numbers):,.0f})"


async def make_table(url: str) -> str:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE bench (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int, position int, body text)"
    )
    version: str = await connection.fetchval("SHOW server_version")
    await connection.close()
    return version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.listen:
        uvloop.run(listen(given.listen))
        return
    folder = Path(tempfile.mkdtemp(prefix="messenger-bench-"))
    # PostgreSQL runs as another user when this is root, and must reach its folder.
    folder.chmod(0o711)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url = stack.enter_context(EmbeddedPostgres(folder / "postgres")).start()
        version = asyncio.run(make_table(url))
        print(
            f"Python {platform.python_version()}, uvloop, PostgreSQL {version} (fsync on), {psutil.cpu_count()} cores,"
            f" {CONNECTIONS} connections, {given.rounds} rounds of {given.seconds:g} s: median (lowest to highest).\n"
        )
        measure_wake_ups(transports_of(stack, url), given.rounds, given.seconds)
        measure_commits(url, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
