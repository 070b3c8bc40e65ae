"""Durable writes to a local folder."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit


def folder_of(url: str) -> Path:
    """The folder of a file:// URL, created with access for its owner only. Raises `ValueError` for a bad URL."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute() or folder == Path("/"):
        raise ValueError("a file URL must look like file:///absolute/folder")
    try:
        _make_folders(folder)
    except OSError as error:
        raise ValueError(f"the folder cannot be created: {error.strerror}") from error
    return folder


def write_durably(folder: Path, key: str, data: bytes) -> None:
    """Write a file atomically and durably: after a power failure it is complete or absent. Blocks. Raises `OSError`.

    obstore's LocalStore renames without fsync (arrow-rs-object-store #661 added it as an option that obstore
    0.12 does not offer), and creates files that all users can read.
    """
    target = folder / key
    _make_folders(target.parent)
    # No key begins with a dot, so that a temporary file cannot be requested.
    descriptor, temporary = tempfile.mkstemp(prefix=".part-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _make_folders(folder: Path) -> None:
    """Create the folder and its parents, with access for their owner only, and sync the entries to disk."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
