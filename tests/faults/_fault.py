"""A fault, and the list of faults that `python -m tests.faults` runs.

To add one, write a module `tests/faults/_faults_….py` (all modules of that name are imported), and register it there:

    @fault("stop_a_worker", "G3, G6", "SIGSTOP of one worker for 10 s, then SIGCONT", recovery=5.0)
    async def stop_a_worker(world: World, chance: Random) -> None:
        worker = chance.choice(world.workers())
        worker.suspend()
        await world.hold(10.0)        # the fault itself; shorter in the short form
        world.healed()                # recovery is counted from here
        worker.resume()

The function injects the fault and ends it, while the load continues. It calls `world.healed()` at the moment from
which the service has to recover by itself: before the kill where nothing else ends the fault, after the SIGCONT, when
a killed process is restarted. By default it is the moment of its return. It makes all choices with `chance`, so that a
seed repeats them. It reports violations with `world.report("…")` or `world.expect(good, "…")`; an exception fails the
run of this fault. Resources are closed with `try … finally`, since the function may be cancelled.

Everything else is done by the harness: in each cycle it waits for load before the fault, then for the first successful
send and for one of every sender, drains every device, and runs the checker; at the end it compares everything with
fresh logins.

A fault that needs a special server says so with its `Installation`; faults of equal installations share one world, one
after the other, each with users of its own. `needs` returns in one line what the machine lacks: the fault is then
reported as skipped.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from tests.faults._world import World

Strike = Callable[["World", Random], Awaitable[None]]
Settings = tuple[tuple[str, object], ...]


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """The server that a fault needs. Equal installations are shared: keep every part comparable (tuples, functions by
    name).
    """

    servers: int = 1
    """`messenger serve` so many times, each on a port of its own; more than one needs `database="apart"`."""
    workers: int = 2
    """Of each."""
    database: Literal["own", "apart"] = "own"
    """`own`: the server brings it along. `apart`: the harness keeps it, and `world.database_proxy` is the way there."""
    settings: Settings = ()
    """Of every server: names of `messenger.config.Settings` and values."""
    postgres: Settings = ()
    """Of a database that is apart: names and values of postgresql.conf."""
    prepare: Callable[[World], Awaitable[None]] | None = None
    """Called before anything is started: a tmpfs over `world.folder`, another `world.commands[0]` or
    `world.variables[1]`. What it makes it leaves to `world.stack`."""
    pairs: int = 4
    """Pairs of friends; each friend has two devices, and each device listens and sends."""
    has_groups: bool = True
    """Whether they talk in groups, too."""


USUAL = Installation()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`recovery`: maximum seconds from the end of the fault to the first successful send. `settled`: until every sender
    had one.
    """

    name: str
    promise: str
    """The promises of `docs/guarantees.md` that it tests: `G1, G6`."""
    what: str
    strike: Strike
    recovery: float = 5.0
    settled: float = 20.0
    installation: Installation = USUAL
    answers: frozenset[int] = frozenset({503})
    """Statuses that a sender may be refused with, besides being answered well; each 503 must have a `Retry-After`."""
    needs: Callable[[], str | None] | None = None
    """What this machine lacks for it; None: nothing."""


_faults: dict[str, Fault] = {}


def fault(
    name: str,
    promise: str,
    what: str,
    *,
    recovery: float = 5.0,
    settled: float = 20.0,
    installation: Installation = USUAL,
    answers: frozenset[int] = frozenset({503}),
    needs: Callable[[], str | None] | None = None,
) -> Callable[[Strike], Strike]:
    """Register the function as a fault of this name."""

    def register(strike: Strike) -> Strike:
        assert name not in _faults, f"two faults are called {name}"
        _faults[name] = Fault(
            name=name,
            promise=promise,
            what=what,
            strike=strike,
            recovery=recovery,
            settled=settled,
            installation=installation,
            answers=answers,
            needs=needs,
        )
        return strike

    return register


def all_faults() -> dict[str, Fault]:
    """Every fault by its name; faults of one installation follow each other."""
    for module in sorted(Path(__file__).parent.glob("_faults_*.py")):
        importlib.import_module(f"{__package__}.{module.stem}")
    by_installation: dict[Installation, list[Fault]] = {}
    for each in _faults.values():
        by_installation.setdefault(each.installation, []).append(each)
    return {each.name: each for group in by_installation.values() for each in group}
