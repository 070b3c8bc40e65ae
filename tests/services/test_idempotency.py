"""Idempotency-Key: the same answer for the same request, for 24 hours, without stored tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets

import pytest

from messenger.actor import Bearer
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import IdempotencyKeyReused, UsernameTaken
from messenger.repositories.idempotency import KEPT_FOR
from messenger.schemas.accounts import LoginDraft, RegisterDraft, SignedInView
from messenger.schemas.users import ConfirmDraft, RelationView, SubscribeDraft
from messenger.security.envelope import Kdf, SecretEnvelope
from messenger.security.tokens import token_hash
from messenger.services.idempotency import IdempotencyKey
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import event_data, rows

ADDRESS = "192.0.2.9"
DAY = KEPT_FOR.total_seconds()


def once(body: str = "body", *, key: str | None = None) -> IdempotencyKey:
    """A unique key, or a given one, with the hash of a body."""
    return IdempotencyKey(key or secrets.token_hex(16), hashlib.sha256(body.encode()).digest())


def unique() -> str:
    return f"u{secrets.token_hex(6)}"


async def register(container: Container, username: str, key: IdempotencyKey, *, address: str = ADDRESS) -> SignedInView:
    draft = RegisterDraft(username=username, password=PASSWORD, name="Ada")
    return await container.services.accounts.register(draft, address=address, once=key)


async def login(container: Container, person: Person, key: IdempotencyKey) -> SignedInView:
    draft = LoginDraft(login=person.username, password=PASSWORD)
    return await container.services.accounts.login(draft, address=ADDRESS, once=key)


async def ask(container: Container, asker: Person, asked: Person, key: IdempotencyKey) -> RelationView:
    return await container.services.contacts.subscribe(asker.actor, SubscribeDraft(target_id=asked.id), once=key)


async def device_count(container: Container, person: Person) -> int:
    return len(await rows(container, "SELECT id FROM devices WHERE user_id = $1", person.id))


async def kept(container: Container, key: IdempotencyKey) -> list[bytes]:
    found = await rows(container, "SELECT * FROM idempotency_keys WHERE key = $1", key.key)
    return [repr(row).encode() for row in found]


class TestRepeatedRegister:
    async def test_repeated_register_returns_same_answer_and_tokens(self, container: Container) -> None:
        username, key = unique(), once()
        assert await register(container, username, key) == await register(container, username, key)

    async def test_tokens_of_repeated_register_are_valid(self, container: Container) -> None:
        username, key = unique(), once()
        await register(container, username, key)
        again = Person.of(await register(container, username, key))
        assert await container.services.devices.authenticate(Bearer(token_hash(again.access_token))) == again.actor

    async def test_different_body_under_same_key_is_refused(self, container: Container) -> None:
        key = once("one")
        await register(container, unique(), key)
        with pytest.raises(IdempotencyKeyReused):
            await register(container, unique(), once("other", key=key.key))

    async def test_concurrent_identical_registers_create_single_account(self, container: Container) -> None:
        username, key = unique(), once()
        twins = await asyncio.gather(*[register(container, username, key) for _ in range(3)])
        assert twins[1:] == twins[:-1]
        assert await device_count(container, Person.of(twins[0])) == 1

    async def test_idempotency_key_is_reusable_after_a_day(self, container: Container, clock: FixedClock) -> None:
        key = once("one")
        first = await register(container, unique(), key)
        clock.advance(seconds=DAY + 1)
        second = await register(container, unique(), once("other", key=key.key))
        assert second.user.id != first.user.id

    async def test_idempotency_key_holds_for_a_day(self, container: Container, clock: FixedClock) -> None:
        username, key = unique(), once()
        first = await register(container, username, key)
        clock.advance(seconds=DAY)
        assert await register(container, username, key) == first

    async def test_idempotency_key_is_scoped_to_address(self, container: Container) -> None:
        key = once()
        first = await register(container, unique(), key)
        second = await register(container, unique(), key, address="192.0.2.10")
        assert second.tokens.access_token != first.tokens.access_token

    async def test_refused_register_is_not_stored(self, container: Container) -> None:
        username, key = unique(), once()
        await register(container, username, once())
        with pytest.raises(UsernameTaken):
            await register(container, username, key)
        assert await kept(container, key) == []

    async def test_stored_answer_contains_no_token(self, container: Container) -> None:
        key = once()
        view = await register(container, unique(), key)
        stored = b"".join(await kept(container, key))
        assert str(view.user.id).encode() in stored
        for token in (view.tokens.access_token, view.tokens.refresh_token):
            assert token.encode() not in stored
            assert token.partition("_")[2].encode() not in stored


class TestRepeatedLogin:
    async def test_repeated_login_creates_no_second_device(self, container: Container, make: Factory) -> None:
        ada, key = await make.person(), once()
        assert await login(container, ada, key) == await login(container, ada, key)
        assert await device_count(container, ada) == 2

    async def test_concurrent_identical_logins_create_single_device(self, container: Container, make: Factory) -> None:
        ada, key = await make.person(), once()
        twins = await asyncio.gather(*[login(container, ada, key) for _ in range(3)])
        assert twins[1:] == twins[:-1]
        assert await device_count(container, ada) == 2

    async def test_logins_without_key_create_separate_devices(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        one, other = await make.device(ada), await make.device(ada)
        assert one.access_token != other.access_token

    async def test_repeated_login_after_a_day_creates_new_device(
        self, container: Container, make: Factory, clock: FixedClock
    ) -> None:
        ada, key = await make.person(), once()
        first = await login(container, ada, key)
        clock.advance(seconds=DAY + 1)
        second = await login(container, ada, key)
        assert second.device.id != first.device.id
        assert second.tokens.refresh_token != first.tokens.refresh_token


class TestRepeatedContactRequest:
    async def test_repeated_contact_request_returns_first_answer(self, container: Container, make: Factory) -> None:
        (ada, bob), key = await make.people(2), once()
        first = await ask(container, ada, bob, key)
        await container.services.contacts.confirm(bob.actor, ConfirmDraft(target_id=ada.id))
        assert await ask(container, ada, bob, key) == first == RelationView(bob.id, "pending_out")

    async def test_repeated_request_after_decline_does_not_ask_again(self, container: Container, make: Factory) -> None:
        (ada, bob), key = await make.people(2), once()
        await ask(container, ada, bob, key)
        await container.services.contacts.confirm(bob.actor, ConfirmDraft(target_id=ada.id, accept=False))
        await ask(container, ada, bob, key)
        assert [event.get("state") for event in await event_data(container, bob, "contact.updated")] == [
            "pending_in",
            "none",
        ]

    async def test_idempotency_key_is_scoped_to_account(self, container: Container, make: Factory) -> None:
        (ada, bob), key = await make.people(2), once()
        await ask(container, ada, bob, key)
        assert await ask(container, bob, ada, key) == RelationView(ada.id, "mutual")


def envelope(ciphertext: bytes) -> SecretEnvelope:
    encoded = base64.b64encode(ciphertext).decode()
    return SecretEnvelope("AES-256-GCM", Kdf("hkdf"), base64.b64encode(bytes(12)).decode(), encoded)


class TestRepeatedSafeStore:
    async def test_repeated_store_creates_no_version_after_intermediate_store(
        self, container: Container, make: Factory
    ) -> None:
        ada, key = await make.person(), once()
        store = container.services.safe.store
        first = await store(ada.actor, envelope(bytes(48)), once=key)
        await store(ada.actor, envelope(bytes(range(48))))
        assert await store(ada.actor, envelope(bytes(48)), once=key) == first
        assert (await container.services.safe.get(ada.actor)).version == 2

    async def test_stored_answer_contains_no_envelope(self, container: Container, make: Factory) -> None:
        ada, key = await make.person(), once()
        secret = envelope(secrets.token_bytes(48))
        await container.services.safe.store(ada.actor, secret, once=key)
        assert secret.ciphertext.encode() not in b"".join(await kept(container, key))
