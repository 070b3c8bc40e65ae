"""The URLs of a bus, and what their errors reveal."""

from __future__ import annotations

import sys
import traceback

import pytest

from messenger.bus import transport_common
from messenger.bus.bus import transport_of
from messenger.bus.nats import NatsTransport
from messenger.bus.postgres import PostgresTransport
from messenger.bus.redis import RedisTransport
from messenger.testing.servers import REQUIRED, require


class TestBusUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "nats://tester:qq7:zz9@host:port",
            "nats://tester:qq7zz9@",
            "nats://tester:qq7zz9@host:0",
            "nats://a:4222,http://tester:qq7zz9@b",
            "redis://tester:qq7zz9@host:port",
            "redis://tester:qq7/zz9@host:6379",
            "redis://tester:qq7zz9@host:6379?db=qq7",
            "redis://tester:qq7zz9@host:6379?qq7=zz9",
            "amqp://tester:qq7zz9@host",
            "",
        ],
    )
    def test_invalid_url_is_refused_without_secret(self, url: str) -> None:
        with pytest.raises(ValueError, match="it must") as raised:
            transport_of(url, database_url="", namespace="tests")
        text = "".join(traceback.format_exception(raised.value))
        assert "qq7" not in text
        assert "zz9" not in text

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("postgres:", PostgresTransport),
            ("nats://host", NatsTransport),
            ("nats://user:%2F@a:4222, nats://b", NatsTransport),
            ("tls://token@host:4222", NatsTransport),
            ("redis://host", RedisTransport),
            ("rediss://user:%2F@host:6380/3", RedisTransport),
            ("unix:///run/redis.sock?db=1", RedisTransport),
        ],
    )
    def test_valid_url_selects_transport(self, url: str, kind: type) -> None:
        assert isinstance(transport_of(url, database_url="postgresql:///x", namespace="tests"), kind)

    def test_local_url_has_no_transport(self) -> None:
        assert transport_of("local:", database_url="", namespace="tests") is None

    @pytest.mark.parametrize(("url", "module"), [("nats://host", "nats.aio.client"), ("redis://host", "redis.asyncio")])
    def test_missing_library_is_named(self, url: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ValueError, match=f"requires the extra `{module.partition('.')[0]}`"):
            transport_of(url, database_url="", namespace="tests")

    def test_secrets_are_masked_encoded_and_decoded(self) -> None:
        found = transport_common.secrets_of(
            "nats://me:p%2Fw@a:1,nats://t%3Ak@b,postgresql://x@/d?host=/run&password=q%20p"
        )
        assert set(found) == {"p%2Fw", "p/w", "t%3Ak", "t:k", "x", "q%20p", "q p"}

    def test_translated_error_masks_secrets(self) -> None:
        url = "redis://me:p%2Fw@host"
        with pytest.raises(ConnectionError) as raised, transport_common.translated(url, LookupError):
            raise LookupError(f"{url} does not take p/w of me")
        assert str(raised.value) == "LookupError: redis://me:***@host does not take *** of me"
        assert "p/w" not in "".join(traceback.format_exception(raised.value)).replace("take p/w of me", "")


class TestRequiredServers:
    def test_missing_binary_skips_and_names_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(REQUIRED, raising=False)
        with pytest.raises(pytest.skip.Exception, match=r"NOT TESTED: .*apt-get install no-such-package"):
            require("no-such-server", package="no-such-package")

    def test_missing_binary_fails_when_required(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(REQUIRED, "1")
        with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-package"):
            require("no-such-server", package="no-such-package")
