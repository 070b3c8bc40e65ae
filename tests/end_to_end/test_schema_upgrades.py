"""`MESSENGER_AUTO_MIGRATE=off`: the server refuses to start on an older schema."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from messenger import migrations
from tests.support.server import command, refused, running

HEAD = migrations.head_revision()
REVISIONS = sorted(
    path.name.partition("_")[0] for path in (Path(__file__).parents[2] / "migrations/versions").glob("[0-9]*_*.py")
)
OFF = {"auto_migrate": "off", "allow_data_loss": "on", "port": 0}


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="messenger-schema-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _at(folder: Path, database_url: str, revision: str) -> None:
    done = command(folder, "db", "downgrade", revision, "--yes", database_url=database_url)
    assert done.returncode == 0, done.stderr


class TestOlderSchema:
    @pytest.mark.parametrize("revision", REVISIONS[:-1])
    def test_serve_refuses_older_schema_in_single_line(
        self, folder: Path, fresh_database_url: str, revision: str
    ) -> None:
        _at(folder, fresh_database_url, revision)
        code, said = refused(folder, database_url=fresh_database_url, **OFF)
        assert code == 2
        assert said.splitlines()[-1] == (
            f"messenger: MESSENGER_AUTO_MIGRATE is off and the schema is at {revision}, not at {HEAD}: "
            "run `messenger db upgrade` first"
        )
        assert "Traceback" not in said
        assert "listening" not in said

    def test_serve_refuses_empty_database_in_single_line(self, folder: Path, fresh_database_url: str) -> None:
        _at(folder, fresh_database_url, "base")
        code, said = refused(folder, database_url=fresh_database_url, **OFF)
        assert code == 2
        assert "MESSENGER_AUTO_MIGRATE is off and the database has no schema yet: run" in said.splitlines()[-1]

    def test_other_commands_refuse_older_schema(self, folder: Path, fresh_database_url: str) -> None:
        _at(folder, fresh_database_url, REVISIONS[0])
        done = command(folder, "users", "list", database_url=fresh_database_url, **OFF)
        assert done.returncode == 2
        assert done.stderr.startswith("messenger: MESSENGER_AUTO_MIGRATE is off and the schema is at")

    def test_server_starts_after_the_upgrade(self, folder: Path, fresh_database_url: str) -> None:
        _at(folder, fresh_database_url, REVISIONS[0])
        assert command(folder, "db", "upgrade", database_url=fresh_database_url).returncode == 0
        with running(folder, database_url=fresh_database_url, auto_migrate="off", allow_data_loss="on"):
            pass
