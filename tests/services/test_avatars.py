"""Avatars: complete or absent, shared between users of equal images, and removed when unused."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from messenger.container import Container
from messenger.errors import (
    AvatarNotFound,
    FileTooLarge,
    ImageTooLarge,
    StorageUnavailable,
    Unauthenticated,
    UnsupportedImage,
)
from messenger.errors.groups import NotPermitted
from messenger.events import WakeUp
from messenger.media.processor import ImageProcessor
from messenger.services._images import discard_image
from messenger.services.avatars import MAX_FILE_BYTES, AvatarService
from messenger.services.rate_limits import RateLimiter
from messenger.testing import Factory, Person
from tests.services._avatars import Store, files_of, noise, row_of
from tests.support import images
from tests.support.groups import create_group, join
from tests.support.tables import event_data, rows


@pytest.fixture(scope="module")
async def processor() -> AsyncIterator[ImageProcessor]:
    """The worker processes are started once."""
    processor = ImageProcessor(timeout=60)
    yield processor
    await processor.close()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def avatars(container: Container, processor: ImageProcessor, store: Store) -> AvatarService:
    return AvatarService(container.uow, RateLimiter(container.uow, enabled=False), processor, store, key=b"k" * 32)


@pytest.fixture
def image() -> bytes:
    """An image that no other test has."""
    return noise()


@pytest.fixture
async def ada(make: Factory) -> Person:
    return await make.person()


async def avatar_of(container: Container, person: Person) -> str | None:
    avatar = (await container.services.profiles.get(person.actor)).profile.avatar
    return None if avatar is None else avatar.key


class TestAvatarUpload:
    async def test_uploaded_avatar_is_shown_and_served(
        self, container: Container, avatars: AvatarService, ada: Person, image: bytes
    ) -> None:
        view = (await avatars.upload(ada.actor, image)).avatar
        assert (await container.services.profiles.get(ada.actor)).profile.avatar == view
        file, thumb = await avatars.file(view.key), await avatars.file(f"{view.key}_thumb")
        # The address cannot be derived from the image.
        assert view.key not in {hashlib.sha256(image).hexdigest(), hashlib.sha256(file).hexdigest()}
        assert images.decoded(file).size == (view.width, view.height) == (24, 24)
        assert images.decoded(thumb).size == (24, 24)
        assert (view.url, view.thumb_url) == (f"/avatars/{view.key}", f"/avatars/{view.key}_thumb")

    async def test_contacts_are_notified_of_avatar(
        self, container: Container, make: Factory, avatars: AvatarService, image: bytes
    ) -> None:
        (ada, bob), eve = await make.friends(), await make.person()
        key = (await avatars.upload(ada.actor, image)).avatar.key
        for person in (ada, bob):
            events = await event_data(container, person, "profile.updated")
            assert [(event["id"], event["avatar"]["key"]) for event in events] == [(ada.id, key)]
        assert await event_data(container, eve, "profile.updated") == []

    async def test_new_avatar_replaces_old_avatar(
        self, container: Container, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        old = (await avatars.upload(ada.actor, noise())).avatar.key
        new = (await avatars.upload(ada.actor, image)).avatar.key
        assert await avatar_of(container, ada) == new
        assert (await files_of(store, old), await row_of(container, old)) == (0, None)
        with pytest.raises(AvatarNotFound):
            await avatars.file(old)

    async def test_uploading_same_image_again_has_no_effect(
        self, container: Container, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        first = await avatars.upload(ada.actor, image)
        assert await avatars.upload(ada.actor, image) == first
        assert (await files_of(store, first.avatar.key), await row_of(container, first.avatar.key)) == (2, "ready")

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"no image", UnsupportedImage),
            (images.damaged_png(), UnsupportedImage),
            (images.bomb_png(5_001), ImageTooLarge),
            (bytes(MAX_FILE_BYTES + 1), FileTooLarge),
        ],
        ids=["text", "damaged", "pixels", "bytes"],
    )
    async def test_refused_upload_keeps_old_avatar(
        self,
        container: Container,
        avatars: AvatarService,
        ada: Person,
        image: bytes,
        published: list[WakeUp],
        data: bytes,
        error: type[Exception],
    ) -> None:
        old = (await avatars.upload(ada.actor, image)).avatar.key
        published.clear()
        with pytest.raises(error):
            await avatars.upload(ada.actor, data)
        assert await avatar_of(container, ada) == old
        assert await avatars.file(old)
        assert published == []

    async def test_signed_out_device_is_refused_before_image_is_read(
        self, container: Container, avatars: AvatarService, ada: Person
    ) -> None:
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await avatars.count_upload(ada.actor, announced=100)


class TestAvatarRemoval:
    async def test_removed_avatar_loses_files(
        self, container: Container, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        key = (await avatars.upload(ada.actor, image)).avatar.key
        await avatars.remove(ada.actor)
        assert await avatar_of(container, ada) is None
        assert (await files_of(store, key), await row_of(container, key)) == (0, None)
        # The event of the upload does not bring it back either.
        assert [event["avatar"] for event in await event_data(container, ada, "profile.updated")] == [None, None]

    async def test_removal_without_avatar_notifies_no_contact(
        self, avatars: AvatarService, ada: Person, published: list[WakeUp]
    ) -> None:
        published.clear()
        await avatars.remove(ada.actor)
        assert published == []

    async def test_removed_avatar_can_be_uploaded_again(
        self, container: Container, avatars: AvatarService, ada: Person, image: bytes
    ) -> None:
        first = await avatars.upload(ada.actor, image)
        await avatars.remove(ada.actor)
        assert await avatars.upload(ada.actor, image) == first
        assert await avatars.file(first.avatar.key)

    async def test_erased_account_leaves_no_avatar_file(
        self, container: Container, avatars: AvatarService, ada: Person, image: bytes
    ) -> None:
        key = (await avatars.upload(ada.actor, image)).avatar.key
        await container.services.accounts.erase(ada.actor, ada.password)
        assert await row_of(container, key) is None


class TestSharedAvatars:
    async def test_equal_images_share_avatar(
        self, container: Container, make: Factory, avatars: AvatarService, image: bytes
    ) -> None:
        ada, bob = await make.people(2)
        assert await avatars.upload(ada.actor, image) == await avatars.upload(bob.actor, image)

    @pytest.mark.parametrize("how", ["remove", "replace"])
    async def test_file_stays_while_any_user_has_avatar(
        self, container: Container, make: Factory, avatars: AvatarService, store: Store, image: bytes, how: str
    ) -> None:
        ada, bob = await make.people(2)
        key = (await avatars.upload(ada.actor, image)).avatar.key
        await avatars.upload(bob.actor, image)
        for person, left in ((ada, 2), (bob, 0)):
            if how == "remove":
                await avatars.remove(person.actor)
            else:
                await avatars.upload(person.actor, noise())
            assert await files_of(store, key) == left


class TestStoreDown:
    @pytest.mark.parametrize("call", ["put", "put_thumb"])
    async def test_failed_upload_keeps_old_avatar(
        self,
        container: Container,
        avatars: AvatarService,
        store: Store,
        ada: Person,
        image: bytes,
        published: list[WakeUp],
        call: str,
    ) -> None:
        old = (await avatars.upload(ada.actor, image)).avatar.key
        published.clear()
        store.down = frozenset({call})
        with pytest.raises(StorageUnavailable):
            await avatars.upload(ada.actor, noise())
        assert (await avatar_of(container, ada), published) == (old, [])
        assert await avatars.file(old)

    async def test_upload_succeeds_after_store_recovers(
        self, container: Container, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        store.down = frozenset({"put_thumb"})
        with pytest.raises(StorageUnavailable):
            await avatars.upload(ada.actor, image)
        store.down = frozenset()
        assert await avatars.file((await avatars.upload(ada.actor, image)).avatar.key)

    async def test_removal_succeeds_and_the_files_are_left_to_the_sweep(
        self, container: Container, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        key = (await avatars.upload(ada.actor, image)).avatar.key
        store.down = frozenset({"delete"})
        await avatars.remove(ada.actor)
        assert await avatar_of(container, ada) is None
        assert (await files_of(store, key), await row_of(container, key)) == (2, "deleting")
        with pytest.raises(AvatarNotFound):
            await avatars.file(key)

    async def test_file_can_not_be_served(
        self, avatars: AvatarService, store: Store, ada: Person, image: bytes
    ) -> None:
        key = (await avatars.upload(ada.actor, image)).avatar.key
        store.down = frozenset({"get"})
        with pytest.raises(StorageUnavailable):
            await avatars.file(key)


class TestAvatarFile:
    @pytest.mark.parametrize("name", ["", "0" * 64, "x" * 64, "0" * 63, "../" + "0" * 61, f"{'0' * 64}_thumbs"])
    async def test_unknown_avatar_file_is_not_found(self, avatars: AvatarService, name: str) -> None:
        with pytest.raises(AvatarNotFound):
            await avatars.file(name)


class TestConcurrentChanges:
    @pytest.mark.parametrize("pointed", ["before the mark", "after the mark"])
    async def test_upload_during_removal_keeps_files(
        self, container: Container, make: Factory, avatars: AvatarService, store: Store, image: bytes, pointed: str
    ) -> None:
        ada, bob = await make.people(2)
        await avatars.upload(ada.actor, image)
        store.may_delete.clear()
        if pointed == "before the mark":
            await avatars.upload(bob.actor, image)
        removing = asyncio.create_task(avatars.remove(ada.actor))
        if pointed == "after the mark":
            await store.deleting.wait()
            uploading = asyncio.create_task(avatars.upload(bob.actor, image))
            store.may_delete.set()
            await uploading
        await removing
        key = await avatar_of(container, bob)
        assert key is not None
        assert (await files_of(store, key), await row_of(container, key)) == (2, "ready")

    async def test_image_claimed_meanwhile_is_not_released(
        self, container: Container, make: Factory, avatars: AvatarService, store: Store, image: bytes
    ) -> None:
        ada, bob = await make.people(2)
        key = (await avatars.upload(ada.actor, image)).avatar.key
        await rows(container, "UPDATE users SET avatar_key = NULL WHERE id = $1", ada.id)
        async with container.uow() as uow:
            assert (await uow.avatars.set(bob.id, key)).done
            releasing = _elsewhere(discard_image(container.uow, store, key))
            waits = "SELECT pid FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
            while not await rows(container, f"{waits} AND datname = current_database()"):
                pass
        assert await releasing is False
        assert (await files_of(store, key), await row_of(container, key)) == (2, "ready")

    async def test_image_is_released_once(
        self, container: Container, avatars: AvatarService, ada: Person, image: bytes
    ) -> None:
        key = (await avatars.upload(ada.actor, image)).avatar.key
        await rows(container, "UPDATE users SET avatar_key = NULL WHERE id = $1", ada.id)

        async def release() -> bool:
            async with container.uow.command() as uow:
                return await uow.avatars.release(key)

        assert [await release(), await release()] == [True, False]

    async def test_concurrent_uploads_and_removals_leave_avatars_complete(
        self, container: Container, make: Factory, avatars: AvatarService, store: Store, image: bytes
    ) -> None:
        people = await make.people(4)

        async def change(person: Person, last: bool) -> None:
            for _ in range(3):
                await avatars.upload(person.actor, image)
                await avatars.remove(person.actor)
            if last:
                await avatars.upload(person.actor, image)

        await asyncio.gather(*(change(person, number < 2) for number, person in enumerate(people)))
        keys = [await avatar_of(container, person) for person in people]
        assert keys[0] is not None
        assert keys == [keys[0], keys[0], None, None]
        assert await files_of(store, keys[0]) == 2


def _elsewhere(work: Any) -> asyncio.Task[bool]:
    """Run as another request, outside of the current unit of work."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


