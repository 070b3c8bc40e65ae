"""The memory available to the embedded PostgreSQL, and how much of it is in huge pages."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMORY = Path("/proc/meminfo")
_MAP_HUGETLB = 0x40000
_TOUCH = (
    "import mmap, sys;mmap.mmap(-1, int(sys.argv[1]), mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | int(sys.argv[2]))[0] = 1"
)


def memory() -> int:
    """The memory of the machine, or the container's limit if lower, in bytes."""
    return _bounded(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), _LIMITS)


def buffers() -> int:
    """`shared_buffers` in bytes, a multiple of 1 MB. Pages are allocated on first use."""
    # PostgreSQL's manual recommends a quarter of the memory.
    return min(8192, max(128, memory() // 4 // 2**20)) * 2**20


def shared() -> int:
    """An upper bound of PostgreSQL's shared memory in bytes: buffers, their headers, locks and WAL buffers."""
    return buffers() * 11 // 10 + 32 * 2**20


def huge_pages() -> int:
    """The bytes available in huge pages (Linux hugetlb); 0 unless the machine's operator has reserved some."""
    try:
        told = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        page = int(told["Hugepagesize"].split()[0]) * 1024
        free = (int(told["HugePages_Free"]) - int(told["HugePages_Rsvd"])) * page
    except (OSError, KeyError, ValueError):
        return 0
    if free < page:
        return 0
    # A limit that this process cannot read causes a bus error on first use: test it in another process.
    touch = [sys.executable, "-I", "-S", "-c", _TOUCH, str(page), str(_MAP_HUGETLB)]
    if subprocess.run(touch, check=False, stderr=subprocess.DEVNULL).returncode:  # noqa: S603
        return 0
    return _bounded(free, _limits_of_pages(page))


def _limits_of_pages(size: int) -> tuple[Path, Path]:
    """The files with the limits for this page size, such as `hugetlb.2MB.max`."""
    unit, name = next(each for each in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")) if size >= each[0])
    group, which = Path("/sys/fs/cgroup"), f"hugetlb.{size // unit}{name}"
    return group / f"{which}.max", group / "hugetlb" / f"{which}.limit_in_bytes"


def _bounded(amount: int, limits: tuple[Path, ...]) -> int:
    for limit in limits:
        # The file contains `max` if there is no limit.
        with contextlib.suppress(OSError, ValueError):
            amount = min(amount, int(limit.read_text()))
    return amount
