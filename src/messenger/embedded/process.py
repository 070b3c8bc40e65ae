"""Runs PostgreSQL as a child process, if necessary as another user, and ends it when this process ends."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

LINUX = sys.platform == "linux"

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_RUN_SECONDS = 300.0


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the message is one line for the operator."""


@dataclass(frozen=True)
class Account:
    """The user and group that PostgreSQL runs as; both None: those of this process."""

    uid: int | None = None
    gid: int | None = None


def spawn(
    account: Account,
    argv: list[str],
    *,
    stdin: int = subprocess.DEVNULL,
    output: int = subprocess.DEVNULL,
    keep: tuple[int, ...] = (),
    parting: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a program as the account. On Linux the kernel sends it the signal `parting` when this thread ends."""
    # Do not pass on PGPORT, PGDATA, LC_… and the like; TZ saves initdb the detection of the time zone.
    passed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - the arguments are trusted, and no shell is used
        argv,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"LC_ALL": "C", "TZ": "UTC", **passed},
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
        umask=0o077,
        # Ctrl-C in a terminal must only reach the server, which stops PostgreSQL last.
        start_new_session=True,
        pass_fds=keep,
        preexec_fn=_tie(parting) if LINUX else None,
    )


def _tie(parting: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def tie() -> None:
        # This runs after the change of user, since that resets the setting.
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(parting), 0, 0, 0)
        if os.getppid() != parent:  # The parent ended before the setting was made.
            os._exit(1)

    return tie


def run(account: Account, argv: list[str], *, stdin: str = "", keep: tuple[int, ...] = ()) -> str:
    """Run a program and return its output. Raises `EmbeddedPostgresError` if it fails."""
    with spawn(account, argv, stdin=subprocess.PIPE, output=subprocess.PIPE, keep=keep) as process:
        try:
            said = process.communicate(stdin.encode(), timeout=_RUN_SECONDS)[0].decode(errors="replace")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise EmbeddedPostgresError(f"{Path(argv[0]).name} failed: {reason(said)}")
    return said


def reason(said: str) -> str:
    """The line of a log that contains the reason of a failure."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|error:", line)]
    return (telling or lines or ["no output"])[-1]


def tail(path: Path) -> str:
    """The last 8 KiB of a log; empty if there is no log."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return file.read().decode(errors="replace")
    return ""


def _pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def is_ready(cluster: Path, pid: int) -> bool:
    """Whether this server accepts connections, by the eighth line of `postmaster.pid` (as pg_ctl does)."""
    lines = _pid_file(cluster)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def postmaster_of(cluster: Path) -> int | None:
    """The process id in `postmaster.pid`, if that process runs in this cluster (Linux only)."""
    for line in _pid_file(cluster)[:1]:
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(f"/proc/{int(line)}/cwd") == str(cluster.resolve()):
                return int(line)
    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop PostgreSQL by a fast shutdown, then an immediate one (the next start recovers), then SIGKILL; reap it."""
    for sent, patience in ((signal.SIGINT, 60), (signal.SIGQUIT, 20), (signal.SIGKILL, None)):
        process.send_signal(sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
        _log.warning("PostgreSQL (process %d) does not end after %s", process.pid, sent.name)


def start_watchdog(account: Account, pid: int) -> subprocess.Popen[bytes]:
    """Start a shell that stops PostgreSQL when this process ends, on systems whose kernel cannot."""
    return spawn(account, ["/bin/sh", "-c", 'read -r _; kill -INT "$0"', str(pid)], stdin=subprocess.PIPE)


def end_watchdog(watchdog: subprocess.Popen[bytes]) -> None:
    """Stop the watchdog. Call this before PostgreSQL is stopped, or it may signal a reused process ID."""
    watchdog.kill()
    with watchdog:
        pass
