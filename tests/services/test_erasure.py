"""Erasure and export: what remains of an account, and what its owner can download."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import hashlib
import json
import secrets
import zipfile
from collections.abc import Awaitable
from typing import Any

import pytest

from messenger.actor import Bearer
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import (
    AvatarNotFound,
    InvalidCredentials,
    InvalidRefreshToken,
    MessengerError,
    PeerNotFound,
    Unauthenticated,
)
from messenger.media.processor import Avatar
from messenger.schemas.accounts import LoginDraft
from messenger.schemas.users import AliasDraft, AvatarView, ProfilePatch, SubscribeDraft
from messenger.security.envelope import Kdf, SecretEnvelope
from messenger.security.tokens import token_hash
from messenger.services import accounts as accounts_module
from messenger.services._images import image_path
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.support.tables import event_data, rows

ADDRESS = "192.0.2.11"


async def erase(container: Container, person: Person) -> None:
    await container.services.accounts.erase(person.actor, PASSWORD)


async def user_row(container: Container, person: Person) -> dict[str, Any]:
    return (await rows(container, "SELECT * FROM users WHERE id = $1", person.id))[0]


@pytest.fixture
def pictures(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept any bytes as an image: decoding is tested elsewhere."""

    async def decode(data: bytes) -> Avatar:
        return Avatar(hashlib.sha256(data).hexdigest(), data, data[:4], 64, 64, "cGxhY2Vob2xkZXI=")

    monkeypatch.setattr(container.images, "avatar", decode)


async def upload(container: Container, person: Person, data: bytes) -> AvatarView:
    return (await container.services.avatars.upload(person.actor, data)).avatar


async def store_secret(container: Container, person: Person, ciphertext: bytes) -> SecretEnvelope:
    nonce, sealed = (base64.b64encode(part).decode() for part in (bytes(12), ciphertext))
    envelope = SecretEnvelope("AES-256-GCM", Kdf("hkdf"), nonce, sealed)
    await container.services.safe.store(person.actor, envelope)
    return envelope


