"""CPU per request and round trips of eleven basic endpoints, and of sending.

`make bench` runs it: one worker on its own PostgreSQL, durable settings, N concurrent connections, R rounds in turns;
medians. CPU is what the processes used (server and PostgreSQL apart), per request; it includes the HTTP parsing, not
the load generator. Beside each figure stands its ratio to `GET /health/live`, which does nothing, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from _http import Connection
from _report import round_trips
from _server import Server
from PIL import Image

PASSWORD = "fjord-lantern-quiet-93"
CONTACTS, MESSAGES = 200, 200
ENVELOPE = {
    "algorithm": "AES-256-GCM",
    "kdf": {"name": "hkdf"},
    "nonce": base64.b64encode(bytes(12)).decode(),
    "ciphertext": base64.b64encode(bytes(range(48))).decode(),
}


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """A request as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def form(token: str, image: bytes) -> bytes:
    """The upload of an image as bytes."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + image + b"\r\n--b--\r\n"
    head = (
        f"POST /avatar/upload HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(part)}\r\n\r\n"
    )
    return head.encode() + part


class People:
    """A user with many contacts and a long conversation, made over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.tokens: list[str] = []
        self.ids: list[int] = []

    async def register(self, index: int) -> None:
        draft = {"username": f"user-{index}", "password": PASSWORD, "name": f"User {index}"}
        view = (await self._http.post("/register", json=draft)).raise_for_status().json()
        self.ids.append(view["user"]["id"])
        self.tokens.append(view["tokens"]["access_token"])

    async def post(self, who: int, path: str, **body: object) -> None:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        (await self._http.post(path, json=body, headers=headers)).raise_for_status()

    async def make(self) -> None:
        for index in range(CONTACTS + 1):
            await self.register(index)
        for other in range(1, CONTACTS + 1):
            await self.post(other, "/subscribe", target_id=self.ids[0])
            await self.post(0, "/confirm_subscribe", target_id=self.ids[other])
        for number in range(MESSAGES):
            await self.post(0, "/messages", target_id=self.ids[1], client_id=f"m{number}", body="Hello " * 10)


def cases(people: People) -> dict[str, Callable[[int], bytes]]:
    """What is sent, by a running number."""
    me, friend = people.tokens[0], people.ids[1]
    file = io.BytesIO()
    Image.new("RGB", (256, 256), (200, 30, 90)).save(file, "PNG")

    def same(prepared: bytes) -> Callable[[int], bytes]:
        return lambda _: prepared

    def pair(n: int) -> int:
        return 2 + n % (CONTACTS - 1)

    return {
        "GET /health/live": same(request("GET", "/health/live", me)),
        "GET /profile": same(request("GET", "/profile", me)),
        "PUT /profile": lambda n: request("PUT", "/profile", people.tokens[pair(n)], {"about": f"About {n}"}),
        "GET /contacts (50 of 200)": same(request("GET", "/contacts", me)),
        "POST /subscribe": lambda n: request(
            "POST", "/subscribe", people.tokens[pair(n)], {"target_id": people.ids[2 + (n + 7) % (CONTACTS - 1)]}
        ),
        "POST /confirm_subscribe": lambda n: request(
            "POST",
            "/confirm_subscribe",
            people.tokens[pair(n)],
            {"target_id": people.ids[2 + (n - 7) % (CONTACTS - 1)]},
        ),
        "POST /unsubscribe": lambda n: request(
            "POST", "/unsubscribe", people.tokens[pair(n)], {"target_id": people.ids[2 + (n - 7) % (CONTACTS - 1)]}
        ),
        "GET /statuses (200)": same(request("GET", "/statuses", me)),
        "GET /history (50 of 200)": same(request("GET", f"/history/{friend}", me)),
        "POST /avatar/upload": lambda n: form(people.tokens[pair(n)], file.getvalue()),
        "DELETE /avatar/": lambda n: request("DELETE", "/avatar/", people.tokens[pair(n)]),
        "POST /e2e/secret_key": lambda n: request("POST", "/e2e/secret_key", people.tokens[pair(n)], ENVELOPE),
        "GET /ice_servers": same(request("GET", "/ice_servers", me)),
        "POST /messages": lambda n: request(
            "POST",
            "/messages",
            people.tokens[pair(n)],
            {"target_id": people.ids[0], "client_id": f"{time.time_ns()}-{n}", "body": "Hello " * 10},
        ),
        "GET /conversations (50 of 200)": same(request("GET", "/conversations", me)),
    }


async def load(port: int, make: Callable[[int], bytes], count: int, connections: int) -> float:
    """Send `count` requests over `connections` connections; seconds taken."""
    numbers = iter(range(count))

    async def one() -> None:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
        for number in numbers:
            status = await connection.send(make(number))
            if status >= 500 or status in {400, 401, 404, 429}:
                raise RuntimeError(f"{make(number)[:60]!r} was answered with {status}")
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return time.perf_counter() - started


async def measure(subject: Server, options: argparse.Namespace) -> list[dict[str, object]]:
    """All cases, in turns."""
    port = subject.port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        people = People(http)
        await people.make()
    every = cases(people)
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in every}
    for turn in range(options.rounds + 1):
        for name, make in every.items():
            if name == "POST /unsubscribe":
                continue
            count = counted(name, options.requests)
            before = subject.cpu()
            seconds = await load(port, make, count, options.connections)
            used = subject.cpu().since(before).each(count)
            # The first turn warms up: statements are prepared, workers started.
            if turn:
                taken[name].append((used.server, used.postgres, count / seconds))
        # Contacts are asked for and confirmed anew in each turn; taking them back is not counted.
        undo = every["POST /unsubscribe"]
        await load(port, undo, CONTACTS - 1, options.connections)
    floor = statistics.median(row[0] for row in taken["GET /health/live"])
    rows = []
    for name, measured in taken.items():
        if not measured:
            continue
        server, database, rate = (statistics.median(column) for column in zip(*measured, strict=True))
        rows.append(
            {
                "request": name,
                "round_trips": round_trips(name),
                "server_ms": round(server, 3),
                "postgres_ms": round(database, 3),
                "ratio": round(server / floor, 1),
                "per_second": round(rate),
            }
        )
    return rows


def counted(name: str, requests: int) -> int:
    """How many of a case: an image is dear, and a pair of people can become contacts once."""
    if "avatar/upload" in name:
        return max(50, requests // 10)
    return CONTACTS - 1 if "subscribe" in name else requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests of a case in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--port", type=int, default=8991)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    gateways = {"STUN_URLS": "stun:127.0.0.1:3478", "TURN_URLS": "turn:127.0.0.1:3478", "TURN_SECRET": "benchmark"}
    with Server(options.port, **gateways) as server:
        starts = [server.start()]
        server.stop()
        starts.append(server.start())
        rows = asyncio.run(measure(server, options))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {options.connections} connections,")
    print(f"medians of {options.rounds} turns of {options.requests} requests.")
    print(f"Start to ready: {starts[0]:.2f} s cold (initdb, migrations), {starts[1]:.2f} s warm.\n")
    print("| request | round trips | server CPU, ms | PostgreSQL CPU, ms | × live | requests/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| `{row['request']}` | {row['round_trips']} | {row['server_ms']} | {row['postgres_ms']} "
            f"| {row['ratio']} | {row['per_second']} |"
        )
    if options.json:
        options.json.write_text(json.dumps({"start_seconds": starts, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
