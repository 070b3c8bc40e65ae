"""Sampled stacks, made readable: what serves requests alone, C code by its library, and each frame's layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LAYERS = {
    "system calls": r"^(write|writev|read)\(\)",
    "garbage collector": r"^garbage collector",
    "threads": r"concurrent/futures|/threading\.py|litestar/concurrency\.py",
    "statements, rows": r"messenger/(statements\.py|repositories/)",
    "unit of work, pool": r"messenger/(unit_of_work|database|connection_pool)\.py|/sqlalchemy/|^greenlet",
    "asyncpg": r"/asyncpg/|^asyncpg",
    "metrics, logging": r"/prometheus_client/|messenger/(metrics|logs)\.py|/logging/",
    "services, views": r"messenger/(services|schemas|policies|realtime)",
    "encoding": r"msgspec|/serialization/",
    "controllers, wire": r"/messenger/",
    "Litestar": r"/litestar/|^multidict",
    "uvicorn, httptools": r"/uvicorn/|^httptools",
    "event loop": r"^uvloop|^asyncio|/asyncio/",
}
_LAYERS = {name: re.compile(pattern) for name, pattern in LAYERS.items()}
REST = "the rest"

# Of C code the library is told; what belongs to the interpreter is its Python caller's.
_LIBRARIES = {
    "uvloop": re.compile(r"uvloop|libuv"),
    "asyncpg in C": re.compile(r"asyncpg|pgproto|recordobj|/protocol\.c"),
    "httptools in C": re.compile(r"httptools|llhttp|/parser\.c"),
    "msgspec in C": re.compile(r"msgspec"),
    "multidict in C": re.compile(r"multidict"),
    "greenlet in C": re.compile(r"greenlet"),
    "asyncio in C": re.compile(r"_asynciomodule"),
}
_FRAME = re.compile(r"(.*) \(([^()]*?)(?::\d+)?\)$")
_SYSTEM_CALL = re.compile(r"_*(?:libc_)?(writev|write|send|sendmsg|read|recv|recvmsg|epoll)\w*$")
_CALLS = {"send": "write", "sendmsg": "write", "recv": "read", "recvmsg": "read"}
# The event loop's first frame: what stands below it is the way from the command line, the same in all samples.
_BEGINNING = "asyncio/runners.py"


class Frame(NamedTuple):
    """A Python function, or a library of C code."""

    name: str
    where: str

    @property
    def layer(self) -> str | None:
        """The layer that it says something of; the standard library works for its caller."""
        told = self.where or self.name
        return next((name for name, pattern in _LAYERS.items() if pattern.search(told)), None)


Stack = tuple[Frame, ...]


def read(lines: Iterable[str]) -> Counter[Stack]:
    """How often each stack was seen, from py-spy's raw format (`--full-filenames`), root first."""
    stacks: Counter[Stack] = Counter()
    for line in lines:
        text, _, count = line.rstrip().rpartition(" ")
        stack = _serving(text.split(";"))
        if stack is not None:
            stacks[stack] += int(count)
    return stacks


def layer_of(stack: Stack) -> str:
    """The layer whose time a sample is: that of the innermost frame which has one."""
    return next((layer for frame in reversed(stack) if (layer := frame.layer)), REST)


def shares(stacks: Counter[Stack]) -> dict[str, float]:
    """Each layer's part of all samples, in the layers' order."""
    counted: Counter[str] = Counter()
    for stack, count in stacks.items():
        counted[layer_of(stack)] += count
    return {layer: counted[layer] / max(1, stacks.total()) for layer in [*LAYERS, REST]}


def _serving(texts: list[str]) -> Stack | None:
    """The frames of the thread that serves; None for another thread's stack, and while nothing is done."""
    if any(text.startswith(("Thread._bootstrap", "_worker (")) for text in texts):
        return None
    begin = next((index + 1 for index, text in enumerate(texts) if _BEGINNING in text), None)
    # A greenlet has a stack of its own: the connection pool's.
    if begin is None and not any("/sqlalchemy/" in text for text in texts):
        return None
    frames = tuple(_joined(_readable(texts[begin or 0 :])))
    # It waits for something to do: no cost of a request.
    if frames and frames[-1].name == "epoll()":
        return None
    return frames if begin is not None else (Frame("greenlet", ""), *frames)


def _readable(texts: Iterable[str]) -> Iterator[Frame]:
    for text in texts:
        match = _FRAME.match(text)
        name, where = (match[1], match[2]) if match else (text, "")
        if where.endswith(".py") or where.startswith("<"):
            yield Frame(name, where)
            continue
        if name.startswith("gc_collect"):
            yield Frame("garbage collector", "")
            return
        call = _SYSTEM_CALL.match(name)
        if call and "libc" in where:
            yield Frame(f"{_CALLS.get(call[1], call[1])}()", "")
            return
        library = next((library for library, pattern in _LIBRARIES.items() if pattern.search(where)), None)
        if library is not None:
            yield Frame(library, "")


def _joined(frames: Iterable[Frame]) -> Iterator[Frame]:
    last = None
    for frame in frames:
        if frame != last:
            yield frame
        last = frame
