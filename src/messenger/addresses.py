"""Client addresses in the form in which rate limits count them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_LONGEST = 64
_SUBSCRIBER, _SITE = 64, 48
_NAT64 = IPv6Network("64:ff9b::/96")
# Some proxies include the port.
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")


def subscriber(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address (one subscriber); other text is returned unchanged.

    IPv4 addresses in IPv6 notation (mapped, NAT64) count as IPv4.
    """
    return _network(address, _SUBSCRIBER)


def site(address: str) -> str | None:
    """The /48 of an IPv6 address or /64, the usual size of a site; None for other addresses."""
    network = _network(address.partition("/")[0], _SITE)
    return network if network.endswith(f"/{_SITE}") else None


def _network(text: str, bits: int) -> str:
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if found is None else found["v6"] or found["v4"])
    except ValueError:
        return text[:_LONGEST]
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is None:
            return str(IPv6Network((int(address), bits), strict=False))
        address = embedded
    return str(address)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
