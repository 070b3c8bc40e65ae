"""The safe: versions and preconditions, envelopes stored byte for byte, and never exposed elsewhere."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from messenger.actor import Bearer
from messenger.clock import FixedClock
from messenger.config import Settings
from messenger.container import Container
from messenger.errors import IdempotencyKeyReused, SecretNotFound, Unauthenticated, VersionConflict
from messenger.repositories.secrets import KEPT_VERSIONS, SecretRow
from messenger.schemas.safe import ANY, NONE, Precondition, SecretView
from messenger.schemas.types import timestamp
from messenger.security.envelope import Kdf, SecretEnvelope
from messenger.security.tokens import token_hash
from messenger.services.idempotency import IdempotencyKey
from messenger.testing import Factory, Person
from tests.support.tables import rows

ANY_VERSION = Precondition(ANY)
NO_VERSION = Precondition(NONE)


def version(*numbers: int) -> Precondition:
    return Precondition("versions", numbers)


def envelope(content: int | str = 1, **more: Any) -> SecretEnvelope:
    """A different one for each content."""
    text = base64.b64encode(f"ciphertext {content}".encode() + bytes(16)).decode()
    nonce = base64.b64encode(bytes(12)).decode()
    kdf = Kdf(name="argon2id", salt=base64.b64encode(bytes(16)).decode(), m=65536, t="3", p=1)
    return SecretEnvelope(**{"algorithm": "aes-256-gcm", "kdf": kdf, "nonce": nonce, "ciphertext": text, **more})


@pytest.fixture
async def ada(make: Factory) -> Person:
    return await make.person()


async def kept(container: Container, person: Person) -> list[int]:
    found = await rows(container, "SELECT version FROM secrets WHERE user_id = $1 ORDER BY version", person.id)
    return [row["version"] for row in found]


class TestStoreSecret:
    async def test_first_envelope_is_version_1(self, container: Container, ada: Person, clock: FixedClock) -> None:
        view = await container.services.safe.store(ada.actor, envelope())
        assert (view.version, view.created_at) == (1, timestamp(clock.now()))
        assert await container.services.safe.get(ada.actor) == view

    async def test_each_change_creates_next_version(self, container: Container, ada: Person) -> None:
        versions = [(await container.services.safe.store(ada.actor, envelope(n))).version for n in range(3)]
        assert versions == [1, 2, 3]
        assert (await container.services.safe.get(ada.actor)).ciphertext == envelope(2).ciphertext

    async def test_identical_envelope_creates_no_version(
        self, container: Container, ada: Person, clock: FixedClock
    ) -> None:
        first = await container.services.safe.store(ada.actor, envelope())
        clock.advance(days=1)
        assert await container.services.safe.store(ada.actor, envelope()) == first
        assert await kept(container, ada) == [1]

    async def test_earlier_content_creates_new_version(self, container: Container, ada: Person) -> None:
        for content in (1, 2, 1):
            view = await container.services.safe.store(ada.actor, envelope(content))
        assert view.version == 3

    async def test_ten_versions_are_kept(self, container: Container, ada: Person) -> None:
        for n in range(KEPT_VERSIONS + 3):
            await container.services.safe.store(ada.actor, envelope(n))
        assert await kept(container, ada) == list(range(4, 14))

    async def test_accounts_have_separate_safes(self, container: Container, make: Factory, ada: Person) -> None:
        bob = await make.person()
        await container.services.safe.store(ada.actor, envelope(1))
        assert (await container.services.safe.store(bob.actor, envelope(2))).version == 1
        assert (await container.services.safe.get(ada.actor)).ciphertext == envelope(1).ciphertext

    async def test_devices_share_safe(self, container: Container, make: Factory, ada: Person) -> None:
        phone = await make.device(ada)
        stored = await container.services.safe.store(ada.actor, envelope())
        assert await container.services.safe.get(phone.actor) == stored
        assert await container.services.safe.get(Bearer(token_hash(phone.access_token))) == stored

    async def test_missing_safe_is_not_found(self, container: Container, ada: Person) -> None:
        with pytest.raises(SecretNotFound):
            await container.services.safe.get(ada.actor)

    async def test_signed_out_device_cannot_use_safe(self, container: Container, ada: Person) -> None:
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await container.services.safe.store(ada.actor, envelope())
        with pytest.raises(Unauthenticated):
            await container.services.safe.get(ada.actor)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "more",
        [
            {"mac": "AAAA-_8", "key_id": "ключ №1 \\ \" '"},
            {"nonce": "-_-_-_-_-_-_-_-_"},
            {"ciphertext": "A" * 60_000},
            {"kdf": Kdf(name="hkdf-sha256", info="a b", length=32)},
            {"kdf": Kdf(name="none")},
        ],
        ids=["names", "url-safe", "long", "text", "bare"],
    )
    async def test_envelope_is_returned_byte_for_byte(
        self, container: Container, ada: Person, more: dict[str, Any]
    ) -> None:
        given = envelope(**more)
        await container.services.safe.store(ada.actor, given)
        back = await container.services.safe.get(ada.actor)
        fields = {name: getattr(back, name) for name in SecretEnvelope.__struct_fields__}
        assert fields == {name: getattr(given, name) for name in SecretEnvelope.__struct_fields__}
        assert msgspec.json.encode(fields) == msgspec.json.encode(given)


class TestStorePrecondition:
    @pytest.mark.parametrize(
        ("stored", "precondition", "met"),
        [
            (0, None, True),
            (0, NO_VERSION, True),
            (0, ANY_VERSION, False),
            (0, version(1), False),
            (0, version(0), False),
            (0, version(), False),
            (2, None, True),
            (2, NO_VERSION, False),
            (2, ANY_VERSION, True),
            (2, version(2), True),
            (2, version(7, 2), True),
            (2, version(1), False),
            (2, version(3), False),
            (2, version(), False),
        ],
        ids=str,
    )
    async def test_precondition_decides_store(
        self, container: Container, ada: Person, stored: int, precondition: Precondition | None, met: bool
    ) -> None:
        safe = container.services.safe
        for n in range(stored):
            await safe.store(ada.actor, envelope(n))
        if met:
            assert (await safe.store(ada.actor, envelope("new"), precondition=precondition)).version == stored + 1
        else:
            with pytest.raises(VersionConflict):
                await safe.store(ada.actor, envelope("new"), precondition=precondition)
            assert await kept(container, ada) == list(range(1, stored + 1))

    async def test_refusal_names_current_version(self, container: Container, ada: Person) -> None:
        await container.services.safe.store(ada.actor, envelope())
        with pytest.raises(VersionConflict) as caught:
            await container.services.safe.store(ada.actor, envelope(2), precondition=version(9))
        assert caught.value.extra == {"current_version": 1}

    async def test_identical_content_does_not_replace_precondition(self, container: Container, ada: Person) -> None:
        await container.services.safe.store(ada.actor, envelope())
        with pytest.raises(VersionConflict):
            await container.services.safe.store(ada.actor, envelope(), precondition=NO_VERSION)

    @pytest.mark.parametrize(("stored", "precondition"), [(1, version(1)), (0, NO_VERSION)], ids=["match", "none"])
    async def test_concurrent_stores_with_precondition_refuse_second(
        self, container: Container, ada: Person, stored: int, precondition: Precondition
    ) -> None:
        safe = container.services.safe
        for n in range(stored):
            await safe.store(ada.actor, envelope(n))
        outcomes = await asyncio.gather(
            *(safe.store(ada.actor, envelope(name), precondition=precondition) for name in ("one", "other")),
            return_exceptions=True,
        )
        won = [each for each in outcomes if isinstance(each, SecretView)]
        assert [type(each) for each in outcomes if each not in won] == [VersionConflict]
        assert await safe.get(ada.actor) == won[0]
        assert won[0].version == stored + 1

    async def test_concurrent_stores_without_precondition_all_succeed(self, container: Container, ada: Person) -> None:
        stored = await asyncio.gather(*(container.services.safe.store(ada.actor, envelope(n)) for n in range(3)))
        assert sorted(view.version for view in stored) == [1, 2, 3]


class TestRepeatedStore:
    ONCE = IdempotencyKey("a key", b"1" * 32)

    async def test_repeated_store_returns_same_answer(
        self, container: Container, ada: Person, clock: FixedClock
    ) -> None:
        safe = container.services.safe
        first = await safe.store(ada.actor, envelope(1), once=self.ONCE)
        await safe.store(ada.actor, envelope(2))
        clock.advance(minutes=1)
        assert await safe.store(ada.actor, envelope(1), once=self.ONCE) == first
        assert (await safe.get(ada.actor)).version == 2

    async def test_repeated_store_of_unchanged_content_returns_same_answer(
        self, container: Container, ada: Person
    ) -> None:
        safe = container.services.safe
        await safe.store(ada.actor, envelope(1))
        first = await safe.store(ada.actor, envelope(1), once=self.ONCE)
        await safe.store(ada.actor, envelope(2))
        assert await safe.store(ada.actor, envelope(1), once=self.ONCE) == first
        assert (await safe.get(ada.actor)).version == 2

    async def test_repeated_store_with_different_body_is_refused(self, container: Container, ada: Person) -> None:
        safe = container.services.safe
        await safe.store(ada.actor, envelope(1))
        await safe.store(ada.actor, envelope(1), once=self.ONCE)
        with pytest.raises(IdempotencyKeyReused):
            await safe.store(ada.actor, envelope(2), once=IdempotencyKey("a key", b"2" * 32))

    async def test_refused_precondition_is_not_stored_as_answer(self, container: Container, ada: Person) -> None:
        safe = container.services.safe
        with pytest.raises(VersionConflict):
            await safe.store(ada.actor, envelope(1), precondition=ANY_VERSION, once=self.ONCE)
        assert (await safe.store(ada.actor, envelope(1), once=self.ONCE)).version == 1


class TestSecrecy:
    CANARY = "Q0FOQVJZ"

    @pytest.fixture
    def marked(self) -> SecretEnvelope:
        """An envelope whose values can be searched for."""
        kdf = Kdf(name="argon2id", salt=f"salt{self.CANARY}", info=f"info{self.CANARY}")
        names = {name: f"{name}{self.CANARY}" for name in ("nonce", "ciphertext", "mac", "key_id")}
        return envelope(kdf=kdf, **names)

    async def test_logs_contain_no_secret(
        self, container: Container, ada: Person, marked: SecretEnvelope, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        safe = container.services.safe
        await safe.store(ada.actor, marked)
        await safe.get(ada.actor)
        with pytest.raises(VersionConflict):
            await safe.store(ada.actor, marked, precondition=NO_VERSION)
        assert self.CANARY not in caplog.text

    @pytest.fixture
    async def broken(self, fresh_database_url: str, settings: Settings, clock: FixedClock) -> AsyncIterator[Container]:
        """A database that refuses every version."""
        container = Container(msgspec.structs.replace(settings, database_url=fresh_database_url), clock=clock)
        async with container.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("ALTER TABLE secrets ADD CHECK (version < 1)")
        yield container
        await container.close()

    async def test_failure_does_not_reveal_secret(
        self, broken: Container, marked: SecretEnvelope, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        eve = await Factory(broken).person()
        with pytest.raises(Exception, match="check") as caught:
            await broken.services.safe.store(eve.actor, marked)
        said = "".join(traceback.format_exception(caught.value))
        said += caplog.text
        assert self.CANARY not in said
        assert self.CANARY.encode().hex() not in said

    async def test_repr_hides_secret(self, container: Container, ada: Person, marked: SecretEnvelope) -> None:
        view = await container.services.safe.store(ada.actor, marked)
        row = SecretRow(1, msgspec.json.encode(marked), FixedClock().now())
        assert self.CANARY not in f"{marked!r} {view!r} {row!r} {marked.kdf!r} {view.kdf!r}"
