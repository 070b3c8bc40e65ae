"""The listening sockets of the server, and their URLs."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from socket import (
    AF_INET6,
    AI_PASSIVE,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
)

from messenger.config import SettingsError

# Without IPv6, `localhost` is IPv4 only.
_LOCALHOST = ("127.0.0.1", "::1")
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@contextlib.contextmanager
def listening_on(host: str, port: int) -> Iterator[list[socket]]:
    """Sockets on every address of a name (`localhost`: both families), or on one address. Raises `SettingsError`."""
    where = f"MESSENGER_HOST, MESSENGER_PORT: {host}:{port}"
    with contextlib.ExitStack() as stack:
        sockets: list[socket] = []
        absent: OSError | None = None
        try:
            # With brackets, as in a URL, or without.
            name = host.removeprefix("[").removesuffix("]")
            # RFC 6761 section 6.3: always loopback, in both families, whatever the hosts file says.
            names = _LOCALHOST if name == "localhost" else (name,)
            found = [each for one in names for each in getaddrinfo(one, port, type=SOCK_STREAM, flags=AI_PASSIVE)]
            # With port 0, the second socket uses the port of the first.
            addresses = sorted({(family, address) for family, _, _, _, address in found}, key=lambda each: each[0])
            for family, address in addresses:
                try:
                    taken = sockets[0].getsockname()[1] if sockets else port
                    sockets.append(stack.enter_context(_bound(family, (address[0], taken, *address[2:]), addresses)))
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
            if absent is not None and not sockets:
                raise absent
        except OSError as error:
            raise SettingsError(f"{where} cannot be listened on: {error.strerror}") from None
        yield sockets


def _bound(family: int, address: tuple[object, ...], addresses: Sequence[object]) -> socket:
    made = socket(family, SOCK_STREAM)
    try:
        made.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        if family == AF_INET6 and len(addresses) > 1:
            made.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def url_of(listening: socket) -> str:
    """The URL of a listening socket, with IPv6 addresses in brackets (RFC 3986 section 3.2.2)."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if listening.family == AF_INET6 else f"http://{host}:{port}"
