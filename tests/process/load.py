"""A load that survives faults: senders that repeat under one `client_id`, devices that come back with their cursor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from messenger.testing.factories import PASSWORD
from messenger.testing.recorder import Findings, Heard, Recorder, View, check, pair

HEAL_SECONDS = 60.0


class Device:
    """One sign-in: its token, its cursor, and what it was told, each event once."""

    def __init__(self, name: str, user_id: int, token: str) -> None:
        self.name = name
        self.user_id = user_id
        self.headers = {"Authorization": f"Bearer {token}"}
        self.log: list[dict[str, Any]] = []
        self.grown = asyncio.Condition()

    @property
    def cursor(self) -> str:
        return self.log[-1]["cursor"] if self.log else "e0"

    async def take(self, frame: dict[str, Any]) -> None:
        # Over a broken connection an event may come again, with the same cursor.
        if int(frame["cursor"][1:]) > int(self.cursor[1:]):
            async with self.grown:
                self.log.append(frame)
                self.grown.notify_all()

    async def until(self, cursor: str) -> None:
        async with asyncio.timeout(HEAL_SECONDS), self.grown:
            await self.grown.wait_for(lambda: int(self.cursor[1:]) >= int(cursor[1:]))

    @property
    def view(self) -> View:
        return View(self.name, self.user_id, tuple(self._heard(frame) for frame in self.log))

    def _heard(self, frame: dict[str, Any]) -> Heard:
        position, data = int(frame["cursor"][1:]), frame["data"]
        if frame["event"] != "message.created":
            return Heard(position, frame["event"])
        between = pair(self.user_id, data["target_id"])
        return Heard(position, frame["event"], between, data["seq"], data["client_id"])


class Load:
    """Pairs of friends with two devices each, talking to any of `urls`."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self.recorder = Recorder()
        self.devices: list[Device] = []
        self.pairs: list[tuple[Device, Device]] = []
        self.acknowledged = asyncio.Event()
        self._http = httpx.AsyncClient(timeout=5)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def meet(self, pairs: int) -> None:
        for _ in range(pairs):
            one, other = await self._person(), await self._person()
            await self._post(one, "/subscribe", target_id=other.user_id)
            await self._post(other, "/confirm_subscribe", target_id=one.user_id)
            self.pairs.append((one, other))

    async def _person(self) -> Device:
        name = f"u{uuid4().hex[:12]}"
        draft = {"username": name, "password": PASSWORD, "name": "Ada"}
        first = await self._sign_in("/register", name, draft)
        await self._sign_in("/login", name, {"login": name, "password": PASSWORD})
        return first

    async def _sign_in(self, path: str, name: str, draft: dict[str, str]) -> Device:
        view = (await self._http.post(self.urls[0] + path, json=draft)).raise_for_status().json()
        number = sum(device.name.startswith(name) for device in self.devices)
        device = Device(f"{name}/{number}", view["user"]["id"], view["tokens"]["access_token"])
        self.devices.append(device)
        return device

    async def _post(self, device: Device, path: str, **body: Any) -> httpx.Response:
        return await self._http.post(random.choice(self.urls) + path, json=body, headers=device.headers)

    def start(self) -> None:
        """Everyone listens, everyone writes."""
        self._tasks = [asyncio.create_task(self._listen(device)) for device in self.devices]
        for one, other in self.pairs:
            self._tasks += [asyncio.create_task(self._write(one, other)), asyncio.create_task(self._write(other, one))]

    async def _write(self, sender: Device, to: Device) -> None:
        while not self._stopping:
            await self._send(sender, to, uuid4().hex)
            await asyncio.sleep(random.uniform(0, 0.05))

    async def _send(self, sender: Device, to: Device, client_id: str) -> None:
        """Until it is known what became of it: a phone repeats, under the same id."""
        while True:
            self.recorder.invoke(client_id, pair(sender.user_id, to.user_id))
            try:
                answer = await self._post(
                    sender, "/messages", target_id=to.user_id, client_id=client_id, body=client_id
                )
            except httpx.HTTPError:
                self.recorder.unknown(client_id)
            else:
                if answer.status_code in (200, 201):
                    self.recorder.ok(client_id, answer.json()["seq"])
                    self.acknowledged.set()
                    return
                assert answer.status_code >= 500, answer.text
                self.recorder.unknown(client_id)
            await asyncio.sleep(random.uniform(0, 0.2))

    async def more(self, count: int) -> None:
        """Wait until so many further messages were acknowledged."""
        async with asyncio.timeout(HEAL_SECONDS):
            for _ in range(count):
                self.acknowledged.clear()
                await self.acknowledged.wait()

    async def _listen(self, device: Device) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                url = random.choice(self.urls).replace("http", "ws", 1) + f"/ws?cursor={device.cursor}"
                async with connect(url, additional_headers=device.headers, open_timeout=5, ping_interval=2) as socket:
                    async for text in socket:
                        frame = json.loads(text)
                        if frame["type"] == "event":
                            await device.take(frame)
            await asyncio.sleep(random.uniform(0, 0.3))

    async def settle(self) -> Findings:
        """Stop writing, let every device read to the end of its stream, and look."""
        self._stopping = True
        writers = self._tasks[len(self.devices) :]
        async with asyncio.timeout(HEAL_SECONDS):
            await asyncio.gather(*writers)
        for device in self.devices:
            await device.until(await self._end(device))
        return check(self.recorder.history, [device.view for device in self.devices])

    async def _end(self, device: Device) -> str:
        """Where its stream ends, once nothing is added any more: receipts follow messages."""
        known = ""
        while True:
            answer = await self._http.get(f"{self.urls[0]}/sync", headers=device.headers)
            cursor: str = answer.raise_for_status().json()["cursor"]
            if cursor == known:
                return cursor
            known = cursor
            await asyncio.sleep(0.5)
