from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from messenger.errors import StorageFull, StorageUnavailable
from messenger.storage.object_store import ObjectStore

KEY = "avatars/ab/abcdef.webp"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, folder: Path) -> ObjectStore:
    return ObjectStore.from_url("memory:///" if request.param == "memory" else folder.as_uri())


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def modes_in(folder: Path) -> list[int]:
    """The permissions of other users on the folder and each entry in it."""
    return [path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))]


def replace_by_a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"not a folder")


def fail_on_fsync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Every fsync fails from now on, as with a full or broken disk."""

    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


class TestObjects:
    async def test_stored_object_is_returned(self, store: ObjectStore) -> None:
        await store.put(KEY, b"bytes")
        assert await store.get(KEY) == b"bytes"

    async def test_empty_object_is_returned(self, store: ObjectStore) -> None:
        await store.put(KEY, b"")
        assert await store.get(KEY) == b""

    async def test_large_object_is_returned(self, store: ObjectStore) -> None:
        data = os.urandom(6 * 1024 * 1024)
        await store.put(KEY, data)
        assert await store.get(KEY) == data

    async def test_absent_object_returns_null(self, store: ObjectStore) -> None:
        assert await store.get(KEY) is None

    async def test_second_put_overwrites(self, store: ObjectStore) -> None:
        await store.put(KEY, b"one")
        await store.put(KEY, b"two")
        assert await store.get(KEY) == b"two"

    async def test_deleted_object_returns_null(self, store: ObjectStore) -> None:
        await store.put(KEY, b"bytes")
        await store.delete(KEY)
        assert await store.get(KEY) is None

    async def test_absent_object_can_be_deleted(self, store: ObjectStore) -> None:
        await store.delete(KEY)

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "A", "a b", "a\n", "ä", "a" * 201]
    )
    async def test_bad_key_is_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError, match="not a storage key"):
            await store.put(key, b"bytes")

    async def test_check_of_working_store_passes(self, store: ObjectStore) -> None:
        await store.check()


class TestFolder:
    async def test_folder_is_readable_only_by_owner(self, folder: Path) -> None:
        await ObjectStore.from_url(folder.as_uri()).put(KEY, b"bytes")
        assert modes_in(folder) == [0] * 4

    async def test_objects_survive_the_process(self, folder: Path) -> None:
        await ObjectStore.from_url(folder.as_uri()).put(KEY, b"bytes")
        assert await ObjectStore.from_url(folder.as_uri()).get(KEY) == b"bytes"

    async def test_folder_with_a_space_is_found(self, tmp_path: Path) -> None:
        await ObjectStore.from_url((tmp_path / "a b").as_uri()).put(KEY, b"bytes")
        assert (tmp_path / "a b" / KEY).is_file()

    async def test_put_is_synced_before_becoming_visible(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = ObjectStore.from_url(folder.as_uri())
        seen: list[bool] = []
        monkeypatch.setattr(os, "fsync", lambda _: seen.append((folder / KEY).exists()))
        await store.put(KEY, b"bytes")
        assert seen[-2:] == [False, True]

    async def test_full_disk_raises_storage_full(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = ObjectStore.from_url(folder.as_uri())
        fail_on_fsync(monkeypatch, errno.ENOSPC)
        with pytest.raises(StorageFull):
            await store.put(KEY, b"bytes")

    async def test_failed_put_leaves_no_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = ObjectStore.from_url(folder.as_uri())
        (folder / KEY).parent.mkdir(parents=True)
        fail_on_fsync(monkeypatch, errno.EIO)
        with pytest.raises(StorageUnavailable):
            await store.put(KEY, b"bytes")
        assert files_in(folder) == []

    async def test_failed_put_keeps_the_old_object(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = ObjectStore.from_url(folder.as_uri())
        await store.put(KEY, b"old")
        fail_on_fsync(monkeypatch, errno.EIO)
        with pytest.raises(StorageUnavailable):
            await store.put(KEY, b"new")
        assert await store.get(KEY) == b"old"

    async def test_check_leaves_no_files(self, folder: Path) -> None:
        await ObjectStore.from_url(folder.as_uri()).check()
        assert files_in(folder) == []

    async def test_check_of_missing_folder_is_unavailable(self, folder: Path) -> None:
        store = ObjectStore.from_url(folder.as_uri())
        replace_by_a_file(folder)
        with pytest.raises(StorageUnavailable):
            await store.check()


class TestRemote:
    async def test_unreachable_store_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nothing listens on port 1 of loopback.
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        store = ObjectStore.from_url("s3://bucket/prefix")
        with pytest.raises(StorageUnavailable):
            await store.check()


class TestUrl:
    @pytest.mark.parametrize(
        "url", ["", "plain", "/a/folder", "nope://x", "s3://", "file://host/x", "file:///", "file:x", "az://c/p"]
    )
    def test_invalid_url_is_reported_in_single_line(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"\Athe storage URL '[^\n]*' cannot be used: [^\n]+\Z"):
            ObjectStore.from_url(url)

    def test_file_instead_of_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ValueError, match="cannot be used"):
            ObjectStore.from_url((tmp_path / "file").as_uri())

    def test_error_hides_secrets_of_url(self) -> None:
        with pytest.raises(ValueError, match="cannot be used") as refused:
            ObjectStore.from_url("nope://user:secret@host/x?token=secret")
        assert "secret" not in str(refused.value)
