"""What one request costs, independent of time: function calls, and peak memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from types import CodeType, FrameType
from typing import Any

import msgspec

WARMING, REPEATS = 5, 7

Use = Callable[[], Coroutine[Any, Any, Any]]
"""Prepares something, and gives it to be counted."""


class Price(msgspec.Struct, frozen=True):
    """Calls of Python functions (a resumed coroutine counts again), calls of C functions, and peak memory in bytes."""

    python: int
    c: int
    peak: int


class Meter:
    """Counts calls in the coroutine that it drives and in the tasks that this starts, not in the event loop between
    steps. While tracemalloc traces, it measures memory instead.
    """

    def __init__(self) -> None:
        self.called: list[CodeType | Callable[..., Any]] = []
        self.peak = 0

    def drive(self, coroutine: Coroutine[Any, Any, Any]) -> _Driven:
        """Await something and count its steps."""
        return _Driven(self, coroutine)

    @contextlib.contextmanager
    def children(self) -> Iterator[None]:
        """Also count tasks that begin in this block."""
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
            return asyncio.Task(_run(self.drive(coroutine)), loop=loop, **options)

        loop.set_task_factory(make)
        try:
            yield
        finally:
            loop.set_task_factory(before)

    def step(self, coroutine: Coroutine[Any, Any, Any], value: Any, error: BaseException | None) -> Any:
        """Run to the next point of suspension."""
        return (self._measured if tracemalloc.is_tracing() else self._counted)(coroutine, value, error)

    def _counted(self, coroutine: Coroutine[Any, Any, Any], value: Any, error: BaseException | None) -> Any:
        before = sys.getprofile()
        sys.setprofile(self._on_event)
        try:
            return coroutine.send(value) if error is None else coroutine.throw(error)
        finally:
            sys.setprofile(before)

    def _on_event(self, frame: FrameType, event: str, function: Any) -> None:
        if frame.f_code in _PASSED_OVER:
            return
        if event == "call":
            self.called.append(frame.f_code)
        elif event == "c_call":
            self.called.append(function)

    def _measured(self, coroutine: Coroutine[Any, Any, Any], value: Any, error: BaseException | None) -> Any:
        # Between steps the event loop has a buffer of its own, which is larger than most responses.
        tracemalloc.reset_peak()
        try:
            return coroutine.send(value) if error is None else coroutine.throw(error)
        finally:
            self.peak = max(self.peak, tracemalloc.get_traced_memory()[1])


_PASSED_OVER = {
    # The meter's own frames.
    Meter._counted.__code__,
    # The event loop keeps its timers in a heap: the number of comparisons depends on other timers of this process.
    asyncio.TimerHandle.__lt__.__code__,
}


class _Driven:
    def __init__(self, meter: Meter, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._meter, self._coroutine = meter, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                asked = self._meter.step(self._coroutine, value, error)
            except StopIteration as end:
                return end.value
            value = error = None
            try:
                value = yield asked
            except BaseException as thrown:
                error = thrown


async def _run(driven: _Driven) -> Any:
    return await driven


class Counted(msgspec.Struct, frozen=True):
    """A price, and the calls that it consists of."""

    price: Price
    calls: list[str]


async def counted(
    use: Use, *, between: Callable[[], Awaitable[None]] | None = None, meter: Meter | None = None
) -> Counted:
    """The smallest of several runs after a warm-up, without garbage collection. `between` is not counted. `meter`: of a
    task that works for `use` and outlives it, as a socket's does: then only the steps of that task are counted.
    """
    with _no_garbage_collection():
        runs = [await _once(use, between, meter) for _ in range(WARMING + REPEATS)]
    best = runs[WARMING:]
    least = min((called for called, _ in best), key=len)
    python = sum(isinstance(each, CodeType) for each in least)
    price = Price(python, len(least) - python, min(peak for _, peak in best))
    return Counted(price, [_name(each) for each in least])


async def _once(
    use: Use, between: Callable[[], Awaitable[None]] | None, given: Meter | None
) -> tuple[list[CodeType | Callable[..., Any]], int]:
    """The calls of one run, and the peak memory of another."""
    meter = given or Meter()
    meter.called.clear()
    await _run_once(use(), meter, is_driven=given is None)
    called = meter.called.copy()
    if between is not None:
        await between()
    coroutine, meter.peak = use(), 0
    with _traced():
        await _run_once(coroutine, meter, is_driven=given is None)
    if between is not None:
        await between()
    return called, meter.peak


async def _run_once(coroutine: Coroutine[Any, Any, Any], meter: Meter, *, is_driven: bool) -> None:
    with meter.children():
        await (meter.drive(coroutine) if is_driven else coroutine)


def _name(called: CodeType | Callable[..., Any]) -> str:
    if isinstance(called, CodeType):
        return f"{called.co_qualname} ({called.co_filename})"
    return f"    {getattr(called, '__qualname__', called)}"


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
