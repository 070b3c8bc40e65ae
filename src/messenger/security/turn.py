"""Addresses and temporary credentials of the STUN and TURN servers for calls."""

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
# Allow underscores in labels, since names of containers contain them.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII | re.IGNORECASE)
_MAX_NAME = 253


class IceServer(msgspec.Struct, frozen=True):
    """One element of `RTCConfiguration.iceServers` (W3C WebRTC 1.0 section 4.2.4)."""

    urls: tuple[str, ...]
    username: str | None
    credential: str | None

    def __repr__(self) -> str:
        """Omits the credential, which is valid until it expires."""
        return f"IceServer(urls={self.urls!r}, username={self.username!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("urls", self.urls), ("username", self.username)]


def turn_credentials(secret: str, pseudonym: str, expires_at: datetime) -> tuple[str, str]:
    """Username and credential for coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00 section 2.2)."""
    username = f"{_unix(expires_at)}:{pseudonym}"
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return username, base64.b64encode(digest).decode("ascii")


def pseudonym(key: bytes, user_id: int, day: date) -> str:
    """The user's pseudonym on this day (UTC), for the relay: 96 bits of HMAC-SHA256 as 16 URL-safe characters."""
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(f"a pseudonym's key must have at least {_MIN_KEY_BYTES} bytes, or IDs could be guessed")
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
    """The servers for one user, and when the credentials expire: the second that the username contains."""
    if turn_urls and not turn_secret:
        raise ValueError("a TURN server requires the secret that it shares with this server")
    expires_at = datetime.fromtimestamp(_unix(now + ttl), UTC)
    servers = [IceServer(tuple(stun_urls), None, None)] if stun_urls else []
    if turn_urls and turn_secret:
        name = pseudonym(key, user_id, now.astimezone(UTC).date())
        servers.append(IceServer(tuple(turn_urls), *turn_credentials(turn_secret, name, expires_at)))
    return servers, expires_at


def check_ice_url(url: str, schemes: Collection[str]) -> None:
    """Raise ValueError unless `url` is a STUN (RFC 7064) or TURN (RFC 7065) address with one of these schemes."""
    if "@" in url:
        # Do not repeat the URL, since the part before the @ may be a password.
        raise ValueError("an ICE URL must not contain a user or password")
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() not in schemes:
        raise ValueError(f"{url!r}: the URL must start with {' or '.join(f'{name}:' for name in sorted(schemes))}")
    if rest.startswith("//"):
        raise ValueError(f"{url!r}: the scheme must not be followed by //: {scheme}:host:port")
    address, question, query = rest.partition("?")
    if question and (not scheme.lower().startswith("turn") or query not in _TURN_QUERIES):
        raise ValueError(f"{url!r}: only a TURN URL may have a query, ?transport=udp or ?transport=tcp")
    _check_address(url, address)


def _check_address(url: str, address: str) -> None:
    host, port = _split(address)
    if host is None or not _is_host(host):
        raise ValueError(f"{url!r}: the host must be a name, an IPv4 address or an [IPv6 address]")
    if port is not None and not (_PORT.fullmatch(port) and 1 <= int(port) <= 65535):
        raise ValueError(f"{url!r}: the port must be a number from 1 to 65535")


def _split(address: str) -> tuple[str | None, str | None]:
    """Host (with brackets) and port; the host is empty if the brackets are not closed or followed by other text."""
    if not address.startswith("["):
        host, colon, port = address.partition(":")
        return host, port if colon else None
    inside, bracket, after = address.partition("]")
    if not bracket or (after and not after.startswith(":")):
        return None, None
    return f"{inside}]", after[1:] if after else None


def _is_host(host: str) -> bool:
    if host.startswith("["):
        # A zone ("%eth0") is meaningless to clients on other machines.
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
    """Unix time in whole seconds. Raises `ValueError` for a naive time, whose time zone is unknown."""
    if moment.tzinfo is None:
        raise ValueError("a time must have a time zone")
    return int(moment.timestamp())
