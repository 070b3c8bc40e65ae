"""The command line, as used by operators and scripts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from messenger.cli import main
from messenger.testing.factories import PASSWORD

Run = Callable[..., Result]


@pytest.fixture
def run(fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a database of this test's own: `run("users", "list")`."""
    for name in list(os.environ):
        if name.startswith("MESSENGER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESSENGER_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("MESSENGER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MESSENGER_PASSWORD_TIME_COST", "1")
    monkeypatch.setenv("MESSENGER_PASSWORD_MEMORY_COST", "32")

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, list(words), input=stdin)

    return run


def _create(run: Run, username: str = "ada") -> dict[str, object]:
    done = run("users", "create", username, "--password-stdin", "--json", stdin=PASSWORD + "\n")
    assert done.exit_code == 0, done.output
    row: dict[str, object] = json.loads(done.stdout)
    return row


class TestUserCommands:
    def test_create_prints_json(self, run: Run) -> None:
        row = _create(run)
        assert row["username"] == "ada"
        assert len(str(row["id"])) >= 8

    def test_create_prints_user_number(self, run: Run) -> None:
        done = run("users", "create", "ada", "--password-stdin", stdin=PASSWORD + "\n")
        assert done.stdout.startswith("ada has id ")

    def test_taken_username_fails_in_single_line(self, run: Run) -> None:
        _create(run)
        done = run("users", "create", "ADA", "--password-stdin", stdin=PASSWORD + "\n")
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1

    def test_weak_password_fails_with_reason(self, run: Run) -> None:
        done = run("users", "create", "ada", "--password-stdin", stdin="short\n")
        assert done.exit_code == 1
        assert "15 characters" in done.stderr

    def test_invalid_username_is_usage_error(self, run: Run) -> None:
        assert run("users", "create", "12345678", "--password-stdin", stdin=PASSWORD + "\n").exit_code == 2

    def test_list_prints_json(self, run: Run) -> None:
        ids = sorted(_create(run, name)["id"] for name in ("ada", "bob"))  # type: ignore[type-var]
        assert [row["id"] for row in json.loads(run("users", "list", "--json").stdout)] == ids

    def test_list_has_a_header_line(self, run: Run) -> None:
        row = _create(run)
        lines = [line.split("\t") for line in run("users", "list").stdout.splitlines()]
        assert lines[0] == ["id", "username", "state", "last activity", "name"]
        assert lines[1][:3] == [str(row["id"]), "ada", "active"]
        assert len(lines[1]) == len(lines[0])

    def test_list_follows_after_and_limit(self, run: Run) -> None:
        first, second = sorted(int(str(_create(run, name)["id"])) for name in ("ada", "bob"))
        rows = json.loads(run("users", "list", "--json", "--after", str(first), "--limit", "1").stdout)
        assert [row["id"] for row in rows] == [second]

    def test_disable_can_be_undone(self, run: Run) -> None:
        _create(run)
        assert json.loads(run("users", "disable", "ada", "--json").stdout)["disabled_at"] is not None
        assert json.loads(run("users", "disable", "ada", "--undo", "--json").stdout)["disabled_at"] is None

    def test_unknown_login_fails_command(self, run: Run) -> None:
        done = run("users", "disable", "nobody")
        assert done.exit_code == 1
        assert "nobody" in done.stderr

    def test_password_command_sets_password(self, run: Run) -> None:
        _create(run)
        done = run("users", "password", "ada", "--password-stdin", stdin="marble-otter-winter-58\n")
        assert done.exit_code == 0, done.output

    def test_password_command_prints_json(self, run: Run) -> None:
        _create(run)
        done = run("users", "password", "ada", "--password-stdin", "--json", stdin="marble-otter-winter-58\n")
        assert json.loads(done.stdout)["username"] == "ada"


class TestDatabaseCommands:
    def test_check_accepts_migrated_schema(self, run: Run) -> None:
        assert run("db", "check").exit_code == 0

    def test_check_reports_schema_difference(self, run: Run) -> None:
        assert run("db", "downgrade", "base", "--yes").exit_code == 0
        assert run("db", "check").exit_code == 1

    def test_downgrade_asks_for_confirmation(self, run: Run) -> None:
        assert run("db", "downgrade", "base", stdin="n\n").exit_code == 1

    def test_upgrade_follows_downgrade(self, run: Run) -> None:
        run("db", "downgrade", "base", "--yes")
        assert run("db", "upgrade").exit_code == 0
        assert run("db", "check").exit_code == 0

    def test_new_epoch_expires_cursors(self, run: Run) -> None:
        epochs = {run("db", "new-epoch").stdout for _ in range(2)}
        assert len(epochs) == 2
        assert all(text.startswith("epoch ") for text in epochs)

    def test_unknown_revision_fails_in_single_line(self, run: Run) -> None:
        done = run("db", "upgrade", "nowhere")
        assert done.exit_code == 1
        assert "Traceback" not in done.output


