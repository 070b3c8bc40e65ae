"""Supervise several workers: start them, replace them when they die or on SIGHUP, and stop them together."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from socket import socket

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.values import MultiProcessValue
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from messenger.observability.metrics import WORKER_RESTARTS, WORKER_RESTARTS_HELP

logger = logging.getLogger(__name__)

_READY_SECONDS = 60.0
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


class Workers(Multiprocess):
    """uvicorn's workers. A worker that dies is logged, counted and replaced; SIGHUP replaces all, one after another."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket], tick: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._tick = tick
        self._has_served = self._failed = False
        self._outdated: deque[Process] = deque()
        self._successor: Process | None = None
        self._ready_until = 0.0
        self._leaving: list[Process] = []
        self._restarts = MultiProcessValue()(  # type: ignore[no-untyped-call]
            "counter", WORKER_RESTARTS, f"{WORKER_RESTARTS}_total", [], [], WORKER_RESTARTS_HELP
        )

    def run(self) -> None:
        """Run until stopped. Exits with a worker's exit code if it cannot start."""
        super().run()
        if self._failed:
            sys.exit(STARTUP_FAILURE)

    def terminate_all(self) -> None:
        """Also stop the workers that are being replaced."""
        self.processes += self._leaving
        if self._successor is not None:
            self.processes.append(self._successor)
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """Check the workers; called twice a second."""
        self._reap()
        self._go_on_replacing()
        for place, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if not worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._restart(place, worker)
            elif not self._has_served:
                self._has_served = worker.is_ready(timeout=1)
        self._tick()

    def _restart(self, place: int, worker: Process) -> None:
        how = "did not answer and was killed" if worker.process.is_alive() else _how_it_ended(worker.exitcode)
        self._bury(worker)
        if not self._has_served and worker.exitcode == STARTUP_FAILURE:
            # At first start the next worker would fail in the same way; later the database may only be unavailable.
            logger.error("worker %s can't start; stopping", worker.pid)
            self._failed = True
            self.should_exit.set()
            return
        if worker in self._outdated:
            self._outdated.remove(worker)
        successor = self.processes[place] = self._start()
        self._restarts.inc(1)
        logger.warning("worker %s %s; started worker %s in its place", worker.pid, how, successor.pid)

    def init_processes(self) -> None:
        """Start the first workers."""
        self.processes += [self._start() for _ in range(self.processes_num)]

    def _start(self) -> Process:
        worker = Process(self.config, self.sockets)
        # A closing terminal sends SIGHUP to all processes, which would end a worker before it ignores the signal. It
        # inherits that the signal is blocked, and unblocks it once it ignores it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return worker

    def _bury(self, worker: Process) -> None:
        worker.kill()
        worker.join()
        if worker.pid is not None:
            # Otherwise its gauges would still be added to those of live workers.
            mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

    # --- replacing on SIGHUP ---

    def handle_hup(self) -> None:
        """Replace every worker, each after its successor serves, so that no connection is refused."""
        logger.info("SIGHUP: replacing %d workers, one after another", len(self.processes))
        self._outdated = deque(self.processes)

    def _go_on_replacing(self) -> None:
        if self._successor is None:
            if self._outdated:
                self._successor = self._start()
                self._ready_until = time.monotonic() + _READY_SECONDS
            return
        if self._successor.process.is_alive() and self._successor.is_ready(timeout=1):
            self._take_over(self._successor)
        elif not self._successor.process.is_alive() or time.monotonic() > self._ready_until:
            logger.error("worker %s can't start; keeping the current workers", self._successor.pid)
            self._bury(self._successor)
            self._outdated.clear()
            self._successor = None

    def _take_over(self, successor: Process) -> None:
        self._successor = None
        if not self._outdated:
            # The worker to replace has died meanwhile, and already has a successor.
            self._leave(successor)
            return
        worker = self._outdated.popleft()
        self.processes[self.processes.index(worker)] = successor
        logger.info("worker %s serves in place of worker %s, which drains", successor.pid, worker.pid)
        self._leave(worker)

    def _leave(self, worker: Process) -> None:
        worker.terminate()
        self._leaving.append(worker)

    def _reap(self) -> None:
        for worker in [each for each in self._leaving if not each.process.is_alive()]:
            self._leaving.remove(worker)
            self._bury(worker)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        return f"was ended by signal {-code} ({name})"
    return f"exited with code {code}"


def share_metrics(data_dir: Path) -> None:
    """Aggregate the workers' metrics in an empty folder, so that those of an earlier run are not added."""
    metrics = data_dir / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)
    os.environ[_METRICS] = str(metrics)
