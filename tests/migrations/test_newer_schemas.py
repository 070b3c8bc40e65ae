"""A schema that is newer than the release: run on it if it is compatible, otherwise stop with a reason."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from messenger import migrations
from messenger.config import SettingsError
from messenger.repositories.health import SchemaRow
from tests.support.server import environment, refused, running

HEAD = migrations.head_revision()
VERSIONS = sorted((Path(__file__).parents[2] / "migrations/versions").glob("[0-9]*_*.py"))
LATER = """
revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None
oldest_release = "9999"

def upgrade() -> None:
    pass

def downgrade() -> None:
    pass
"""


async def _schema_row(url: str) -> SchemaRow | None:
    connection = await asyncpg.connect(url)
    try:
        return await migrations.schema_of(connection)
    finally:
        await connection.close()


async def _newer(url: str, comment: str) -> None:
    """The schema as a later release would leave it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await connection.execute(f"COMMENT ON TABLE alembic_version IS {comment}")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("revision", "oldest", "serves"),
    [
        (HEAD, None, True),
        ("9999", HEAD, True),
        ("9999", "0001", True),
        ("9999", "9998", False),
        ("9999", None, False),
        ("0000", "0000", False),
    ],
)
def test_schema_states_which_release_can_run(revision: str, oldest: str | None, serves: bool) -> None:
    assert SchemaRow(revision, oldest).serves(HEAD) is serves


def test_newer_schema_is_not_migrated() -> None:
    migrations.bring_up("postgresql://nobody@127.0.0.1:1/none", SchemaRow("9999", HEAD), may_upgrade=True)
    with pytest.raises(SettingsError, match="at 9999 and needs a newer release"):
        migrations.bring_up("postgresql://nobody@127.0.0.1:1/none", SchemaRow("9999", None), may_upgrade=True)


async def test_incompatible_newer_schema_stops_start(fresh_database_url: str, tmp_path: Path) -> None:
    await _newer(fresh_database_url, "'Releases from migration 9998 on can run on this schema.'")
    code, said = refused(tmp_path, database_url=fresh_database_url, allow_data_loss="on")
    assert code == 2
    assert "MESSENGER_DATABASE_URL: the schema is at 9999 and needs releases from migration 9998 on" in said
    assert "Traceback" not in said


async def test_compatible_newer_schema_is_served(fresh_database_url: str, tmp_path: Path) -> None:
    await _newer(fresh_database_url, f"'Releases from migration {HEAD} on can run on this schema.'")
    with running(tmp_path, database_url=fresh_database_url, allow_data_loss="on") as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/health/ready")).json()["checks"]["migrations"] == "ok"
        assert "the schema is at 9999, newer than this release" in server.log.read_text()
    listing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "messenger", "users", "list"),
        env=environment(tmp_path, database_url=fresh_database_url),
        cwd=tmp_path,
    )
    assert await listing.wait() == 0


@pytest.fixture
def with_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrations, and an additional destructive one."""
    folder = tmp_path / "migrations"
    shutil.copytree(VERSIONS[0].parents[1], folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions/9999_later.py").write_text(LATER.format(head=HEAD))
    monkeypatch.setattr(migrations, "_folder", lambda: folder)


@pytest.mark.usefixtures("with_a_later_one")
async def test_migrations_record_oldest_compatible_release(fresh_database_url: str) -> None:
    async def after(*words: str) -> SchemaRow | None:
        change = migrations.upgrade if words[0] == "up" else migrations.downgrade
        await asyncio.to_thread(change, fresh_database_url, words[1])
        return await _schema_row(fresh_database_url)

    assert await _schema_row(fresh_database_url) == SchemaRow(HEAD, "0001")
    assert await after("up", "head") == SchemaRow("9999", "9999")
    assert await after("down", "-1") == SchemaRow(HEAD, "0001")
    assert await after("down", "base") is None


def test_destructive_migration_declares_oldest_release() -> None:
    silent = [path.name for path in VERSIONS if _takes_away(path.read_text()) and not _declares(path.read_text())]
    assert silent == [], "which releases still use what these take away? Say so by oldest_release"


@pytest.mark.parametrize(
    ("statement", "takes_away"),
    [
        ("op.drop_column('users', 'name')", True),
        ("op.drop_table('users')", True),
        ("op.execute('ALTER TABLE users DROP COLUMN name')", True),
        ("op.alter_column('users', 'name', nullable=False)", True),
        ("op.alter_column('users', 'name', new_column_name='called')", True),
        ("op.rename_table('users', 'people')", True),
        ("op.add_column('users', column)", False),
        ("op.execute('ALTER TABLE contacts DROP CONSTRAINT pk_contacts, ADD CONSTRAINT pk_contacts')", False),
    ],
)
def test_destructive_migration_is_detected(statement: str, takes_away: bool) -> None:
    text = f"def upgrade() -> None:\n    {statement}\n\n\ndef downgrade() -> None:\n    op.drop_table('users')\n"
    assert _takes_away(text) is takes_away


_CALLS = frozenset({"drop_column", "drop_table", "alter_column", "rename_table"})
_WORDS = re.compile(r"\b(DROP (COLUMN|TABLE|VIEW)|RENAME|SET NOT NULL|ALTER COLUMN \w+ TYPE)\b", re.IGNORECASE)


def _takes_away(text: str) -> bool:
    """Whether a migration's upgrade changes what an older release may read or write."""
    for part in ast.parse(text).body:
        if isinstance(part, ast.FunctionDef) and part.name == "downgrade":
            continue
        for node in ast.walk(part):
            if isinstance(node, ast.Attribute) and node.attr in _CALLS:
                return True
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORDS.search(node.value):
                return True
    return False


def _declares(text: str) -> bool:
    return re.search(r"^oldest_release = \"\d{4}\"$", text, re.MULTILINE) is not None