class TestEraseAccount:
    async def test_wrong_password_does_not_erase(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(InvalidCredentials):
            await container.services.accounts.erase(ada.actor, "gravel-otter-violet-58")
        assert (await container.services.profiles.get(ada.actor)).profile.username == ada.username

    async def test_messages_of_erased_account_stay_without_name(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob, "Remember me")
        await erase(container, ada)
        history = await container.services.messages.history(bob.actor, ada.id, before=None, after=None, limit=10)
        assert [(message.sender_id, message.body) for message in history.items] == [(ada.id, "Remember me")]
        page = await container.services.conversations.list_page(bob.actor, cursor=None, limit=10)
        assert [(item.target.id, item.target.username, item.target.name) for item in page.items] == [
            (ada.id, None, "Deleted account")
        ]

    async def test_erasure_removes_contacts_on_both_sides(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        (eve,) = await make.people(1)
        await container.services.contacts.block(eve.actor, ada.id)
        await erase(container, ada)
        held = "SELECT * FROM contacts WHERE owner_id = $1 OR target_id = $1"
        assert await rows(container, held, ada.id) == []
        page = await container.services.contacts.list_page(bob.actor, state=None, after=0, limit=10)
        assert page.items == []

    async def test_erasure_notifies_only_visible_contacts(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        (eve,) = await make.people(1)
        await container.services.contacts.block(ada.actor, eve.id)
        await erase(container, ada)
        events = await event_data(container, bob, "contact.updated")
        # Nor do those of before tell a name any more.
        nobody = {"id": ada.id, "username": None, "name": "Deleted account", "avatar": None}
        assert [event["user"] for event in events] == [nobody] * len(events)
        assert [event["state"] for event in events] == ["pending_in", "mutual", "none"]
        assert await event_data(container, eve, "contact.updated") == []

    async def test_erasure_revokes_all_tokens(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        other = await make.device(ada)
        await erase(container, ada)
        for device in (ada, other):
            with pytest.raises(Unauthenticated):
                await container.services.devices.authenticate(Bearer(token_hash(device.access_token)))
            with pytest.raises(InvalidRefreshToken):
                await container.services.devices.refresh(device.refresh_token, address=ADDRESS)

    @pytest.mark.parametrize("by", ["username", "id"])
    async def test_erased_account_cannot_sign_in(self, container: Container, make: Factory, by: str) -> None:
        ada = await make.person()
        await erase(container, ada)
        draft = LoginDraft(login=str(getattr(ada, by)), password=PASSWORD)
        with pytest.raises(InvalidCredentials):
            await container.services.accounts.login(draft, address=ADDRESS)

    async def test_erasure_releases_username_but_not_user_number(
        self, container: Container, make: Factory, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = await make.person()
        await erase(container, ada)
        clock.advance(days=30)
        free = secrets.randbelow(10**9) + 10**9
        monkeypatch.setattr(accounts_module, "candidate_numbers", lambda: [ada.id, free])
        heir = await make.person(ada.username)
        assert heir.id == free

    async def test_erased_account_is_not_found(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await erase(container, ada)
        with pytest.raises(PeerNotFound):
            await container.services.profiles.find(bob.actor, target_id=ada.id)

    async def test_erasure_removes_personal_data(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        patch = ProfilePatch(about="I was here", status="invisible", status_text="Hidden")
        await container.services.profiles.update(ada.actor, patch)
        await store_secret(container, ada, bytes(48))
        bob = await make.person()
        await make.befriend(ada, bob)
        hidden = await make.message(bob, ada)
        await container.services.messages.delete(ada.actor, hidden.id, who="me")
        await erase(container, ada)
        row = await user_row(container, ada)
        texts = [row[column] for column in ("username", "username_key", "name", "about", "status", "status_text")]
        assert texts == [None, None, "Deleted account", "", "online", ""]
        assert (row["password_hash"], row["avatar_key"], row["invisible_since"]) == (None, None, None)
        for table in ("secrets", "events", "hidden_messages"):
            assert await rows(container, f"SELECT * FROM {table} WHERE user_id = $1", ada.id) == []

    @pytest.mark.usefixtures("pictures")
    async def test_erasure_removes_avatar_from_store(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        avatar = await upload(container, ada, secrets.token_bytes(32))
        await erase(container, ada)
        assert await container.store.get(image_path(avatar.key)) is None
        with pytest.raises(AvatarNotFound):
            await container.services.avatars.file(avatar.key)

    @pytest.mark.usefixtures("pictures")
    async def test_erasure_keeps_avatar_shared_with_other_user(self, container: Container, make: Factory) -> None:
        (ada, bob), data = await make.people(2), secrets.token_bytes(32)
        avatar = await upload(container, ada, data)
        await upload(container, bob, data)
        await erase(container, ada)
        assert await container.services.avatars.file(avatar.key) == data

    async def test_request_concurrent_with_erasure_leaves_no_contact(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        ask = container.services.contacts.subscribe(bob.actor, SubscribeDraft(target_id=ada.id))
        _, answer = await asyncio.gather(erase(container, ada), ask, return_exceptions=True)
        assert not isinstance(answer, Exception) or isinstance(answer, PeerNotFound)
        assert await rows(container, "SELECT * FROM contacts WHERE target_id = $1", ada.id) == []


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


async def while_erasing(container: Container, person: Person, work: Awaitable[Any]) -> None:
    """Run `work` up to the row that an erasure has written, and continue when that commits."""
    async with container.uow() as uow:
        await uow.contacts.lock_pair(person.actor)
        await uow.avatars.set(person.id, None)
        await uow.users.erase(person.id, username_key=person.username, username_digest=secrets.token_bytes(32))
        # In a context of its own: it is another request.
        task = asyncio.create_task(_awaited(work), context=contextvars.Context())
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not (task.done() or await rows(container, waiting)):
            pass
    with pytest.raises(MessengerError):
        await task


class TestConcurrentWithErasure:
    async def test_profile_update_does_not_restore_name(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        patch = ProfilePatch(name="Ada again", username=f"{ada.username}-2")
        await while_erasing(container, ada, container.services.profiles.update(ada.actor, patch))
        row = await user_row(container, ada)
        assert (row["username"], row["name"]) == (None, "Deleted account")

    async def test_sign_in_during_erasure_leaves_no_device(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        draft = LoginDraft(login=ada.username, password=PASSWORD)
        await while_erasing(container, ada, container.services.accounts.login(draft, address=ADDRESS))
        assert await rows(container, "SELECT id FROM devices WHERE user_id = $1", ada.id) == []

    async def test_own_request_during_erasure_creates_no_contact(self, container: Container, make: Factory) -> None:
        ada, bob = await make.people(2)
        ask = container.services.contacts.subscribe(ada.actor, SubscribeDraft(target_id=bob.id))
        await while_erasing(container, ada, ask)
        assert await rows(container, "SELECT * FROM contacts WHERE target_id = $1", ada.id) == []

    async def test_second_erasure_is_refused(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await while_erasing(container, ada, container.services.accounts.erase(ada.actor, PASSWORD))

    @pytest.mark.usefixtures("pictures")
    async def test_upload_during_erasure_leaves_no_avatar(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        await while_erasing(container, ada, container.services.avatars.upload(ada.actor, secrets.token_bytes(32)))
        assert (await user_row(container, ada))["avatar_key"] is None


async def exported(container: Container, person: Person) -> dict[str, bytes]:
    with await container.services.exports.archive(person.actor) as file, zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


class TestAccountExport:
    async def test_export_contains_json_lines_file_per_part(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.contacts.set_alias(ada.actor, bob.id, AliasDraft(alias="Bobby"))
        secret = await store_secret(container, ada, bytes(range(48)))
        files = await exported(container, ada)
        assert {(row["id"], row["username"]) for row in lines(files["profile.jsonl"])} == {(ada.id, ada.username)}
        assert [row["id"] for row in lines(files["devices.jsonl"])] == [str(ada.actor.device_id)]
        assert [(row["target_id"], row["state"], row["alias"]) for row in lines(files["contacts.jsonl"])] == [
            (bob.id, "mutual", "Bobby")
        ]
        assert [row["envelope"]["ciphertext"] for row in lines(files["secrets.jsonl"])] == [secret.ciphertext]

    async def test_export_contains_messages_of_both_sides_in_order(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await make.message(ada, bob, "Ping\nand more")
        await make.message(bob, ada, "Pong")
        files = await exported(container, ada)
        assert [(row["seq"], row["sender_id"], row["body"]) for row in lines(files["messages/000000.jsonl"])] == [
            (1, ada.id, "Ping\nand more"),
            (2, bob.id, "Pong"),
        ]
        assert [row["target_id"] for row in lines(files["conversations.jsonl"])] == [bob.id]

    @pytest.mark.usefixtures("pictures")
    async def test_export_contains_avatar(self, container: Container, make: Factory) -> None:
        ada, data = await make.person(), secrets.token_bytes(32)
        await upload(container, ada, data)
        assert (await exported(container, ada))["avatar.webp"] == data

    async def test_export_contains_no_credentials(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        content = b"".join((await exported(container, ada)).values())
        assert ada.username.encode() in content
        assert b"hash" not in content
        assert b"argon2" not in content

    async def test_export_omits_conversations_of_other_users(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        bob, eve = await make.friends()
        await make.message(bob, eve, "Between the two of us")
        files = await exported(container, ada)
        assert [name for name in files if name.startswith("messages/")] == []
