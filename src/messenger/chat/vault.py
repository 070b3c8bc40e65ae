"""Stores tokens between sessions: one file per account, readable by its owner only."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from messenger.client import Tokens

if sys.platform != "win32":
    import fcntl


class Account(msgspec.Struct):
    """An account on a server and the tokens of a device."""

    url: str
    username: str
    tokens: Tokens


def folder() -> Path:
    """The folder for this program's user data."""
    return Path(click.get_app_dir("messenger"))


class Vault:
    """Files of mode 0600 in a folder of mode 0700. `save=False`: neither reads nor writes."""

    def __init__(self, place: Path | None = None, *, save: bool = True) -> None:
        self._place = (place or folder()) / "chat"
        self._save = save
        self._locks: dict[Path, int] = {}

    def usernames(self, url: str) -> list[str]:
        """The stored accounts of a server, most recently used first."""
        if not self._save or not self._place.is_dir():
            return []
        files = sorted(self._place.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        accounts = [account for file in files if (account := _read(file)) is not None]
        return [account.username for account in accounts if account.url == url]

    def open(self, url: str, username: str) -> Tokens | None:
        """Lock and read the tokens; None if another program uses them: two that refresh them sign each other out."""
        if not self._save:
            return None
        file = self._file(url, username)
        account = _read(file)
        if account is None or not self._lock(file):
            return None
        # They may have been refreshed before the lock was acquired.
        account = _read(file)
        return account.tokens if account is not None else None

    def keep(self, url: str, username: str, tokens: Tokens | None) -> None:
        """Store the tokens; None deletes them."""
        if not self._save:
            return
        file = self._file(url, username)
        if not self._lock(file):
            return
        if tokens is None:
            file.unlink(missing_ok=True)
            return
        fresh = file.with_suffix(".new")
        with _private(fresh) as descriptor:
            os.write(descriptor, msgspec.json.encode(Account(url, username, tokens)))
            os.fsync(descriptor)
        fresh.replace(file)

    def close(self) -> None:
        """Release the locks."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    def _file(self, url: str, username: str) -> Path:
        server = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).netloc)
        return self._place / f"{server}.{re.sub(r'[^a-z0-9_.-]', '_', username.lower())}.json"

    def _lock(self, file: Path) -> bool:
        if file in self._locks:
            return True
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if sys.platform != "win32":
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks[file] = descriptor
        return True


@contextlib.contextmanager
def _private(file: Path) -> Iterator[int]:
    """Create a file that only its owner can read, from the start."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(file: Path) -> Account | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Account)
    except (OSError, msgspec.MsgspecError):
        return None
