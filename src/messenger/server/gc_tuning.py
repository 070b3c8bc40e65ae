"""Garbage collection for a server that holds very much for very long."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

THRESHOLDS = (10_000, 5, 40)
"""Objects between two looks at the young ones, and how many looks at a generation are between two at the next.

Python's own are (700, 10, 10). Ten thousand sockets are a million objects: with those, half of the CPU of connecting
them went into looking, and the event loop stood still for a second at a time. A look at 50,000 objects takes some ten
milliseconds. Garbage that has grown old is found when two million objects have been made that are still there.
"""


@contextlib.contextmanager
def tuned_gc() -> Iterator[None]:
    """For as long as a worker serves: what it was built from is not looked at any more, and the rest less often.

    That is safe where what comes and goes all the time (a request, a socket, a unit of work) holds no circle of
    references when it ends: Python frees it at once, and nothing grows until the next look. Tests hold us to that.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
