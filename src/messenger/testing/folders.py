"""Temporary folders for the data of test servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder's name is random, as in /tmp


@contextmanager
def memory_folder(name: str) -> Iterator[Path]:
    """A folder in memory, where the machine has such a place, that is removed at the end."""
    base = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=f"messenger-{name}-", dir=base))
    # When the tests run as root, PostgreSQL runs as another user, who must be able to reach its folder.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
