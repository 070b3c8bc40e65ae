"""Settings: read in one place, refused in one line that names them, never logged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from messenger.config import Settings, SettingsError, load_secret, unknown_settings


def _read(**environ: str) -> Settings:
    return Settings.from_env({f"MESSENGER_{name.upper()}": value for name, value in environ.items()}, dotenv=None)


def test_empty_environment_gives_default_settings() -> None:
    assert _read() == Settings()


def test_empty_variable_gives_default_value() -> None:
    assert _read(port="  ").port == 8000


def test_list_setting_is_comma_separated() -> None:
    assert _read(stun_urls="stun:a:3478, stun:b").stun_urls == ("stun:a:3478", "stun:b")


def test_settings_are_read_from_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MESSENGER_PORT=9000\n")
    assert Settings.from_env({}, dotenv=tmp_path / ".env").port == 9000


def test_environment_overrides_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MESSENGER_PORT=9000\n")
    assert Settings.from_env({"MESSENGER_PORT": "9001"}, dotenv=tmp_path / ".env").port == 9001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "8000.5"),
        ("workers", "many"),
        ("environment", "staging"),
        ("pool_timeout", "0"),
        ("activity_resolution", "nan"),
        ("activity_resolution", "inf"),
        ("database_url", "postgresql://host"),
        ("database_url", "postgresql://host:port/name"),
        ("access_token_ttl", "0"),
        ("password_min_length", "7"),
        ("log_level", "loud"),
    ],
)
def test_invalid_setting_is_named_in_error(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"MESSENGER_{name.upper()}") as refused:
        _read(**{name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["secret", "turn_secret", "metrics_token"])
def test_secret_settings_are_not_in_repr(name: str) -> None:
    given = {name: "canary" * 8}
    assert "canary" not in repr(_read(**given))


def test_database_password_is_not_in_repr() -> None:
    assert "canary" not in repr(_read(database_url="postgresql://me:canary@host/name"))


def test_misspelled_setting_is_reported() -> None:
    assert unknown_settings({"MESSENGER_PRT": "1", "MESSENGER_PORT": "1"}) == ["MESSENGER_PRT"]


def test_secret_file_is_created_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    assert load_secret(settings) == load_secret(settings)


def test_secret_file_is_readable_only_by_owner(tmp_path: Path) -> None:
    load_secret(Settings(data_dir=tmp_path))
    assert os.stat(tmp_path / "secret").st_mode & 0o077 == 0


def test_truncated_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(SettingsError, match="does not contain a secret"):
        load_secret(Settings(data_dir=tmp_path))
