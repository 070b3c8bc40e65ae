"""The origins that may open a socket (RFC 6454 section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from messenger.errors import OriginNotAllowed
from messenger.web.origins import ensure_origin


def _scope(origin: str, host: str | None) -> Any:
    headers = [(b"origin", origin.encode())]
    return {"headers": headers if host is None else [*headers, (b"host", host.encode())]}


class TestOwnPages:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://chat.example", "chat.example"),
            ("http://chat.example", "chat.example"),
            ("HTTPS://Chat.Example", "chat.EXAMPLE"),
            ("https://chat.example:443", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example:80", "chat.example"),
            ("http://chat.example", "chat.example:80"),
            ("https://chat.example:8443", "chat.example:8443"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::1]:8000", "[::1]:8000"),
        ],
    )
    def test_default_port_may_be_written(self, origin: str, host: str) -> None:
        ensure_origin(_scope(origin, host), ())

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://evilchat.example", "chat.example"),
            ("https://evil.chat.example", "chat.example"),
            ("https://chat.example", "evilchat.example"),
            ("https://chat.example.evil.example", "chat.example"),
            ("https://chat.example:8443", "chat.example"),
            ("https://chat.example", "chat.example:8443"),
            ("https://chat.example:80", "chat.example"),
            ("http://chat.example:443", "chat.example"),
            ("https://chat.example:80", "chat.example:443"),
            ("http://chat.example", "chat.example:443"),
            ("ftp://chat.example", "chat.example"),
            ("chat.example", "chat.example"),
            ("https://chat.example/", "chat.example"),
            ("https://evil.example/chat.example", "chat.example"),
            ("https://x@chat.example", "chat.example"),
            ("https://chat.example:443:443", "chat.example"),
            ("https://chat.example:x", "chat.example"),
            ("https://", "chat.example"),
        ],
    )
    def test_other_scheme_host_or_port_is_refused(self, origin: str, host: str) -> None:
        with pytest.raises(OriginNotAllowed):
            ensure_origin(_scope(origin, host), ())

    def test_server_without_public_url_has_no_own_pages(self) -> None:
        for host in (None, "", "chat.example/", "https://chat.example"):
            with pytest.raises(OriginNotAllowed):
                ensure_origin(_scope("https://chat.example", host), ())


class TestListedPages:
    @pytest.mark.parametrize("origin", ["https://app.example", "https://app.example:443", "capacitor://localhost"])
    def test_listed_origin_is_accepted(self, origin: str) -> None:
        ensure_origin(_scope(origin, "chat.example"), ("https://app.example", "capacitor://localhost"))

    @pytest.mark.parametrize("origin", ["http://app.example", "https://app.example:80", "capacitor://localhost:80"])
    def test_unlisted_origin_is_refused(self, origin: str) -> None:
        with pytest.raises(OriginNotAllowed):
            ensure_origin(_scope(origin, "chat.example"), ("https://app.example", "capacitor://localhost"))
