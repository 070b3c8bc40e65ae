"""A process that decodes images for the server: jobs come on stdin, answers go to stdout, nothing else is open.

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
    """What the server allows: bytes of address space, pixels, CPU seconds a job, jobs; and who the server is."""

    memory: int
    max_pixels: int
    cpu: int
    jobs: int
    parent: int


def die_with_parent(parent: int) -> None:
    """Be killed when the server's thread that started this process ends; at once when it has ended already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def confine(limits: Limits) -> None:
    """Give up what decoding does not need: memory, files, new processes, core dumps."""
    if sys.platform != "linux":
        return
    # When the machine runs out of memory, the kernel should take this process and not the server or its database.
    Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_CPU, limits.cpu * (limits.jobs + 1))
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(which: int, value: int) -> None:
    """Set a soft and hard limit, or keep the hard limit that is lower still."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _renew_cpu(seconds: int) -> None:
    """Allow this process `seconds` of CPU time from now on; beyond that it is killed by SIGXCPU."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def answer(job: Job, max_pixels: int) -> Done | Refused:
    """Render the job's picture, or say why not."""
    try:
        picture = render(job.data, max_pixels)
    except TooManyPixels:
        return Refused(job.number, "too_large")
    except MemoryError:
        return Refused(job.number, "out_of_memory")
    except Exception as error:
        # Pillow's parsers raise whatever a broken file leads them to; its bomb error is no public base class's.
        return Refused(job.number, "too_large" if type(error).__name__ == "DecompressionBombError" else "unsupported")
    return Done(job.number, *picture)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the server; fds 0 to 2 become /dev/null, so that no library can write into a frame."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return jobs, answers


def serve(jobs: BinaryIO, answers: BinaryIO, limits: Limits) -> None:
    """Answer one job after the other until the server closes the pipe."""
    answers.write(encode(Ready()))
    answers.flush()
    while head := jobs.read(4):
        _renew_cpu(limits.cpu)
        # No name holds the job: ten megabytes would stay until the next one.
        answers.write(encode(answer(decode_job(jobs.read(length_of(head))), limits.max_pixels)))
        answers.flush()


def main() -> None:
    """Confine this process, then serve."""
    # The server drains its requests after Ctrl-C or SIGTERM, which reach the whole group; this ends with the pipe.
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
