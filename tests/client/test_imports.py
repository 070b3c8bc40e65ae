"""The client imports nothing of the server."""

from __future__ import annotations

import subprocess
import sys

LEAVES = ("messenger.client", "messenger.schemas", "messenger.errors")


def test_client_imports_no_server_modules() -> None:
    listing = "import messenger.client, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert not {"litestar", "sqlalchemy", "asyncpg", "uvicorn"} & set(names)
    ours = {name for name in names if name.startswith("messenger.")}
    assert {name for name in ours if not name.startswith(LEAVES)} == set()
