"""The reference servers of the benchmarks do the same work as this server, so that the comparison is fair."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import httpx
import pytest
from _yardsticks import agreement
from _yardsticks.contender import PACKAGES, Yardstick
from _yardsticks.works import works
from _yardsticks.world import PAIRS, PEERS, WRITERS, token, user_id

SENDER, TARGET = WRITERS + 7, WRITERS + PAIRS + 7


def headers_of(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(number)}"}


def draft(client_id: str, **changes: object) -> dict[str, object]:
    return {"target_id": user_id(TARGET), "client_id": client_id, "body": "Hello", **changes}


async def check_written(client: httpx.AsyncClient, database_url: str, client_id: str) -> None:
    """Sent twice, it is one message with the next `seq`, and the last event of both streams."""
    sent = [await client.post("/messages", json=draft(client_id), headers=headers_of(SENDER)) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [201, 200]
    message = sent[0].json()
    database = await asyncpg.connect(database_url)
    try:
        rows = await database.fetch(
            "SELECT m.seq, c.last_seq, me.read_seq FROM messages AS m"
            " JOIN conversations AS c ON c.id = m.conversation_id"
            " JOIN members AS me ON me.conversation_id = c.id AND me.user_id = m.sender_id WHERE m.client_id = $1",
            client_id,
        )
        events = await database.fetch(
            "SELECT e.user_id, e.name, s.position = e.position AS last FROM events AS e"
            " JOIN streams AS s ON s.user_id = e.user_id WHERE e.subject = $1 ORDER BY e.user_id",
            message["id"],
        )
    finally:
        await database.close()
    assert [tuple(row) for row in rows] == [(message["seq"],) * 3]
    expected = [(user_id(number), "message.created", True) for number in (SENDER, TARGET)]
    assert [tuple(event) for event in events] == expected


REFUSED: dict[str, tuple[int, dict[str, object]]] = {
    "by nobody": (0x7FFF, {}),
    "to nobody": (SENDER, {"target_id": 5}),
    "to oneself": (SENDER, {"target_id": user_id(SENDER)}),
    "to a stranger": (SENDER, {"target_id": user_id(PEERS)}),
    "empty": (SENDER, {"body": ""}),
    "too long": (SENDER, {"body": "a" * 70_000}),
    "to no message": (SENDER, {"reply_to": "019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f"}),
}


class TestCeiling:
    async def test_ceiling_server_answers_like_messenger(
        self, ours: httpx.AsyncClient, ceiling: httpx.AsyncClient, head: int
    ) -> None:
        await agreement.check(ours, ceiling, works(head))

    async def test_ceiling_server_writes_like_messenger(self, ceiling: httpx.AsyncClient, world_url: str) -> None:
        await check_written(ceiling, world_url, "by-the-ceiling")

    @pytest.mark.parametrize("what", REFUSED)
    async def test_ceiling_server_refuses_like_messenger(
        self, ours: httpx.AsyncClient, ceiling: httpx.AsyncClient, what: str
    ) -> None:
        sender, changes = REFUSED[what]
        first, second = [
            await client.post("/messages", json=draft("refused", **changes), headers=headers_of(sender))
            for client in (ours, ceiling)
        ]
        assert first.status_code >= 400
        assert (second.status_code, second.json()["code"]) == (first.status_code, first.json()["code"])


class TestBaseline:
    @pytest.fixture
    def baseline(self, world_url: str, head: int) -> Iterator[Yardstick]:
        """In a process of its own: its dependencies must not be loaded here."""
        if not PACKAGES.exists():
            pytest.skip("FastAPI is not there; `make setup` installs it")
        with Yardstick("baseline", world_url, workers=1, pool_size=2) as server:
            yield server

    async def test_baseline_answers_and_writes_like_messenger(
        self, ours: httpx.AsyncClient, baseline: Yardstick, head: int, world_url: str
    ) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{baseline.port}") as client:
            for path in [work.path for work in works(head) if work.path and work.baseline_multiple is not None]:
                answers = [await each.get(path, headers=headers_of(0)) for each in (client, ours)]
                assert answers[0].json() == answers[1].json()
            await check_written(client, world_url, "by-the-baseline")
