"""The benchmark of groups: its short form measures every case, and a message counts once all members have it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from _groups.deliveries import Deliveries, Undelivered
from _realtime.sockets import Socket
from _realtime.traffic import Line

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "groups.py"


class _Socket:
    on_event: Any = None
    on_reply: Any = None

    def __init__(self) -> None:
        self.requests: list[tuple[int, dict[str, object]]] = []

    def request(self, number: int, method: str, data: dict[str, object]) -> None:
        self.requests.append((number, data))

    def receive(self, client_id: object, now: float) -> None:
        self.on_event(b"message.created", f'{{"client_id":"{client_id}"}}'.encode(), now)


def sockets(count: int) -> list[_Socket]:
    return [_Socket() for _ in range(count)]


def test_short_form_measures_every_case(tmp_path: Path) -> None:
    report = tmp_path / "groups.json"
    subprocess.run([sys.executable, _SCRIPT, "--quick", "--json", report], check=True, capture_output=True)
    tables = json.loads(report.read_text())["tables"]
    assert [row["to"] for row in tables["sending"]] == [
        "1:1",
        "group of 10",
        "group of 50",
        "group of 200",
        "group of 200, one connected",
    ]
    for row in tables["sending"]:
        assert 0 < row["last receiver p50, ms"] <= row["p99"]
    many, meanwhile, alone = tables["burst"]
    assert many["messages"] == 40
    assert meanwhile["messages"] == alone["messages"] > 0
    lists = tables["conversations"]
    assert [row["list"] for row in lists] == [
        f"{limit} of 200 {what}" for limit in (50, 200) for what in ("contacts", "groups")
    ]
    assert [row.get("CPU ×", 0) > 0 for row in lists] == [False, True, False, True]


class TestDeliveries:
    async def test_last_receiver_completes_delivery(self) -> None:
        members = sockets(3)
        deliveries = Deliveries(cast("list[Socket]", members))
        delivery = deliveries.send(Line(cast(Socket, members[0]), 5), 3)
        number, data = members[0].requests[0]
        for socket, seconds in zip(members, (1, 3, 2), strict=True):
            assert not deliveries.is_complete()
            socket.receive(data["client_id"], delivery.sent + seconds)
        assert not deliveries.is_complete()
        members[0].on_reply(number, "", delivery.sent + 4)
        await asyncio.wait_for(deliveries.complete(), 1)
        assert [delivery.answered, delivery.received] == pytest.approx([4, 3])

    async def test_refused_message_ends_benchmark(self) -> None:
        (socket,) = sockets(1)
        deliveries = Deliveries(cast("list[Socket]", [socket]))
        deliveries.send(Line(cast(Socket, socket), 5), 1)
        socket.on_reply(socket.requests[0][0], "not_permitted", 0.0)
        with pytest.raises(Undelivered, match="not_permitted"):
            await deliveries.complete()
