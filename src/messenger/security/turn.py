"""Addresses and time-limited credentials for a call's STUN and TURN servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

_MIN_KEY_BYTES = 16
_PSEUDONYM_LENGTH = 16
_TURN_QUERIES = frozenset({"transport=udp", "transport=tcp"})

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# A label may hold an underscore, because names of containers do.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_MAX_NAME = 253


class IceServer(msgspec.Struct, frozen=True):
    """One element of `RTCConfiguration.iceServers` (W3C WebRTC 1.0 section 4.2.4)."""

    urls: tuple[str, ...]
    username: str | None
    credential: str | None

    def __repr__(self) -> str:
        """Without the credential, which is good for an allocation until it expires."""
        return f"IceServer(urls={self.urls!r}, username={self.username!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("urls", self.urls), ("username", self.username)]


def turn_credentials(secret: str, pseudonym: str, expires_at: datetime) -> tuple[str, str]:
    """Username and credential of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00 section 2.2)."""
    username = f"{_unix(expires_at)}:{pseudonym}"
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return username, base64.b64encode(digest).decode("ascii")


def pseudonym(key: bytes, user_id: int, day: date) -> str:
    """The user's name for the relay's logs on this (UTC) day: 96 bits of HMAC-SHA256, 16 url-safe characters."""
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(f"a pseudonym's key has {_MIN_KEY_BYTES} bytes or more, or the id can be guessed back")
    digest = hmac.digest(key, f"turn:{user_id}:{day:%Y-%m-%d}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode("ascii")[:_PSEUDONYM_LENGTH]


def ice_servers(
    *,
    stun_urls: Sequence[str],
    turn_urls: Sequence[str],
    turn_secret: str | None,
    key: bytes,
    user_id: int,
    now: datetime,
    ttl: timedelta,
) -> tuple[list[IceServer], datetime]:
    """The servers for one user, and when their credentials end: the very second that the relay reads in the name."""
    if turn_urls and not turn_secret:
        raise ValueError("a TURN server needs the secret that it shares with this server")
    expires_at = datetime.fromtimestamp(_unix(now + ttl), UTC)
    servers = [IceServer(tuple(stun_urls), None, None)] if stun_urls else []
    if turn_urls and turn_secret:
        name = pseudonym(key, user_id, now.astimezone(UTC).date())
        servers.append(IceServer(tuple(turn_urls), *turn_credentials(turn_secret, name, expires_at)))
    return servers, expires_at


def check_ice_url(url: str, schemes: Collection[str]) -> None:
    """Raise ValueError unless `url` is a STUN (RFC 7064) or TURN (RFC 7065) address with one of these schemes."""
    if "@" in url:
        # What stands before the @ may be a password, so that this message alone doesn't repeat the address.
        raise ValueError("an ICE URL holds no user or password; credentials go beside it")
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() not in schemes:
        raise ValueError(f"{url!r}: an ICE URL here starts with {' or '.join(f'{name}:' for name in sorted(schemes))}")
    if rest.startswith("//"):
        raise ValueError(f"{url!r}: an ICE URL has no // after its scheme: {scheme}:host:port")
    address, question, query = rest.partition("?")
    if question and (not scheme.lower().startswith("turn") or query not in _TURN_QUERIES):
        raise ValueError(f"{url!r}: ?transport=udp or ?transport=tcp, on a TURN URL alone, is all that may follow")
    _check_address(url, address)


def _check_address(url: str, address: str) -> None:
    host, port = _split(address)
    if host is None or not _is_host(host):
        raise ValueError(f"{url!r}: the host is no name, IPv4 address or [IPv6 address]")
    if port is not None and not (_PORT.fullmatch(port) and 1 <= int(port) <= 65535):
        raise ValueError(f"{url!r}: the port is no number from 1 to 65535")


def _split(address: str) -> tuple[str | None, str | None]:
    """Host (with its brackets) and port; no host where the brackets are not closed or something follows them."""
    if not address.startswith("["):
        host, colon, port = address.partition(":")
        return host, port if colon else None
    inside, bracket, after = address.partition("]")
    if not bracket or (after and not after.startswith(":")):
        return None, None
    return f"{inside}]", after[1:] if after else None


def _is_host(host: str) -> bool:
    if host.startswith("["):
        # A zone ("%eth0") means something on this machine only, and the client is another one.
        return "%" not in host and _parses(ipaddress.IPv6Address, host[1:-1])
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return _parses(ipaddress.IPv4Address, host)
    return len(host) <= _MAX_NAME and all(_LABEL.fullmatch(label) for label in labels)


def _parses(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _unix(moment: datetime) -> int:
    """Whole seconds since 1970; ValueError for a naive time, which would be read in the machine's own zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return int(moment.timestamp())
