"""TURN credentials against a real coturn."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messenger.security.turn import ice_servers, pseudonym, turn_credentials

KEY = bytes(range(32))
HOST = "127.0.0.1"
HINT = "needs coturn: apt-get install --no-install-recommends coturn"
START_SECONDS = 20.0


@dataclass(frozen=True)
class Relay:
    port: int
    secret: str

    def allocate(self, username: str, credential: str) -> subprocess.CompletedProcess[str]:
        """Relay three packets to an echo of its own over an allocation with these credentials."""
        peer = ["-y", "-n", "3", "-m", "1", "-l", "100", "-e", HOST, "-p", str(self.port), HOST]
        command = ["turnutils_uclient", "-u", username, "-w", credential, *peer]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """coturn on loopback, with the configuration of the operations manual except for its peers."""
    reason = _install_coturn()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("coturn")
    relay = Relay(_free_port(), secrets.token_hex(16))
    config = folder / "turnserver.conf"
    config.write_text(_configuration(relay, folder), encoding="utf-8")
    command = ["turnserver", "-c", str(config)]
    with (folder / "output").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_it_answers(relay, process, folder / "output")
            yield relay
        finally:
            process.kill()


def _configuration(relay: Relay, folder: Path) -> str:
    lines = [
        f"listening-ip={HOST}",
        f"relay-ip={HOST}",
        f"listening-port={relay.port}",
        "min-port=49152",
        "max-port=65535",
        "fingerprint",
        "use-auth-secret",
        f"static-auth-secret={relay.secret}",
        "realm=messenger.test",
        "no-cli",
        "no-tls",
        "no-dtls",
        "no-multicast-peers",
        "allow-loopback-peers",
        f"pidfile={folder / 'turnserver.pid'}",
        f"userdb={folder / 'turndb'}",
        "log-file=stdout",
    ]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    """A port that is free for TCP and UDP alike."""
    while True:
        with socket.create_server((HOST, 0)) as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            port = int(stream.getsockname()[1])
            try:
                datagram.bind((HOST, port))
            except OSError:
                continue
            return port


def _wait_until_it_answers(relay: Relay, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _answers_stun(relay.port):
            return
        # The interval of the polls, cut short when the server ends.
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"coturn doesn't answer: {output.read_text(errors='replace')[-2000:]}")


def _answers_stun(port: int) -> bool:
    """Whether a binding request (RFC 8489 section 5) gets its success response."""
    transaction = secrets.token_bytes(12)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        try:
            client.connect((HOST, port))
            client.send(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + transaction)
            answer = client.recv(2048)
        except OSError:
            return False
    return answer[:2] == b"\x01\x01" and answer[8:20] == transaction


def _install_coturn() -> str | None:
    """Install turnserver if necessary; return None, or why it is not available."""
    if shutil.which("turnserver"):
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return HINT
    install = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "coturn"]
    with _no_services():
        result = _apt(*install)
        if result.returncode:
            _apt("apt-get", "update", "-o", "DPkg::Lock::Timeout=300")
            result = _apt(*install)
    return None if shutil.which("turnserver") else f"{HINT}: {result.stdout[-500:]}{result.stderr[-500:]}"


def _apt(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@contextmanager
def _no_services(policy: Path = Path("/usr/sbin/policy-rc.d")) -> Iterator[None]:
    """Prevent Debian's package from starting a relay; keep an existing policy."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _credentials(secret: str, expires_at: datetime) -> tuple[str, str]:
    return turn_credentials(secret, pseudonym(KEY, 26040983, expires_at.date()), expires_at)


class TestTurnRelay:
    def test_valid_credentials_allocate_relay(self, relay: Relay) -> None:
        (server,), _ = ice_servers(
            stun_urls=(),
            turn_urls=(f"turn:{HOST}:{relay.port}",),
            turn_secret=relay.secret,
            key=KEY,
            user_id=26040983,
            now=datetime.now(UTC),
            ttl=timedelta(minutes=5),
        )
        assert server.username is not None
        assert server.credential is not None
        result = relay.allocate(server.username, server.credential)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "lost packets 0 (0.000000%)" in result.stdout

    def test_expired_credentials_are_refused(self, relay: Relay) -> None:
        result = relay.allocate(*_credentials(relay.secret, datetime.now(UTC) - timedelta(seconds=5)))
        assert result.returncode != 0
        assert "Cannot complete Allocation" in result.stdout

    def test_credentials_with_wrong_secret_are_refused(self, relay: Relay) -> None:
        result = relay.allocate(*_credentials("another secret", datetime.now(UTC) + timedelta(minutes=5)))
        assert result.returncode != 0
        assert "Cannot complete Allocation" in result.stdout
