"""`messenger doctor` checks STUN and TURN servers with the requests of a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from messenger.doctor import Finding, _relay
from messenger.security.relay_check import address_of
from tests.end_to_end._coturn import Coturn

SECRET = "the-secret-of-both"


@pytest.fixture(scope="module")
def relay() -> Iterator[Coturn]:
    with Coturn("--use-auth-secret", "--static-auth-secret", SECRET) as relay:
        yield relay


@pytest.fixture(scope="module")
def open_relay() -> Iterator[Coturn]:
    with Coturn("--no-auth") as relay:
        yield relay


@pytest.fixture(params=["udp", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    transport: str = request.param
    return transport


class TestTurnCheck:
    def test_right_secret_gets_allocation(self, relay: Coturn, transport: str) -> None:
        url = f"turn:127.0.0.1:{relay.port}?transport={transport}"
        assert _relay(url, SECRET) == Finding("turn", True, f"{url} allocates with our credentials")

    def test_wrong_relay_secret_is_reported(self, relay: Coturn, transport: str) -> None:
        url = f"turn:127.0.0.1:{relay.port}?transport={transport}"
        finding = _relay(url, "another")
        assert not finding.ok
        assert finding.finding == f"{url} refuses the credentials of MESSENGER_TURN_SECRET"
        assert "static-auth-secret" in str(finding.advice)

    def test_open_relay_is_reported(self, open_relay: Coturn) -> None:
        finding = _relay(f"turn:127.0.0.1:{open_relay.port}", SECRET)
        assert not finding.ok
        assert "allocates without credentials" in finding.finding

    def test_unreachable_relay_is_reported(self) -> None:
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        finding = _relay(f"turn:127.0.0.1:{port}", SECRET)
        assert not finding.ok
        assert "cannot be reached" in finding.finding

    def test_untrusted_certificate_is_reported(self, relay: Coturn) -> None:
        # No TLS is spoken on this port.
        finding = _relay(f"turns:127.0.0.1:{relay.port}", SECRET)
        assert not finding.ok

    def test_other_service_is_reported(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=_greet, args=[server])
            thread.start()
            finding = _relay(f"turn:127.0.0.1:{server.getsockname()[1]}?transport=tcp", SECRET)
            thread.join()
        assert not finding.ok
        assert "does not answer as a STUN server" in finding.finding


def _greet(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(b"220 mail.example ESMTP, and more than twenty bytes" + bytes(30_000))


class TestStunCheck:
    def test_stun_binding_is_sufficient(self, relay: Coturn) -> None:
        url = f"stun:127.0.0.1:{relay.port}"
        assert _relay(url, "") == Finding("stun", True, f"{url} answers")


class TestRelayAddress:
    @pytest.mark.parametrize(
        ("url", "parts"),
        [
            ("stun:relay.example", (False, False, "relay.example", 3478, True)),
            ("turn:relay.example:5000?transport=tcp", (True, False, "relay.example", 5000, False)),
            ("turns:[2001:db8::1]", (True, True, "2001:db8::1", 5349, False)),
            ("turns:relay.example?transport=udp", (True, True, "relay.example", 5349, True)),
        ],
    )
    def test_relay_address_uses_scheme_defaults(self, url: str, parts: tuple[bool, bool, str, int, bool]) -> None:
        assert address_of(url) == parts
