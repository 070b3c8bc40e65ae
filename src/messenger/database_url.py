"""PostgreSQL URLs, which may have several hosts, one of which accepts writes at a time."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

_PORT = 5432
_SESSION_ATTRIBUTES = frozenset({"any", "primary", "standby", "read-write", "read-only", "prefer-standby"})

_AUTHORITY = re.compile(r"([^:/?#]*://(?:[^/?#]*@)?)([^/?#]*)")


class Host(NamedTuple):
    """A host name, an address, or the folder of a Unix socket."""

    name: str
    port: int


def hosts_of(url: str) -> list[Host]:
    """The hosts in the order of the URL; empty if it has none. Raises `ValueError` for an invalid PostgreSQL URL."""
    named, rest = _split(url)
    parts = urlsplit(rest)
    options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("the scheme is not postgresql")
    if not parts.path.strip("/") and "dbname" not in options and "database" not in options:
        raise ValueError("it has no database name")
    attributes = options.get("target_session_attrs", ["any"])[-1]
    if attributes not in _SESSION_ATTRIBUTES:
        raise ValueError(f"target_session_attrs must be one of {', '.join(sorted(_SESSION_ATTRIBUTES))}")
    named = named or options.get("host", [""])[-1]
    hosts = [_host(each) for each in named.split(",")] if named else []
    ports = [_port(each) for each in options.get("port", [""])[-1].split(",") if each]
    if len(ports) > 1 and len(ports) != len(hosts):
        raise ValueError("the number of ports differs from the number of hosts")
    if ports:
        hosts = [Host(host.name, port) for host, port in zip(hosts, ports * len(hosts), strict=False)]
    return hosts


def without_hosts(url: str) -> str:
    """The URL without its hosts, for asyncpg, which reads URLs with `urlsplit` as well."""
    return _split(url)[1]


def wants_writable(url: str) -> bool:
    """Whether to connect only to a host that accepts writes: with several hosts, unless the URL says otherwise."""
    return len(hosts_of(url)) > 1 and "target_session_attrs" not in parse_qs(urlsplit(without_hosts(url)).query)


def _split(url: str) -> tuple[str, str]:
    """The hosts of the URL, and the rest. `urlsplit` may refuse an IPv6 address after the first host."""
    match = _AUTHORITY.match(url)
    return (match[2], match[1] + url[match.end() :]) if match else ("", url)


def _host(text: str) -> Host:
    if text.startswith("["):
        name, closing, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address must be in brackets")
    elif text.startswith("/"):
        name, port = text, ""
    else:
        name, _, port = text.partition(":")
    if not name:
        raise ValueError("a host name is empty")
    return Host(unquote(name), _port(port) if port else _PORT)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("a port must be a number from 1 to 65535")
    return int(text)
