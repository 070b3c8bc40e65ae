"""Hosts for tests: network namespaces on a bridge of this machine. Needs Linux, root and iproute2."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from messenger.testing.servers import give_up

_PREFIX = "mtest"


class Host:
    """A network namespace: its processes have their own address and do not see the machine's network."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `command` in the namespace."""
        return [_ip(), "netns", "exec", self.name, *argv]

    def run(self, argv: Sequence[str]) -> str:
        """Run a command in the namespace and return its output."""
        return subprocess.run(self.command(argv), check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603

    def cut(self) -> None:
        """Disconnect the host: packets are lost without an error."""
        _run("link", "set", _cable(self.name), "nomaster")

    def mend(self) -> None:
        """Reconnect the host."""
        _run("link", "set", _cable(self.name), "master", self.name.rpartition("-")[0])


class Network:
    """Hosts, and the address of this machine in their network."""

    def __init__(self, address: str, hosts: Sequence[Host]) -> None:
        self.address = address
        self.hosts = hosts


@contextlib.contextmanager
def network(count: int = 2) -> Iterator[Network]:
    """Create this many hosts; at the end of the block they are removed, and their processes killed."""
    _require()
    _sweep()
    bridge = f"{_PREFIX}{os.getpid()}"
    subnet = _free_subnet()
    hosts = [Host(f"{bridge}-{number}", f"{subnet}.{number + 1}") for number in range(1, count + 1)]
    with contextlib.ExitStack() as undo:
        undo.callback(_remove, bridge, [host.name for host in hosts])
        _run("link", "add", bridge, "type", "bridge")
        _run("address", "add", f"{subnet}.1/24", "dev", bridge)
        _run("link", "set", bridge, "up")
        for host in hosts:
            _connect(host, bridge)
        yield Network(f"{subnet}.1", hosts)


def _connect(host: Host, bridge: str) -> None:
    _run("netns", "add", host.name)
    cable = _cable(host.name)
    _run("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    _run("link", "set", cable, "master", bridge)
    _run("link", "set", cable, "up")
    _run("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    _run("-n", host.name, "link", "set", "lo", "up")
    _run("-n", host.name, "link", "set", "eth0", "up")


def _remove(bridge: str, names: Sequence[str]) -> None:
    """Remove what exists of them."""
    for name in names:
        with contextlib.suppress(subprocess.SubprocessError):
            for process in _run("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
        with contextlib.suppress(subprocess.SubprocessError):
            _run("netns", "delete", name)
        # A namespace remains until its killed processes are reaped; removing this end also removes the interface in it.
        with contextlib.suppress(subprocess.SubprocessError):
            _run("link", "delete", _cable(name))
    with contextlib.suppress(subprocess.SubprocessError):
        _run("link", "delete", bridge)


def _sweep() -> None:
    """Remove the leftovers of killed processes."""
    left: dict[str, list[str]] = {}
    for name in re.findall(rf"\b{_PREFIX}\d+\b(?:-\d+)?", _run("netns", "list") + _run("-o", "link", "show")):
        bridge, _, number = name.partition("-")
        left.setdefault(bridge, []).extend([name] if number else [])
    for bridge, names in left.items():
        if not Path("/proc", bridge.removeprefix(_PREFIX)).exists():
            _remove(bridge, sorted(set(names)))


def _require() -> None:
    """Skip the test, or fail, if this machine does not support network namespaces."""
    if sys.platform != "linux":
        give_up("NOT TESTED: network namespaces require Linux")
    if os.geteuid() != 0:
        give_up("NOT TESTED: network namespaces require root")
    if shutil.which("ip", path=_PATH) is None:
        give_up("NOT TESTED: `ip` is not installed (apt-get install iproute2)")
    name = f"{_PREFIX}{os.getpid()}"
    try:
        _run("netns", "add", f"{name}-0")
        _run("link", "add", name, "type", "bridge")
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", "") or str(error)).strip()
        give_up(f"NOT TESTED: this machine cannot create network namespaces or bridges ({said})")
    finally:
        _remove(name, [f"{name}-0"])


def _free_subnet() -> str:
    taken = _run("-o", "address", "show") + _run("route", "show", "table", "all")
    # Each process starts at a different number, so that concurrent ones do not choose the same.
    subnets = (f"10.213.{1 + (os.getpid() + step) % 254}" for step in range(254))
    return next(subnet for subnet in subnets if f"{subnet}." not in taken)


def _cable(name: str) -> str:
    # Names of interfaces are limited to 15 characters.
    return name.replace(_PREFIX, "mt")


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _ip() -> str:
    return shutil.which("ip", path=_PATH) or "ip"


def _run(*words: str) -> str:
    return subprocess.run([_ip(), *words], check=True, capture_output=True, text=True, timeout=30).stdout  # noqa: S603
