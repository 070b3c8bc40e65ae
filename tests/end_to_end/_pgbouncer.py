"""PgBouncer in front of a PostgreSQL that listens on a Unix socket."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from messenger.testing.servers import ServerProcess

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 50
max_client_conn = 200
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
{more}
"""


class PgBouncer(ServerProcess):
    """A pooler on a loopback port; clients need no password."""

    binary = package = "pgbouncer"
    scheme = "postgresql"
    # A request for TLS, and the answer that refuses it.
    question, answer = bytes.fromhex("00000008 04d2162f"), b"N"

    def __init__(self, folder: Path, database_url: str, mode: str, *more: str) -> None:
        super().__init__()
        self._folder = folder
        parts = urlsplit(database_url)
        options = parse_qs(parts.query)
        user = ""
        if os.geteuid() == 0:
            # Like PostgreSQL it refuses to run as root, and its user must have access to the socket.
            owner = Path(options["host"][0]).stat()
            user = f"user = {pwd.getpwuid(owner.st_uid).pw_name}"
            os.chown(folder, owner.st_uid, owner.st_gid)
        self._file = folder / "pgbouncer.ini"
        self._file.write_text(
            _CONFIGURATION.format(
                host=options["host"][0],
                port=options["port"][0],
                user=parts.username,
                password=unquote(parts.password or ""),
                listen_port=self.port,
                mode=mode,
                folder=folder,
                more="\n".join([user, *more]),
            )
        )
        self._name = f"messenger@127.0.0.1:{self.port}{parts.path}"

    @property
    def url(self) -> str:
        """The URL of the database behind it."""
        return f"{self.scheme}://{self._name}"

    def arguments(self) -> Sequence[str]:
        return [str(self._file)]
