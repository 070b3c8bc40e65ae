"""`MESSENGER_PUBLIC_URL`: valid values, and when `Strict-Transport-Security` is sent."""

from __future__ import annotations

import pytest

from messenger.config import Settings, SettingsError


def _settings(**values: str) -> Settings:
    return Settings.from_env({f"MESSENGER_{name.upper()}": value for name, value in values.items()}, dotenv=None)


class TestPublicUrl:
    @pytest.mark.parametrize(
        ("url", "base", "origin"),
        [
            ("https://chat.example.com", "https://chat.example.com", "https://chat.example.com"),
            ("https://Host.example:443/chat/", "https://Host.example:443/chat", "https://host.example"),
            ("http://host:8080/a/b", "http://host:8080/a/b", "http://host:8080"),
            ("https://[2001:db8::1]/chat", "https://[2001:db8::1]/chat", "https://[2001:db8::1]"),
            ("", "", ""),
        ],
    )
    def test_public_url_gives_base_and_origin(self, url: str, base: str, origin: str) -> None:
        settings = _settings(public_url=url)
        assert (settings.public_base, settings.public_origin) == (base, origin)

    @pytest.mark.parametrize(
        "url",
        ["chat.example.com", "ftp://host/chat", "https://", "https://host/chat?x=1", "https://u:p@host", "https://h:x"],
    )
    def test_invalid_public_url_is_refused(self, url: str) -> None:
        with pytest.raises(SettingsError, match="MESSENGER_PUBLIC_URL is wrong"):
            _settings(public_url=url)


class TestStrictTransport:
    @pytest.mark.parametrize(
        ("values", "sends"),
        [
            ({}, False),
            ({"environment": "production"}, True),
            ({"public_url": "https://chat.example.com"}, True),
            ({"public_url": "https://localhost:8443", "environment": "production"}, False),
            ({"public_url": "https://app.localhost/chat", "environment": "production"}, False),
            ({"public_url": "https://192.0.2.1", "environment": "production"}, False),
            ({"public_url": "https://[::1]", "environment": "production"}, False),
            ({"public_url": "http://chat.example.com", "environment": "production"}, False),
        ],
    )
    def test_hsts_is_sent_only_for_https_domain_names(self, values: dict[str, str], sends: bool) -> None:
        assert _settings(**values).sends_hsts is sends
