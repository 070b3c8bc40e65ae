"""The location of a data folder's cluster: the folder itself, or one that PostgreSQL's user can access.

PostgreSQL refuses to run as root, so a root process runs it as another user. That user gets access to the data folder
if this only requires a group on folders that only root can enter. If a parent folder cannot be entered (a checkout
under /root), the cluster is under /var/lib/messenger. A file beside the folder, `postgres.location`, stores its path,
so that a data folder that was moved, copied or restored never starts with an empty database unnoticed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import stat
from pathlib import Path

from messenger.embedded import machine as host
from messenger.embedded.process import Account, EmbeddedPostgresError

_log = logging.getLogger(__name__)


def location_file(data_dir: Path) -> Path:
    """The file that stores the cluster's location."""
    return data_dir.with_name(f"{data_dir.name}.location")


def recorded_home(data_dir: Path) -> Path | None:
    """The location in the file, whether or not it exists; None without the file."""
    try:
        text = location_file(data_dir).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    # A relative path stays valid when the folder is moved.
    return data_dir.parent / text if text else None


def record_home(data_dir: Path, home: Path) -> None:
    """Write the location, and sync it to disk."""
    if recorded_home(data_dir) != home:
        text = home.name if home.parent == data_dir.parent else str(home)
        host.write_private(location_file(data_dir), f"{text}\n")


def account_for(data_dir: Path) -> Account:
    """The current user; for root the owner of an existing cluster, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account()
    existing = _existing_home(data_dir)
    if existing is not None:
        owner = (existing / "cluster").stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError("PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'")


def home_for(data_dir: Path, account: Account) -> Path:
    """The folder for the cluster, created and accessible.

    Raises `EmbeddedPostgresError` if an existing cluster cannot be found.
    """
    home = _existing_home(data_dir)
    if home is None:
        _ensure_none_is_missing(data_dir)
        home = data_dir if _admit(account, data_dir) else host.moved_home(data_dir)
    elif home == data_dir and not _admit(account, data_dir):
        raise EmbeddedPostgresError(
            f"The user who owns {data_dir / 'cluster'} cannot access it: grant x on its parents"
        )
    if home != data_dir:
        _log.warning("PostgreSQL's files are not in %s but in %s: back up both", data_dir.parent, home)
        host.make_system_dir()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not host.reaches(account, home):
        os.chown(home, -1, account.gid or 0)
        home.chmod(0o710)
    _take_over(home, account)
    return home


def _existing_home(data_dir: Path) -> Path | None:
    """The existing cluster: the folder itself first, since an operator may have moved the cluster back there."""
    recorded = recorded_home(data_dir)
    for home in (data_dir, recorded, host.moved_home(data_dir)):
        if home is not None and (home / "cluster").exists():
            return home
    return None


def _ensure_none_is_missing(data_dir: Path) -> None:
    """Refuse to create a cluster where there was one before: it was moved, or not restored."""
    folder, recorded = data_dir.parent, recorded_home(data_dir)
    witnesses = [path for path in (location_file(data_dir), folder / "secret") if path.exists()]
    if not witnesses:
        return
    if recorded is not None:
        where = f"its database was in {recorded}: restore that folder, or make it {data_dir}"
    else:
        found = sorted(str(path.parent) for path in host.SYSTEM_DIR.glob("*/cluster"))
        where = f"if its database is one of {', '.join(found)}, write that path into {location_file(data_dir)}"
        where = where if found else f"restore its database to {data_dir}"
    names = " and ".join(path.name for path in witnesses)
    raise EmbeddedPostgresError(
        f"{folder} belongs to an installation whose PostgreSQL is missing; {where}. "
        f"To start with an empty database, remove {names} from {folder}"
    )


def _admit(account: Account, data_dir: Path) -> bool:
    """Whether the account can enter the folder, after granting access where possible (`_open_to_group`)."""
    make_folder(account, data_dir.parent)
    for folder in (data_dir.parent, data_dir):
        if folder.exists() and not host.reaches(account, folder):
            _open_to_group(account, folder)
    return host.reaches(account, data_dir if data_dir.exists() else data_dir.parent)


def make_folder(account: Account, folder: Path) -> None:
    """Create a data folder and its parents, so that the account can traverse the new folders."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700 if path == folder else 0o777, exist_ok=True)
        if not host.reaches(account, path):
            _open_to_group(account, path)


def _open_to_group(account: Account, folder: Path) -> None:
    """Let the account's group traverse a folder, and nothing more; folders that are already shared do not change."""
    found = folder.stat()
    is_shared = bool(found.st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    is_ours = found.st_uid == os.geteuid()
    if is_ours and (not is_shared or found.st_gid == os.getegid()) and host.reaches(account, folder.parent):
        os.chown(folder, -1, account.gid or 0)
        folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IRWXG | stat.S_IXGRP)


def _take_over(home: Path, account: Account) -> None:
    """Return files that a copy made by root owns to the account; PostgreSQL only uses its own user's files."""
    if account.uid is None:
        return
    for top in (home / "cluster", home / "log"):
        if top.exists() and top.stat().st_uid == os.geteuid():
            # The folder itself is last: its owner shows whether this is complete, even after an interruption.
            for path in (*top.rglob("*"), top):
                os.chown(path, account.uid, account.gid or 0, follow_symlinks=False)
