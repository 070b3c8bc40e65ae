"""coturn on loopback, with credentials by a shared secret."""

from __future__ import annotations

from collections.abc import Sequence

from messenger.testing.servers import ServerProcess


class Coturn(ServerProcess):
    """A relay for UDP and TCP on one port."""

    binary = "turnserver"
    package = "coturn"
    # A binding request, and the beginning of its success response.
    question = bytes.fromhex("00010000 2112a442") + bytes(12)
    answer = bytes.fromhex("0101")

    def __init__(self, *extra: str) -> None:
        super().__init__(extra=extra)

    def arguments(self) -> Sequence[str]:
        address = ["--listening-ip", self.host, "--relay-ip", self.host, "--listening-port", str(self.port)]
        return ["-n", *address, "--realm", "example", "--no-tls", "--no-dtls", "--no-cli", "--pidfile", "/dev/null"]
