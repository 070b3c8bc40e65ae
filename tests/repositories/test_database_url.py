"""PostgreSQL URLs, including those with several hosts."""

from __future__ import annotations

import pytest

from messenger.database_url import Host, hosts_of, wants_writable, without_hosts


class TestHosts:
    @pytest.mark.parametrize(
        ("url", "hosts"),
        [
            ("postgresql://u:p%40ss@db:6000/name", [("db", 6000)]),
            ("postgres://db/name", [("db", 5432)]),
            ("postgresql://u@/name?host=/run/x&port=5433", [("/run/x", 5433)]),
            ("postgresql://u@a:1,b:2/name", [("a", 1), ("b", 2)]),
            ("postgresql://u@a,b:2,[::1]:3/name?target_session_attrs=read-write", [("a", 5432), ("b", 2), ("::1", 3)]),
            ("postgresql://u@/name?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
            ("postgresql://u@/name?host=a,b&port=7", [("a", 7), ("b", 7)]),
            ("postgresql:///name", []),
        ],
    )
    def test_hosts_are_read_in_order(self, url: str, hosts: list[tuple[str, int]]) -> None:
        assert hosts_of(url) == [Host(*host) for host in hosts]

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://db/name",
            "postgresql://db",
            "postgresql://db:port/name",
            "postgresql://db:0/name",
            "postgresql://db:65536/name",
            "postgresql://a,,b/name",
            "postgresql://[::1/name",
            "postgresql://[::1]x/name",
            "postgresql://u@/name?host=a,b,c&port=1,2",
            "postgresql://a,b/name?target_session_attrs=writable",
        ],
    )
    def test_invalid_hosts_are_refused(self, url: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the reason is for people
            hosts_of(url)


class TestRest:
    @pytest.mark.parametrize(
        ("url", "rest"),
        [
            ("postgresql://u:p%40ss@a,[::1]:3/name?ssl=on", "postgresql://u:p%40ss@/name?ssl=on"),
            ("postgresql://a,b/name", "postgresql:///name"),
            ("postgresql:///name?host=/run/x", "postgresql:///name?host=/run/x"),
        ],
    )
    def test_url_without_hosts_keeps_all_else(self, url: str, rest: str) -> None:
        assert without_hosts(url) == rest


class TestWritable:
    @pytest.mark.parametrize(
        ("url", "wanted"),
        [
            ("postgresql://a/name", False),
            ("postgresql://a,[::1]/name", True),
            ("postgresql://a,b/name", True),
            ("postgresql://a,b/name?target_session_attrs=any", False),
        ],
    )
    def test_several_hosts_require_writable_server(self, url: str, wanted: bool) -> None:
        assert wants_writable(url) is wanted