class TestGroupAvatar:
    async def test_group_shows_uploaded_avatar_with_notice(
        self, container: Container, avatars: AvatarService, make: Factory
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        uploaded = await avatars.upload(ada.actor, noise(), group_id=group.id)
        shown = await container.services.groups.get(bob.actor, group.id)
        assert shown.avatar == uploaded.avatar
        (event,) = (await event_data(container, bob, "group.updated"))[1:]
        assert event["notice"]["action"] == "avatar"

    async def test_member_cannot_replace_avatar_of_group(
        self, container: Container, avatars: AvatarService, make: Factory
    ) -> None:
        ada, bob = await make.people(2)
        group = await create_group(container, ada)
        await join(container, make, ada, group, bob)
        with pytest.raises(NotPermitted):
            await avatars.upload(bob.actor, noise(), group_id=group.id)

    async def test_image_of_group_outlives_equal_avatar_of_user(
        self, container: Container, avatars: AvatarService, make: Factory, store: Store
    ) -> None:
        ada = await make.person()
        group = await create_group(container, ada)
        image = noise()
        uploaded = await avatars.upload(ada.actor, image)
        await avatars.upload(ada.actor, image, group_id=group.id)
        await avatars.remove(ada.actor)
        assert await avatars.file(uploaded.avatar.key)
        await avatars.remove(ada.actor, group_id=group.id)
        with pytest.raises(AvatarNotFound):
            await avatars.file(uploaded.avatar.key)
