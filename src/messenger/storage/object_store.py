"""Objects by key, in the store that a URL specifies."""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore
from obstore.store import from_url as store_from_url

from messenger.errors import StorageFull, StorageUnavailable
from messenger.storage.folder import folder_of, write_durably

if TYPE_CHECKING:
    from obstore.store import ObjectStore as AnyStore

_KEY = re.compile(r"[a-z0-9_-][a-z0-9_.-]*(?:/[a-z0-9_-][a-z0-9_.-]*)*")
_MAX_KEY = 200
_DEADLINE = 15.0
_CHECK_DEADLINE = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("StorageFull", "QuotaExceeded", "No space left")


class ObjectStore:
    """Stores bytes by key (`[a-z0-9/_.-]`). Calls take at most 15 s and raise StorageUnavailable or StorageFull."""

    def __init__(self, store: AnyStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The store of file:///folder, memory:///, s3://bucket/prefix, gs:// or az://. Raises `ValueError`.

        Credentials and endpoints are read from the variables that each vendor's own tools use.
        """
        try:
            return cls._open(url)
        except (BaseError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0].replace(url, _without_secrets(url))
            raise ValueError(f"the storage URL {_without_secrets(url)!r} cannot be used: {reason}") from None

    @classmethod
    def _open(cls, url: str) -> Self:
        scheme = url.partition(":")[0].lower()
        if scheme == "file":
            folder = folder_of(url)
            return cls(LocalStore(folder), folder)
        if scheme == "memory":
            return cls(MemoryStore())
        # Do not pass client options: any would make obstore ignore those in the environment (AWS_ALLOW_HTTP).
        return cls(store_from_url(url, retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)}))

    async def put(self, key: str, data: bytes) -> None:
        """Store an object durably and atomically; an existing object is replaced."""
        path = _checked(key)
        async with _translated(_DEADLINE):
            if self._folder is not None:
                await asyncio.to_thread(write_durably, self._folder, path, data)
            else:
                # In one request: the parts of a cancelled multipart upload would remain in the bucket and cost money.
                await self._store.put_async(path, data, use_multipart=False)

    async def get(self, key: str) -> bytes | None:
        """The object; None if it does not exist."""
        path = _checked(key)
        async with _translated(_DEADLINE):
            try:
                found = await self._store.get_async(path)
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                return None

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        path = _checked(key)
        async with _translated(_DEADLINE):
            try:
                await self._store.delete_async(path)
            except FileNotFoundError:
                return

    async def check(self) -> None:
        """Write, read and delete a test object. Raises StorageUnavailable or StorageFull."""
        key, probe = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
        async with _translated(_CHECK_DEADLINE):
            await self.put(key, probe)
            found = await self.get(key)
            await self.delete(key)
        if found != probe:
            raise StorageUnavailable("The file store did not return what was written")


@asynccontextmanager
async def _translated(deadline: float) -> AsyncIterator[None]:
    """Translate errors of obstore and of the system, and raise an error after `seconds`."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except (BaseError, OSError, ValueError) as error:
        raise (StorageFull() if _is_full(error) else StorageUnavailable()) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(word in str(error) for word in _FULL_WORDS)


def _checked(key: str) -> str:
    if len(key) > _MAX_KEY or ".." in key or not _KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def _without_secrets(url: str) -> str:
    """The URL without its user, password and query."""
    return re.sub(r"//[^/@]*@", "//…@", url).partition("?")[0]
