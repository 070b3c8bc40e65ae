"""Messages whose rows another transaction has locked: they wait without a lock, and do not block others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import Overloaded
from messenger.schemas.messages import MessageDraft, MessageView
from messenger.services import _busy_lines, _group_commit
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from tests.support.groups import create_group, join
from tests.support.tables import held, rows

LANES = 2

CONVERSATION = "SELECT FROM conversations WHERE $1 IN (low_id, high_id) FOR NO KEY UPDATE"
MEMBERSHIP = "SELECT FROM members WHERE user_id = $1 FOR NO KEY UPDATE"
STREAM = "SELECT FROM streams WHERE user_id = $1 FOR NO KEY UPDATE"


@pytest.fixture
def sends(container: Container) -> MessageService:
    return MessageService(
        container.uow,
        RateLimiter(container.uow, enabled=False),
        Unreadable(container.uow, container.metrics.unreadable),
        lanes=LANES,
    )


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[Any]:
    """Each attempt that found a row locked. No message waits in PostgreSQL."""
    monkeypatch.setattr(_group_commit, "_PATIENT_AFTER", 10.0)
    attempts: asyncio.Queue[Any] = asyncio.Queue()
    park = _busy_lines.BusyLines.park

    def note(lines: Any, waiting: Any) -> None:
        park(lines, waiting)
        attempts.put_nowait(waiting)

    monkeypatch.setattr(_busy_lines.BusyLines, "park", note)
    return attempts


async def pairs(make: Factory, count: int) -> list[tuple[Person, Person]]:
    made = [await make.friends() for _ in range(count)]
    for one, other in made:
        await make.message(one, other)
    return made


async def send(sends: MessageService, sender: Person, to: Person, client_id: str) -> MessageView:
    return (await sends.send(sender.actor, MessageDraft(target_id=to.id, client_id=client_id, body="Hello")))[0]


@contextlib.asynccontextmanager
async def busy(container: Container, sql: str, person: Person) -> AsyncIterator[None]:
    """Another transaction holds the row during the block."""
    async with held(container, sql, person.id):
        yield


async def blocked(container: Container) -> list[dict[str, Any]]:
    """Connections that wait for a lock."""
    return await rows(
        container,
        "SELECT query FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0",
    )


class TestWaiting:
    @pytest.mark.parametrize(
        ("sql", "whose"),
        [(CONVERSATION, 0), (MEMBERSHIP, 0), (STREAM, 0), (STREAM, 1)],
        ids=["conversation", "membership", "own stream", "recipient's stream"],
    )
    @pytest.mark.parametrize("count", [1, 3], ids=["alone", "in a batch"])
    async def test_message_waits_for_locked_row_without_blocking_other_messages(
        self, sends: MessageService, container: Container, make: Factory, sql: str, whose: int, count: int
    ) -> None:
        pair, *others = await pairs(make, 6)
        async with busy(container, sql, pair[whose]):
            waiting = [asyncio.create_task(send(sends, *pair, f"w{n}")) for n in range(count)]
            for n in range(3):
                sent = await asyncio.gather(*(send(sends, *other, f"o{n}") for other in others))
                assert [view.seq for view in sent] == [n + 2] * len(others)
            assert len(await blocked(container)) <= 2
            assert not any(task.done() for task in waiting)
        assert sorted(view.seq for view in await asyncio.gather(*waiting)) == list(range(2, 2 + count))

    async def test_more_waiting_messages_than_lanes_do_not_block_other_messages(
        self, sends: MessageService, container: Container, make: Factory
    ) -> None:
        made = await pairs(make, 3 * LANES + 1)
        *stuck, free = made
        recipients = [other.id for _, other in stuck]
        async with held(container, "SELECT FROM streams WHERE user_id = ANY ($1) FOR NO KEY UPDATE", recipients):
            waiting = [asyncio.create_task(send(sends, *pair, "w")) for pair in stuck]
            for n in range(5):
                assert (await send(sends, *free, f"f{n}")).seq == n + 2
            assert not any(task.done() for task in waiting)
        assert [view.seq for view in await asyncio.gather(*waiting)] == [2] * len(stuck)

    async def test_row_locked_too_long_raises_overloaded(
        self, sends: MessageService, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ((ada, bob),) = await pairs(make, 1)
        monkeypatch.setattr(_busy_lines, "_BUSY_SECONDS", 0.05)
        async with busy(container, STREAM, bob):
            with pytest.raises(Overloaded):
                await send(sends, ada, bob, "w")
        history = await container.services.messages.history(bob.actor, ada.id, before=None, after=None, limit=10)
        assert [message.seq for message in history.items] == [1]
        assert (await send(sends, ada, bob, "w")).seq == 2

    async def test_message_of_a_disconnected_sender_is_not_retried(
        self, sends: MessageService, container: Container, make: Factory, parked: asyncio.Queue[Any]
    ) -> None:
        ((ada, bob),) = await pairs(make, 1)
        async with busy(container, STREAM, bob):
            waiting = asyncio.create_task(send(sends, ada, bob, "w"))
            await parked.get()
            waiting.cancel()
            await asyncio.wait([waiting])
        assert (await send(sends, ada, bob, "x")).seq == 2


async def all_parked(parked: asyncio.Queue[Any], sending: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until each of these messages has found a row locked; fails if one waits for the lock instead."""
    found: set[Any] = set()
    while len(found) < len(sending):
        attempt = asyncio.create_task(parked.get())
        await asyncio.wait([attempt, *sending], return_when=asyncio.FIRST_COMPLETED)
        assert attempt.done(), "a message was sent or refused"
        found.add(attempt.result())


class TestOtherMembers:
    """A message writes the memberships of the others once a minute, and the streams of all members."""

    async def test_message_of_new_minute_waits_for_membership_of_recipient(
        self,
        sends: MessageService,
        container: Container,
        make: Factory,
        clock: FixedClock,
        parked: asyncio.Queue[Any],
    ) -> None:
        ((ada, bob),) = await pairs(make, 1)
        clock.advance(minutes=1)
        async with busy(container, MEMBERSHIP, bob):
            sending = [asyncio.create_task(send(sends, ada, bob, "w"))]
            await all_parked(parked, sending)
        assert (await sending[0]).seq == 2

    async def test_message_of_same_minute_does_not_wait_for_membership_of_recipient(
        self, sends: MessageService, container: Container, make: Factory
    ) -> None:
        ((ada, bob),) = await pairs(make, 1)
        async with busy(container, MEMBERSHIP, bob):
            assert (await send(sends, ada, bob, "w")).seq == 2

    @pytest.mark.parametrize("sql", [MEMBERSHIP, STREAM], ids=["membership", "stream"])
    async def test_message_to_group_waits_for_row_of_single_member(
        self,
        sends: MessageService,
        container: Container,
        make: Factory,
        clock: FixedClock,
        parked: asyncio.Queue[Any],
        sql: str,
    ) -> None:
        ada, bob, cem = await make.people(3)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob, cem)
        clock.advance(minutes=1)
        async with busy(container, sql, cem):
            # The first is tried alone, the others in one statement.
            draft = MessageDraft(target_id=group.id, client_id="w", body="Hello")
            sending = [asyncio.create_task(sends.send(sender.actor, draft)) for sender in (ada, bob, cem)]
            await all_parked(parked, sending)
        assert sorted(view.seq for view, _ in await asyncio.gather(*sending)) == [1, 2, 3]
