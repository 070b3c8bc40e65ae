"""Durable writes into a local folder."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit


def folder_of(url: str) -> Path:
    """The absolute folder that a file:// URL names, made for its owner alone when absent; ValueError if unfit."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute() or folder == Path("/"):
        raise ValueError("a file URL is written file:///absolute/folder")
    try:
        _make_folders(folder)
    except OSError as error:
        raise ValueError(f"the folder can't be made: {error.strerror}") from error
    return folder


def write_durably(folder: Path, key: str, data: bytes) -> None:
    """Put a file that is whole or absent, also after a power cut. Blocks; OSError.

    obstore's LocalStore renames without fsync (arrow-rs-object-store #661 added it as an option that obstore
    0.12 does not offer), and makes files that everybody may read.
    """
    target = folder / key
    _make_folders(target.parent)
    # A key never begins with a dot, so nobody can ask for a file that is being written.
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
    """Make the folder and those above it, each for its owner alone, and make their names durable."""
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
