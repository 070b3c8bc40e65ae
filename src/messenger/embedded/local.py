"""Selects the database of a process: the configured one, or the embedded one in the data folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from messenger.config import Settings, SettingsError
from messenger.embedded import memory as embedded_memory
from messenger.embedded.location import account_for, make_folder, recorded_home
from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from messenger.embedded.process import Account


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded PostgreSQL of this data folder, not started yet."""
    binaries = Path(settings.postgres_bin) if settings.postgres_bin else None
    options = {"shared_buffers": f"{embedded_memory.buffers() // 2**20}MB"}
    if embedded_memory.huge_pages() >= embedded_memory.shared():
        options["huge_pages"] = "try"
    return EmbeddedPostgres(settings.data_dir / "postgres", bin_dir=binaries, settings=options)


def make_data_dir(settings: Settings) -> None:
    """Create the data folder before anything is stored there. Raises `SettingsError` if it cannot be written."""
    folder = settings.data_dir.resolve()
    try:
        account = Account() if settings.database_url else account_for(folder / "postgres")
        make_folder(account, folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(f"MESSENGER_DATA_DIR: {folder} is not writable: {error.strerror}") from None


def location(settings: Settings) -> str:
    """The location of the embedded PostgreSQL, as a clause for messages; empty for an external database."""
    if settings.database_url:
        return ""
    home = recorded_home(settings.data_dir.resolve() / "postgres")
    return f", in {home}" if home else ""


def is_outside_data_dir(settings: Settings) -> bool:
    """Whether the database lies outside the data folder, so that a copy of the folder does not include it."""
    folder = settings.data_dir.resolve()
    home = None if settings.database_url else recorded_home(folder / "postgres")
    return home is not None and not home.is_relative_to(folder)


def _url_file(settings: Settings) -> Path:
    return settings.data_dir / "postgres.url"


@contextlib.contextmanager
def published(settings: Settings, url: str) -> Iterator[None]:
    """Write the URL to a file for the command line while the server runs; only its owner can read it."""
    path = _url_file(settings)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(url)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


@contextlib.contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The URL of the database, for a command that may run beside a server. Starts the embedded PostgreSQL if needed."""
    if settings.database_url:
        yield settings.database_url
        return
    server = embedded(settings)
    try:
        url = server.start()
    except EmbeddedPostgresError:
        # A running server uses it, and has written the URL.
        path = _url_file(settings)
        if not path.exists():
            raise
        yield path.read_text()
        return
    try:
        yield url
    finally:
        server.stop()
