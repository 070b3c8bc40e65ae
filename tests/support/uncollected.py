"""Without garbage collection: freed objects were released by all their references."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection within the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