class TestDoctorCommand:
    def test_doctor_names_settings_risking_message_loss(self, run: Run) -> None:
        findings = {row["part"]: row for row in json.loads(run("doctor", "--json").stdout)}
        # Only the durability of the tests' PostgreSQL is reported.
        assert [part for part, row in findings.items() if not row["ok"]] == ["durability"]

    def test_doctor_explains_missing_schema(self, run: Run) -> None:
        run("db", "downgrade", "base", "--yes")
        done = run("doctor")
        assert done.exit_code == 1
        assert "messenger db upgrade" in done.stdout

    def test_doctor_names_unreachable_relay(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_TURN_URLS", "turn:127.0.0.1:9?transport=tcp")
        monkeypatch.setenv("MESSENGER_TURN_SECRET", "secret")
        findings = json.loads(run("doctor", "--json").stdout)
        assert ("turn", False) in [(row["part"], row["ok"]) for row in findings]

    @pytest.mark.parametrize(("setting", "value"), [("RATE_LIMITS", "off"), ("TRUSTED_PROXIES", "10.0.0.1,*")])
    def test_doctor_names_insecure_settings(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
    ) -> None:
        monkeypatch.setenv(f"MESSENGER_{setting}", value)
        findings = json.loads(run("doctor", "--json").stdout)
        assert [row["finding"].split()[0] for row in findings if row["part"] == "limits"] == [f"MESSENGER_{setting}"]

    def test_doctor_names_unreachable_database(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        findings = json.loads(run("doctor", "--json").stdout)
        assert ("database", False) in [(row["part"], row["ok"]) for row in findings]

    def test_doctor_names_missing_store_credentials(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        # Nothing listens there: the finding must not depend on the machine's network.
        monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("MESSENGER_STORAGE_URL", "s3://bucket/prefix")
        findings = {row["part"]: row for row in json.loads(run("doctor", "--json").stdout)}
        assert not findings["storage"]["ok"]
        assert findings["storage"]["advice"].startswith("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set")

    def test_doctor_names_full_database_version(self, run: Run) -> None:
        findings = {row["part"]: row for row in json.loads(run("doctor", "--json").stdout)}
        assert re.fullmatch(r"PostgreSQL \d+\.\d+", findings["database"]["finding"])
        assert not findings["database"]["finding"].endswith(".0")


class TestOpenapiCommand:
    def test_openapi_command_prints_document(self, run: Run) -> None:
        assert json.loads(run("openapi").stdout)["openapi"].startswith("3.1")

    def test_openapi_command_writes_file(self, run: Run, tmp_path: Path) -> None:
        run("openapi", "--output", str(tmp_path / "openapi.json"))
        assert json.loads((tmp_path / "openapi.json").read_text())["info"]["title"] == "Messenger"


class TestInvalidSettings:
    def test_invalid_setting_is_single_line_and_exit_2(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_PORT", "eighty")
        done = run("users", "list")
        assert done.exit_code == 2
        assert done.stderr.startswith("messenger: MESSENGER_PORT 'eighty' is wrong")

    def test_invalid_settings_are_reported_together_with_choices(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MESSENGER_PORT", "eighty")
        monkeypatch.setenv("MESSENGER_RATE_LIMITS", "yes")
        monkeypatch.setenv("MESSENGER_SECRET", "hush")
        done = run("users", "list")
        assert done.exit_code == 2
        lines = done.stderr.splitlines()
        assert [line.split()[1] for line in lines] == ["MESSENGER_PORT", "MESSENGER_RATE_LIMITS", "MESSENGER_SECRET"]
        assert lines[1].endswith("'yes' is wrong: it must be on or off")
        assert "hush" not in done.stderr

    async def test_unreachable_database_is_single_line(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        import asyncio

        done = await asyncio.to_thread(run, "db", "check")
        assert done.exit_code == 1
        assert "Traceback" not in done.output
