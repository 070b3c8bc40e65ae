"""Activity: every request stamps its user and device, and never fails because of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from messenger.actor import Actor
from messenger.clock import FixedClock, new_id
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import MessengerError, NoPendingRequest, PeerNotFound
from messenger.realtime.interfaces import DeliveryAck
from messenger.repositories import activity
from messenger.schemas.messages import ConversationPatch, MessageDraft, ReceiptDraft
from messenger.schemas.realtime import PresencePatch
from messenger.schemas.types import timestamp
from messenger.schemas.users import AliasDraft, ConfirmDraft, ProfilePatch, SubscribeDraft
from messenger.services import Services
from messenger.testing import Factory, Person, StatementLog
from tests.support.tables import event_data, held, rows

Call = Callable[[Services, Actor, int], Awaitable[Any]]


async def stamps(container: Container, person: Person) -> tuple[datetime, datetime]:
    """The last activity of the user and of this device."""
    found = await rows(
        container,
        "SELECT u.last_activity AS of_user, d.last_activity AS of_device"
        " FROM users AS u JOIN devices AS d ON d.user_id = u.id WHERE d.id = $1",
        person.actor.device_id,
    )
    return found[0]["of_user"], found[0]["of_device"]


@pytest.fixture
async def relaxed(container: Container, settings: Settings) -> AsyncIterator[Container]:
    """The same services with a resolution of 30 seconds."""
    relaxed = Container(
        msgspec.structs.replace(settings, activity_resolution=30), engine=container.engine, clock=container.clock
    )
    yield relaxed
    await relaxed.close()


@asynccontextmanager
async def worker(container: Container, at: datetime) -> AsyncIterator[Container]:
    """Another worker, with a different clock."""
    beside = Container(container.settings, engine=container.engine, clock=FixedClock(at))
    yield beside
    await beside.close()


ALLOWED: dict[str, Call] = {
    "arrival of a socket": lambda to, me, other: to.streams.open_socket(me),
    "avatar removed": lambda to, me, other: to.avatars.remove(me),
    "call over a socket": lambda to, me, other: to.signals.call_audience(me, other),
    "contact named": lambda to, me, other: to.contacts.set_alias(me, other, AliasDraft(alias="Bobby")),
    "contacts": lambda to, me, other: to.contacts.list_page(me, state=None, after=0, limit=10),
    "conversation set": lambda to, me, other: to.conversations.update(me, other, ConversationPatch(pinned=True)),
    "conversations": lambda to, me, other: to.conversations.list_page(me, cursor=None, limit=10),
    "devices": lambda to, me, other: to.devices.list_devices(me, after=None, limit=10),
    "events": lambda to, me, other: to.sync.sync(me, cursor="e0", limit=10),
    "history": lambda to, me, other: to.messages.history(me, other, before=None, after=None, limit=10),
    "ice servers": lambda to, me, other: to.calls.ice_servers(me),
    "message": lambda to, me, other: to.messages.send(me, MessageDraft(target_id=other, client_id="c1", body="Hi")),
    "other profile": lambda to, me, other: to.profiles.find(me, target_id=other),
    "own profile": lambda to, me, other: to.profiles.get(me),
    "profile changed": lambda to, me, other: to.profiles.update(me, ProfilePatch(about="Here")),
    "receipt": lambda to, me, other: to.conversations.receipt(me, ReceiptDraft(target_id=other, read_seq=1)),
    "status over a socket": lambda to, me, other: to.profiles.set_presence(me, PresencePatch(status="busy")),
    "statuses": lambda to, me, other: to.contacts.statuses(me),
    "subscribe, repeated": lambda to, me, other: to.contacts.subscribe(me, SubscribeDraft(target_id=other)),
    "ticket": lambda to, me, other: to.streams.issue_ticket(me),
    "typing over a socket": lambda to, me, other: to.signals.typing_audience(me, other),
    "unblocked": lambda to, me, other: to.contacts.unblock(me, other),
}

REFUSED: dict[str, Call] = {
    "alias of a stranger": lambda to, me, other: to.contacts.set_alias(me, 1, AliasDraft(alias="Who")),
    "confirmation of nothing": lambda to, me, other: to.contacts.confirm(me, ConfirmDraft(target_id=other)),
    "device of another": lambda to, me, other: to.devices.sign_out(me, new_id()),
    "call to a stranger": lambda to, me, other: to.signals.call_audience(me, other),
    "cursor of another stream": lambda to, me, other: to.sync.sync(me, cursor="e999", limit=10),
    "empty safe": lambda to, me, other: to.safe.get(me),
    "message that is not": lambda to, me, other: to.messages.get(me, UUID(int=1)),
    "request to oneself": lambda to, me, other: to.contacts.subscribe(me, SubscribeDraft(target_id=me.user_id)),
    "user that is not": lambda to, me, other: to.profiles.find(me, target_id=1),
    "version of long ago": lambda to, me, other: to.profiles.update(me, ProfilePatch(about="Here"), expected=[0]),
}

READS = (
    "arrival of a socket",
    "call over a socket",
    "contacts",
    "conversations",
    "devices",
    "events",
    "history",
    "ice servers",
    "other profile",
    "own profile",
    "statuses",
    "typing over a socket",
)


class TestActivityStamp:
    @pytest.mark.parametrize("name", ALLOWED)
    async def test_request_stamps_user_and_device(
        self, container: Container, make: Factory, clock: FixedClock, name: str
    ) -> None:
        ada, bob = await make.friends()
        await make.message(bob, ada)
        now = clock.advance(seconds=1)
        await ALLOWED[name](container.services, ada.actor, bob.id)
        assert await stamps(container, ada) == (now, now)

    @pytest.mark.parametrize("name", REFUSED)
    async def test_refused_request_stamps_user_and_device(
        self, container: Container, make: Factory, clock: FixedClock, name: str
    ) -> None:
        ada, bob = await make.people(2)
        now = clock.advance(seconds=1)
        with pytest.raises(MessengerError):
            await REFUSED[name](container.services, ada.actor, bob.id)
        assert await stamps(container, ada) == (now, now)

    async def test_request_stamps_no_other_user(self, container: Container, make: Factory, clock: FixedClock) -> None:
        ada, bob = await make.friends()
        before = clock.now()
        clock.advance(seconds=1)
        await container.services.profiles.find(ada.actor, target_id=bob.id)
        assert await stamps(container, bob) == (before, before)

    async def test_delivery_over_socket_is_not_stamped(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, before = await make.person(), clock.now()
        clock.advance(seconds=1)
        page = await container.services.streams.read_page(ada.actor, after=0, limit=10)
        await container.services.streams.record_delivered([DeliveryAck(ada.id, page.end)])
        assert await stamps(container, ada) == (before, before)

    async def test_request_stamps_only_calling_device(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        sibling, before = await make.device(ada), clock.now()
        now = clock.advance(seconds=1)
        await container.services.profiles.get(ada.actor)
        assert await stamps(container, sibling) == (now, before)

    async def test_response_shows_new_activity_stamp(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        now = clock.advance(seconds=1)
        answer = await container.services.profiles.get(ada.actor)
        assert answer.profile.last_activity == timestamp(now)


class TestStampResolution:
    async def test_request_within_resolution_is_not_stamped(
        self, relaxed: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, before = await make.person(), clock.now()
        clock.advance(seconds=30)
        await relaxed.services.profiles.get(ada.actor)
        assert await stamps(relaxed, ada) == (before, before)

    async def test_first_request_past_resolution_is_stamped_once(
        self, relaxed: Container, make: Factory, clock: FixedClock, statements: StatementLog
    ) -> None:
        ada, sent_by = await make.person(), []
        now = clock.advance(seconds=30.001)
        for _ in range(2):
            async with statements.recording() as sent:
                await relaxed.services.profiles.get(ada.actor)
            sent_by.append(len(sent))
        assert sent_by == [2, 1]
        assert await stamps(relaxed, ada) == (now, now)

    @pytest.mark.parametrize("name", READS)
    async def test_read_within_resolution_is_single_statement_without_writes(
        self, relaxed: Container, make: Factory, statements: StatementLog, name: str
    ) -> None:
        ada, bob = await make.friends()
        async with statements.recording() as sent:
            await ALLOWED[name](relaxed.services, ada.actor, bob.id)
        # On first use of a type, a connection looks it up in the catalogue.
        ours = [statement for statement in sent if "pg_catalog" not in statement]
        assert len(ours) == 1
        assert not any(verb in ours[0] for verb in ("UPDATE", "INSERT", "DELETE"))


class TestClockDifferences:
    async def test_clock_behind_does_not_move_stamp_back(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, now = await make.person(), clock.now()
        async with worker(container, now - timedelta(minutes=1)) as behind:
            await behind.services.profiles.get(ada.actor)
        assert await stamps(container, ada) == (now, now)

    async def test_late_device_stamp_does_not_move_user_stamp_back(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        sibling, later = await make.device(ada), clock.now() + timedelta(minutes=1)
        async with worker(container, later) as ahead:
            await ahead.services.profiles.get(sibling.actor)
        now = clock.advance(seconds=10)
        await container.services.profiles.get(ada.actor)
        assert await stamps(container, ada) == (later, now)

    async def test_sign_in_does_not_move_user_stamp_back(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, now = await make.person(), clock.now()
        async with worker(container, now - timedelta(minutes=1)) as behind:
            await Factory(behind).device(ada)
        assert (await stamps(container, ada))[0] == now


class TestLockedRows:
    @pytest.mark.parametrize(("table", "column"), [("users", "id"), ("devices", "user_id")])
    async def test_stamp_skips_locked_row(
        self, container: Container, make: Factory, clock: FixedClock, table: str, column: str
    ) -> None:
        ada = await make.person()
        clock.advance(seconds=1)
        lock = f"SELECT FROM {table} WHERE {column} = $1 FOR UPDATE"
        async with held(container, lock, ada.id), asyncio.timeout(2):
            answer = await container.services.profiles.get(ada.actor)
        assert answer.profile.id == ada.id

    async def test_transaction_does_not_wait_for_locked_stamp(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.people(2)
        clock.advance(seconds=1)
        lock = "SELECT FROM devices WHERE user_id = $1 FOR UPDATE"
        async with held(container, lock, ada.id), asyncio.timeout(2):
            answer = await container.services.contacts.subscribe(ada.actor, SubscribeDraft(target_id=bob.id))
        assert answer.state == "pending_out"


async def raise_at_once(*_: Any) -> None:
    raise RuntimeError("no stamp today")


async def fail_in_the_database(driver: Any, *_: Any) -> None:
    await driver.execute("SELECT 1 / 0")


@pytest.mark.parametrize("failure", [raise_at_once, fail_in_the_database])
class TestFailedStamp:
    @pytest.fixture(autouse=True)
    def failing(self, monkeypatch: pytest.MonkeyPatch, failure: Any) -> None:
        monkeypatch.setattr(activity, "touch", failure)

    async def test_failed_stamp_does_not_fail_read(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada = await make.person()
        clock.advance(seconds=1)
        assert (await container.services.profiles.get(ada.actor)).profile.id == ada.id

    async def test_failed_stamp_does_not_roll_back_work(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob = await make.people(2)
        before = clock.now()
        clock.advance(seconds=1)
        await container.services.contacts.subscribe(ada.actor, SubscribeDraft(target_id=bob.id))
        assert [event["state"] for event in await event_data(container, bob, "contact.updated")] == ["pending_in"]
        assert await stamps(container, ada) == (before, before)

    @pytest.mark.parametrize(
        ("call", "refusal"), [("user that is not", PeerNotFound), ("confirmation of nothing", NoPendingRequest)]
    )
    async def test_failed_stamp_does_not_change_refusal(
        self, container: Container, make: Factory, clock: FixedClock, call: str, refusal: type[MessengerError]
    ) -> None:
        ada, bob = await make.people(2)
        clock.advance(seconds=1)
        with pytest.raises(refusal):
            await REFUSED[call](container.services, ada.actor, bob.id)
