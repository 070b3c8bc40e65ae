"""The embedded PostgreSQL: created, started, and stopped together with this process.

Its folder contains `cluster/` (PostgreSQL's data), `log/` (one file per weekday), `run/` (the socket), `password`,
`pg_hba.conf`, `startup.log` and two locks. This process holds `owner.lock`. PostgreSQL inherits `server.lock`, so that
it is held until all processes of an earlier server have ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from messenger.embedded import location, process
from messenger.embedded import machine as host
from messenger.embedded.machine import Binaries
from messenger.embedded.process import Account, EmbeddedPostgresError

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

_log = logging.getLogger(__name__)

START_SECONDS = 300.0  # Includes crash recovery, which max_wal_size keeps much shorter.
LEFT_OVER_SECONDS = 60.0

_PORT = 5432
_SOCKET_DIR_BYTES = 107 - len(f"/.s.PGSQL.{_PORT}")
_UTF8 = "C.UTF-8" if process.LINUX else "en_US.UTF-8"

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # If the host has huge pages but does not allow any, PostgreSQL would die with a bus error.
    "huge_pages": "off",
    # Containers have 64 MB of /dev/shm, too little for some parallel queries; System V memory is not limited by it.
    "dynamic_shared_memory_type": "sysv" if process.LINUX else "posix",
    "logging_collector": "on",
    "log_filename": "postgresql-%u.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_checkpoints": "off",
    # The client logs failed statements. PostgreSQL's DETAIL would write users' data to its log.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
}
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class EmbeddedPostgres:
    """A PostgreSQL server in a folder; it ends with this process, even after `kill -9`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        self._data_dir = self._home = Path(data_dir).resolve()
        self._bin_dir = bin_dir
        self.settings: Mapping[str, str] = (
            _SETTINGS | dict.fromkeys(_DURABLE, "on" if durable else "off") | dict(settings or {})
        )
        self._account = Account()
        self._server: subprocess.Popen[bytes] | None = None
        self._server_lock = -1
        self._url = ""
        self._undo = contextlib.ExitStack()

    @property
    def log_file(self) -> Path:
        """The current log file (by UTC date)."""
        return self._home / "log" / f"postgresql-{datetime.now(UTC).isoweekday()}.log"

    @property
    def copy_mark(self) -> str:
        """A value that differs in every copy of the cluster: the inode change time of a file that is written once."""
        return str((self._home / "cluster" / "PG_VERSION").stat().st_ctime_ns)

    @property
    def is_running(self) -> bool:
        """Whether the server is running."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> str:
        """Start the server unless it is running, wait until it is ready, and return its URL.

        Call this from the main thread: the kernel stops PostgreSQL when the thread that started it ends. Raises
        `EmbeddedPostgresError`.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("EmbeddedPostgres.start() must be called from the main thread")
        if self.is_running:
            return self._url
        self.stop()
        try:
            self._url = self._start()
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            raise EmbeddedPostgresError(f"PostgreSQL cannot be started for {self._data_dir}: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self._url

    def stop(self) -> None:
        """Stop the server by a fast shutdown, which ends sessions and writes all data. Does nothing if stopped."""
        self._undo.close()
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> str:
        self._account = location.account_for(self._data_dir)
        self._home = location.home_for(self._data_dir, self._account)
        self._take_locks()
        binaries = host.find_binaries(self._bin_dir, self._account)
        password = self._set_up(binaries)
        location.record_home(self._data_dir, self._home)
        folder = self._socket_folder()
        self._launch(binaries, folder)
        return f"postgresql://messenger:{password}@/messenger?host={quote(str(folder))}&port={_PORT}"

    def _take_locks(self) -> None:
        owner = self._open_lock("owner.lock")
        if not host.locked(owner):
            pid = os.read(owner, 20).decode() or "unknown"
            raise EmbeddedPostgresError(f"The data folder {self._data_dir} is in use by another server (process {pid})")
        os.truncate(owner, 0)
        os.write(owner, str(os.getpid()).encode())
        self._server_lock = self._open_lock("server.lock")
        self._outlive_left_over()

    def _outlive_left_over(self) -> None:
        """Stop a server whose owner has died, wait for its end, and remove its leftover files."""
        cluster = self._home / "cluster"
        deadline = time.monotonic() + LEFT_OVER_SECONDS
        left_over = process.postmaster_of(cluster)
        asked = False
        while not host.locked(self._server_lock):
            if left_over and not asked:
                _log.info("Waiting for the PostgreSQL of an earlier server to end (process %d)", left_over)
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left_over, signal.SIGINT)
            if time.monotonic() > deadline:
                who = f"process {left_over}" if left_over else "processes"
                raise EmbeddedPostgresError(f"An earlier PostgreSQL ({who}) in {self._home} does not end")
            time.sleep(0.005)
        if foreign := process.postmaster_of(cluster):
            raise EmbeddedPostgresError(f"The data folder {self._home} is in use by a PostgreSQL (process {foreign})")
        # No server runs here, so the file is stale. Its process id may now belong to another process (in a container
        # it usually does) or to a zombie, and then PostgreSQL would refuse to start.
        if process.LINUX:
            (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _open_lock(self, name: str) -> int:
        lock = host.open_private(self._home / name, os.O_RDWR)
        self._undo.callback(os.close, lock)
        return lock

    def _set_up(self, binaries: Binaries) -> str:
        """Create the cluster if it does not exist, and return the password of the role `messenger`."""
        cluster, kept = self._home / "cluster", self._home / "password"
        made = cluster.exists()
        if made and (major := (cluster / "PG_VERSION").read_text().strip()) != str(binaries.major):
            raise EmbeddedPostgresError(
                f"The cluster {cluster} was created by PostgreSQL {major}, but the binaries in {binaries.folder}"
                f" are PostgreSQL {binaries.major}: use binaries of {major}, or dump and restore"
            )
        password = kept.read_text() if kept.exists() else ""
        if not password:
            password = secrets.token_urlsafe(32)
            if made:
                self._single_user(binaries, cluster, f"ALTER ROLE messenger PASSWORD '{password}'\n")
            host.write_private(kept, password)
        if not made:
            self._make_cluster(binaries, password)
        return password

    def _make_cluster(self, binaries: Binaries, password: str) -> None:
        """Create the cluster in a temporary folder and rename it when complete: an interruption leaves none behind."""
        cluster = self._home / "cluster"
        partial = self._home / "cluster.new"
        if partial.exists():
            shutil.rmtree(partial)
        host.own_folder(partial, self._account)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--lc-ctype={_UTF8}"]
        if binaries.major < 17:
            locale = [f"--locale={_UTF8}"]
        argv = [binaries.path("initdb"), "-D", str(partial), "-U", "postgres", "-E", "UTF8", "-k", *locale]
        argv += ["--auth=reject", "--no-instructions"]
        argv += ["--no-sync"] if self.settings["fsync"] == "off" else []
        process.run(self._account, argv, keep=(self._server_lock,))
        role = f"CREATE ROLE messenger LOGIN CREATEDB PASSWORD '{password}'\n"
        self._single_user(binaries, partial, role + "CREATE DATABASE messenger OWNER messenger\n")
        partial.rename(cluster)
        folder = os.open(self._home, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)

    def _single_user(self, binaries: Binaries, cluster: Path, sql: str) -> None:
        """Run statements, one per line, in single-user mode: without a password and without other connections."""
        fsync = f"fsync={self.settings['fsync']}"
        argv = [binaries.path("postgres"), "--single", "-D", str(cluster), "-c", "exit_on_error=on", "-c", fsync]
        process.run(self._account, [*argv, "postgres"], stdin=sql, keep=(self._server_lock,))

    def _socket_folder(self) -> Path:
        """`run/` in the folder, or another one if its path is too long or has unusual characters for a socket path."""
        folder = self._home / "run"
        inside = len(os.fsencode(folder)) <= _SOCKET_DIR_BYTES and re.fullmatch(r"[\w./@+-]+", str(folder), re.ASCII)
        if not inside:
            base = Path("/run") if os.geteuid() == 0 and os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
            folder = base / f"messenger-{os.geteuid()}-{host.digest(str(self._home))}"
        host.own_folder(folder, self._account)
        if not inside:
            self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        # The lock file of a socket contains a process id too, which may be stale like that of postmaster.pid.
        for left_over in folder.glob(".s.PGSQL.*"):
            left_over.unlink(missing_ok=True)
        return folder

    def _launch(self, binaries: Binaries, socket_folder: Path) -> None:
        host.own_folder(self._home / "log", self._account)
        hba = self._home / "pg_hba.conf"
        host.write_private(hba, "local all messenger scram-sha-256\n", readable_by=self._account)
        settings = dict(self.settings) | {
            "unix_socket_directories": str(socket_folder),
            "port": str(_PORT),
            "hba_file": str(hba),
            "log_directory": str(self._home / "log"),
        }
        argv = [binaries.path("postgres"), "-D", str(self._home / "cluster")]
        argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        output = host.open_private(self._home / "startup.log", os.O_WRONLY | os.O_TRUNC)
        try:
            keep = (self._server_lock,)
            server = process.spawn(self._account, argv, output=output, keep=keep, parting=signal.SIGINT)
        finally:
            os.close(output)
        self._server = server
        self._undo.callback(process.end, server)
        if not process.LINUX:
            self._undo.callback(process.end_watchdog, process.start_watchdog(self._account, server.pid))
        self._await_ready(server)

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not process.is_ready(self._home / "cluster", server.pid):
            if server.poll() is not None:
                said = [process.tail(path) for path in (self.log_file, self._home / "startup.log")]
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start: {process.reason(''.join(said))} (see {self.log_file})"
                )
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL was not ready in {START_SECONDS:.0f} s (see {self.log_file})")
            time.sleep(0.002)
