"""A message concurrent with a block, a privacy change or an erasure is ordered before it, or refused."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from messenger.container import Container
from messenger.database.statements import STATEMENTS, Statement
from messenger.errors import MessengerError, NotAContact, PeerNotFound, Unauthenticated
from messenger.events import ProfileUpdated
from messenger.repositories import messages as message_repository
from messenger.repositories.events import EventRepository
from messenger.repositories.sending import SEND, SEND_SEVERAL, SentRow
from messenger.schemas.messages import ConversationPatch, MessageDraft, MessagePatch
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from messenger.services._unreadable import Unreadable
from messenger.services.messages import MessageService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import held, rows

Step = Callable[[Container, Person, Person], Awaitable[object]]


async def block(container: Container, me: Person, them: Person) -> None:
    await container.services.contacts.block(me.actor, them.id)


async def take_no_messages(container: Container, me: Person, them: Person) -> None:
    patch = ProfilePatch(privacy=PrivacyPatch(messages_from="nobody"))
    await container.services.profiles.update(me.actor, patch)


async def end_contact(container: Container, me: Person, them: Person) -> None:
    await container.services.contacts.unsubscribe(me.actor, them.id)


async def be_blocked(container: Container, me: Person, them: Person) -> None:
    await container.services.contacts.block(them.actor, me.id)


async def erase(container: Container, me: Person, them: Person) -> None:
    await container.services.accounts.erase(me.actor, PASSWORD)


async def shut(container: Container, me: Person, them: Person) -> None:
    await container.services.administration.set_disabled(me.username, disabled=True)


async def shut_sender(container: Container, me: Person, them: Person) -> None:
    await container.services.administration.set_disabled(them.username, disabled=True)


STEPS = [
    pytest.param(block, NotAContact, id="block"),
    pytest.param(be_blocked, NotAContact, id="block by the sender"),
    pytest.param(take_no_messages, NotAContact, id="privacy"),
    pytest.param(end_contact, NotAContact, id="end of the contact"),
    pytest.param(erase, PeerNotFound, id="erasure"),
    pytest.param(shut, PeerNotFound, id="shut account"),
    pytest.param(shut_sender, Unauthenticated, id="shut account of the sender"),
]


def paused(statement: Statement[SentRow], key: int) -> Statement[SentRow]:
    """The statement with a pause between its snapshot and its first lock: it waits for an advisory lock."""
    first_lock = "FOR NO KEY UPDATE OF c SKIP LOCKED"
    assert statement.text.count(first_lock) == 1
    pause = f"AND pg_advisory_xact_lock_shared({key}) IS NOT NULL"
    before, after = statement.text.split(first_lock)
    ordered = before.rpartition("ORDER BY c.id") if "ORDER BY c.id" in before[-80:] else (before, "", "")
    text = f"{ordered[0]} {pause} {ordered[1]}{ordered[2]}{first_lock}{after}"
    made = Statement(f"{statement.name}_paused", text, SentRow, writes=True)
    del STATEMENTS[made.name]
    return made


async def events_of(container: Container, person: Person) -> list[tuple[str, UUID | None]]:
    found = await rows(container, "SELECT name, subject FROM events WHERE user_id = $1 ORDER BY position", person.id)
    return [(row["name"], row["subject"]) for row in found]


class TestMessageDuringChange:
    @pytest.mark.parametrize(("step", "refusal"), STEPS)
    @pytest.mark.parametrize("together", [False, True], ids=["alone", "in a batch"])
    async def test_message_checked_before_change_is_checked_again(
        self,
        container: Container,
        make: Factory,
        monkeypatch: pytest.MonkeyPatch,
        step: Step,
        refusal: type[MessengerError],
        together: bool,
    ) -> None:
        ada, bob = await make.friends()
        cem, eve = await make.friends()
        await container.services.profiles.update(
            bob.actor, ProfilePatch(privacy=PrivacyPatch(messages_from="contacts"))
        )
        for sender, to in ((ada, bob), (cem, eve)):
            await make.message(sender, to)
        sends = MessageService(
            container.uow,
            RateLimiter(container.uow, enabled=False),
            Unreadable(container.uow, container.metrics.unreadable),
            lanes=1,
        )
        name, statement = ("SEND_SEVERAL", SEND_SEVERAL) if together else ("SEND", SEND)
        monkeypatch.setattr(message_repository, name, paused(statement, bob.id))
        asked = [(ada, MessageDraft(target_id=bob.id, client_id="beside", body="Hello"))]
        if together:
            # The first one takes the lane, and the other two share the next run.
            others = [(cem, MessageDraft(target_id=eve.id, client_id=name, body="Hello")) for name in ("one", "two")]
            asked = [others[0], *asked, others[1]]
        async with held(container, "SELECT pg_advisory_xact_lock($1)", bob.id):
            sending = [asyncio.create_task(sends.send(sender.actor, draft)) for sender, draft in asked]
            waits = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
            while not await rows(container, waits, bob.id):
                assert not sending[-1].done()
            await step(container, bob, ada)
            before = await events_of(container, bob)
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert isinstance(results.pop(1 if together else 0), refusal)
        assert all(isinstance(result, tuple) and result[1] for result in results)
        assert await events_of(container, bob) == before
        assert len(await rows(container, "SELECT FROM messages WHERE sender_id = $1", ada.id)) == 1


class TestChangeDuringBlock:
    async def test_edit_concurrent_with_block_is_refused(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = await make.friends()
        message = await make.message(ada, bob)
        beside = _Beside(monkeypatch, lambda: block(container, bob, ada))
        with pytest.raises(NotAContact):
            await container.services.messages.edit(ada.actor, message.id, MessagePatch(body="Again"))
        assert beside.done
        assert "message.edited" not in [name for name, _ in await events_of(container, bob)]
        assert (await container.services.messages.get(bob.actor, message.id)).body == "Hello"

    async def test_shared_setting_concurrent_with_block_is_refused(
        self, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob)
        _Beside(monkeypatch, lambda: block(container, bob, ada))
        with pytest.raises(NotAContact):
            await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        page = await container.services.conversations.list_page(bob.actor, cursor=None, limit=1)
        assert page.items[0].expire_after is None


class _Beside:
    """Runs a step of another user just before the first append of events."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: Callable[[], Awaitable[object]]) -> None:
        self.done = False
        append = EventRepository.append

        async def after_the_step(repository: EventRepository, *args: object, **more: object) -> object:
            if not self.done:
                self.done = True
                # In a context of its own: this one has an open unit of work.
                await asyncio.get_running_loop().create_task(_run(step), context=contextvars.Context())
            return await append(repository, *args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(EventRepository, "append", after_the_step)


async def _run(step: Callable[[], Awaitable[object]]) -> None:
    await step()


class TestErasedUser:
    async def test_no_event_is_appended_to_erased_stream(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        eve = await make.person()
        await erase(container, bob, ada)
        async with container.uow() as uow:
            uow.record(ProfileUpdated(eve.id), [ada.id, bob.id, eve.id])
        assert await events_of(container, bob) == []
        assert (await events_of(container, ada))[-1][0] == "profile.updated"

    async def test_devices_of_erased_user_are_signed_out(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await erase(container, bob, ada)
        with pytest.raises(Unauthenticated):
            await container.services.sync.sync(bob.actor, cursor="e0", limit=1)
