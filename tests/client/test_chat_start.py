"""The start of the chat: where tokens are stored, and the command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from messenger.chat.command import chat
from messenger.chat.vault import Vault
from messenger.client import Tokens


class TestVault:
    def test_two_windows_do_not_share_a_device(self, tmp_path: Path) -> None:
        first, second = Vault(tmp_path), Vault(tmp_path)
        first.keep("http://a", "ada", Tokens("a", "b"))
        assert second.open("http://a", "ada") is None
        second.keep("http://a", "ada", Tokens("c", "d"))
        first.close()
        assert second.open("http://a", "ada") == Tokens("a", "b")
        second.close()

    def test_accounts_are_found_by_server(self, tmp_path: Path) -> None:
        vault = Vault(tmp_path)
        vault.keep("http://a", "ada", Tokens("a", "b"))
        vault.keep("http://b", "bob", Tokens("a", "b"))
        assert vault.usernames("http://a") == ["ada"]
        vault.keep("http://a", "ada", None)
        assert vault.usernames("http://a") == []
        vault.close()

    def test_unsaved_vault_writes_no_file(self, tmp_path: Path) -> None:
        vault = Vault(tmp_path, save=False)
        vault.keep("http://a", "ada", Tokens("a", "b"))
        assert vault.open("http://a", "ada") is None
        assert list(tmp_path.iterdir()) == []


def opened(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The server that the command connects to."""
    urls: list[str] = []
    monkeypatch.setattr("messenger.chat.app.run", lambda url, **_: urls.append(url))
    done = CliRunner().invoke(chat, [*arguments])
    assert done.exit_code == 0, done.output
    return urls[0]


class TestServerUrl:
    @pytest.fixture(autouse=True)
    def empty_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("MESSENGER_URL", "MESSENGER_PORT"):
            monkeypatch.delenv(name, raising=False)

    def test_default_is_the_default_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert opened(monkeypatch) == "http://localhost:8000"

    @pytest.mark.parametrize(("port", "expected"), [("19000", 19000), (" 19000 ", 19000), ("", 8000), ("0", 8000)])
    def test_default_follows_the_port_of_the_server(
        self, monkeypatch: pytest.MonkeyPatch, port: str, expected: int
    ) -> None:
        monkeypatch.setenv("MESSENGER_PORT", port)
        assert opened(monkeypatch) == f"http://localhost:{expected}"

    def test_default_follows_the_port_in_the_env_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("MESSENGER_PORT=19001\n")
        assert opened(monkeypatch) == "http://localhost:19001"

    def test_url_comes_before_the_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_PORT", "19000")
        monkeypatch.setenv("MESSENGER_URL", "https://chat.example.com/")
        assert opened(monkeypatch) == "https://chat.example.com"
        assert opened(monkeypatch, "--url", "http://localhost:1") == "http://localhost:1"


class TestChatCommand:
    def test_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.startswith(("textual", "messenger.chat.app"))]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "textual", None)
        done = CliRunner().invoke(chat, [])
        assert done.exit_code == 1
        assert "the extra `chat` of this project" in done.output

    def test_invalid_server_url_is_refused(self) -> None:
        done = CliRunner().invoke(chat, ["--url", "localhost:8000"])
        assert done.exit_code == 2
        assert "http://" in done.output
