"""Check a STUN or TURN server with the requests of a client (RFC 8489, RFC 8656)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from messenger.security.turn import turn_credentials

_SECONDS = 2.0
_COOKIE = 0x2112A442
_HEADER = struct.Struct("!HHI12s")
_BINDING, _ALLOCATE, _REFRESH = 0x0001, 0x0003, 0x0004
_SUCCESS, _ERROR = 0x0100, 0x0110
_USERNAME, _INTEGRITY, _ERROR_CODE, _LIFETIME = 0x0006, 0x0008, 0x0009, 0x000D
_REALM, _NONCE, _REQUESTED_TRANSPORT = 0x0014, 0x0015, 0x0019
_UDP = struct.pack("!Bxxx", socket.IPPROTO_UDP)
_UNAUTHENTICATED, _STALE_NONCE = 401, 438
_URL = re.compile(r"(stun|turn)(s?):(\[[^]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(\w+))?")


class RelayError(Exception):
    """A fault of a relay, with advice."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


class Address(NamedTuple):
    """The server that a URL addresses."""

    is_turn: bool
    is_tls: bool
    host: str
    port: int
    is_udp: bool


def address_of(url: str) -> Address:
    """The parts of a `stun:` or `turn:` URL with their defaults. Raises `ValueError`."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"{url} is invalid")
    kind, tls, host, port, transport = match.groups()
    is_udp = transport != "tcp" if not tls else transport == "udp"
    return Address(kind == "turn", bool(tls), host.strip("[]"), int(port or (5349 if tls else 3478)), is_udp)


def check_relay(address: Address, secret: str) -> str:
    """Check the server; returns the result in a few words. Raises `RelayError`, and `OSError` if it is unreachable."""
    if address.is_tls and address.is_udp:
        return "is not checked: it speaks DTLS"
    with _connected(address) as connection:
        if not address.is_turn:
            connection.ask(_BINDING, [])
            return "answers"
        connection.allocate(secret)
        return "allocates with our credentials"


@contextlib.contextmanager
def _connected(address: Address) -> Iterator[_Connection]:
    if address.is_udp:
        family, kind, protocol, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as udp:
            udp.settimeout(_SECONDS)
            udp.connect(target)
            yield _Connection(udp)
        return
    with socket.create_connection((address.host, address.port), timeout=_SECONDS) as tcp:
        if not address.is_tls:
            yield _Connection(tcp)
            return
        with ssl.create_default_context().wrap_socket(tcp, server_hostname=address.host) as tls:
            yield _Connection(tls)


class _Connection:
    """A client of one server, which sends one request at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._is_stream = connected.type == socket.SOCK_STREAM

    def allocate(self, secret: str) -> None:
        """Allocate a relayed address and release it."""
        wanted = [(_REQUESTED_TRANSPORT, _UDP)]
        kind, attributes = self.ask(_ALLOCATE, wanted)
        if kind == _ALLOCATE | _SUCCESS:
            raise RelayError("allocates without credentials", "Run coturn with use-auth-secret and static-auth-secret.")
        code = _code_of(attributes)
        if code != _UNAUTHENTICATED or _REALM not in attributes:
            raise RelayError(f"refuses an allocation with error {code}", "See the relay's log.")
        username, password = turn_credentials(secret, "doctor", datetime.now(UTC) + timedelta(minutes=5))
        kind, attributes, signature = self._signed(_ALLOCATE, wanted, username, password, attributes)
        if kind != _ALLOCATE | _SUCCESS:
            code = _code_of(attributes)
            if code == _UNAUTHENTICATED:
                raise RelayError(
                    "refuses the credentials of MESSENGER_TURN_SECRET",
                    "It must equal coturn's static-auth-secret, and both clocks must be correct.",
                )
            raise RelayError(f"accepts the credentials, but refuses an allocation with error {code}", "See its log.")
        kind, _ = self.ask(_REFRESH, [(_LIFETIME, struct.pack("!I", 0)), *signature[0]], key=signature[1])
        if kind != _REFRESH | _SUCCESS:
            raise RelayError("allocates, but does not release the allocation", "See the relay's log.")

    def _signed(
        self, method: int, wanted: list[tuple[int, bytes]], username: str, password: str, challenge: dict[int, bytes]
    ) -> tuple[int, dict[int, bytes], tuple[list[tuple[int, bytes]], bytes]]:
        """Send an authenticated request, again if its nonce is stale; returns also the credentials for the next one."""
        for _ in range(2):
            realm, nonce = challenge[_REALM], challenge.get(_NONCE, b"")
            given = [(_USERNAME, username.encode()), (_REALM, realm), (_NONCE, nonce)]
            key = hashlib.md5(b":".join((username.encode(), realm, password.encode())), usedforsecurity=False).digest()
            kind, attributes = self.ask(method, [*wanted, *given], key=key)
            if kind != method | _ERROR or _code_of(attributes) != _STALE_NONCE:
                break
            challenge = challenge | attributes
        return kind, attributes, (given, key)

    def ask(
        self, method: int, attributes: list[tuple[int, bytes]], *, key: bytes = b""
    ) -> tuple[int, dict[int, bytes]]:
        """The kind and the attributes of the response. Raises `RelayError` if it does not answer the request."""
        transaction = secrets.token_bytes(12)
        self._socket.sendall(_message(method, transaction, attributes, key))
        answer = self._receive()
        if len(answer) < _HEADER.size:
            raise RelayError("does not answer as a STUN server", "Is it another service's port?")
        kind, length, cookie, echoed = _HEADER.unpack(answer[: _HEADER.size])
        if cookie != _COOKIE or echoed != transaction or kind not in (method | _SUCCESS, method | _ERROR):
            raise RelayError("does not answer as a STUN server", "Is it another service's port?")
        return kind, _attributes(answer[_HEADER.size : _HEADER.size + length])

    def _receive(self) -> bytes:
        if not self._is_stream:
            return self._socket.recv(2048)
        head = self._exactly(_HEADER.size)
        return head + self._exactly(_HEADER.unpack(head)[1]) if len(head) == _HEADER.size else head

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self._socket.recv(size - len(data))):
            data += more
        return data


def _message(method: int, transaction: bytes, attributes: list[tuple[int, bytes]], key: bytes) -> bytes:
    body = b"".join(_attribute(kind, value) for kind, value in attributes)
    if not key:
        return _HEADER.pack(method, len(body), _COOKIE, transaction) + body
    # The length includes the signature, which covers everything before it.
    head = _HEADER.pack(method, len(body) + 24, _COOKIE, transaction)
    return head + body + _attribute(_INTEGRITY, hmac.digest(key, head + body, "sha1"))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(body):
        kind, length = struct.unpack_from("!HH", body, at)
        found.setdefault(kind, body[at + 4 : at + 4 + length])
        at += 4 + length + (-length % 4)
    return found


def _code_of(attributes: dict[int, bytes]) -> int:
    code = attributes.get(_ERROR_CODE, b"")
    return (code[2] & 0x07) * 100 + code[3] if len(code) >= 4 else 0
