"""A process that decodes images for the server: reads jobs from stdin, writes answers to stdout.

Started by `worker_process` as `python -I -m messenger.media.worker MEMORY MAX_PIXELS CPU JOBS PARENT`.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from messenger.media.frames import Done, Job, Ready, Refused, decode_job, encode, length_of
from messenger.media.pictures import bound_pixels, render
from messenger.media.stills import TooManyPixels

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 16


class Limits(msgspec.Struct, frozen=True):
    """Limits set by the server: address space in bytes, pixels, CPU seconds per job, jobs; and its process id."""

    memory: int
    max_pixels: int
    cpu: int
    jobs: int
    parent: int


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, or now if it has ended already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def confine(limits: Limits) -> None:
    """Drop the rights that decoding does not need: memory, files, new processes, core dumps."""
    if sys.platform != "linux":
        return
    # If memory runs out, the kernel should kill this process rather than the server or its database.
    Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_CPU, limits.cpu * (limits.jobs + 1))
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(which: int, value: int) -> None:
    """Lower a soft and hard limit; a hard limit that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _renew_cpu(seconds: int) -> None:
    """Allow `seconds` more of CPU time; beyond that, SIGXCPU ends this process."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def answer(job: Job, max_pixels: int) -> Done | Refused:
    """The rendered picture, or the reason why it is refused."""
    try:
        picture = render(job.data, max_pixels)
    except TooManyPixels:
        return Refused(job.number, "too_large")
    except MemoryError:
        return Refused(job.number, "out_of_memory")
    except Exception as error:
        # Pillow raises errors of many types for broken files, without a common base class.
        return Refused(job.number, "too_large" if type(error).__name__ == "DecompressionBombError" else "unsupported")
    return Done(job.number, *picture)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Duplicates of the pipes; fds 0 to 2 become /dev/null, so that no library writes into a frame."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return jobs, answers


def serve(jobs: BinaryIO, answers: BinaryIO, limits: Limits) -> None:
    """Process jobs until the server closes the pipe."""
    answers.write(encode(Ready()))
    answers.flush()
    while head := jobs.read(4):
        _renew_cpu(limits.cpu)
        # Keep no reference to the job: its 10 MB would stay in memory until the next one.
        answers.write(encode(answer(decode_job(jobs.read(length_of(head))), limits.max_pixels)))
        answers.flush()


def main() -> None:
    """Sandbox this process, then serve."""
    # Signals reach the whole group, but the server still drains its requests; this process ends with the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    limits = Limits(*map(int, sys.argv[1:]))
    die_with_parent(limits.parent)
    jobs, answers = _private_pipes()
    bound_pixels(limits.max_pixels)
    confine(limits)
    serve(jobs, answers, limits)


if __name__ == "__main__":
    main()
