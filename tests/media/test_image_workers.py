from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from messenger.errors import ImageTooLarge, Overloaded, UnsupportedImage
from messenger.media.processor import Avatar, ImageProcessor
from tests.support import images

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")
MIB = 1024 * 1024


@pytest.fixture
async def single() -> AsyncIterator[ImageProcessor]:
    """One started worker, and room for one waiting request."""
    processor = ImageProcessor(workers=1, queue=1, timeout=60)
    await processor.avatar(images.encoded(images.plain()))
    yield processor
    await processor.close()


def only_pid(processor: ImageProcessor) -> int:
    (pid,) = processor.worker_pids
    return pid


async def begun(processor: ImageProcessor, data: bytes) -> asyncio.Task[Avatar]:
    """A request that has advanced as far as possible without its worker."""
    task = asyncio.create_task(processor.avatar(data))
    await asyncio.sleep(0)
    return task


def kernel_on(pid: int, file: str, line: str = "") -> str:
    """A line of /proc about a process: the first one in the file that starts with this word."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(text for text in lines if text.startswith(line))


def open_files(pid: int) -> set[str]:
    """The open files of a process, without inode numbers."""
    return {os.readlink(entry).partition(":")[0] for entry in Path(f"/proc/{pid}/fd").iterdir()}


class TestWorker:
    async def test_images_are_processed_in_separate_process(self, single: ImageProcessor) -> None:
        assert only_pid(single) != os.getpid()

    async def test_no_worker_starts_before_first_image(self) -> None:
        assert not ImageProcessor().worker_pids

    async def test_file_of_no_known_format_starts_no_worker(self) -> None:
        processor = ImageProcessor()
        with pytest.raises(UnsupportedImage):
            await processor.avatar(b"<svg/>")
        assert not processor.worker_pids

    async def test_workers_never_exceed_maximum(self) -> None:
        processor = ImageProcessor(workers=2, timeout=60)
        data = images.encoded(images.noise())
        seen: set[int] = set()
        tasks = [asyncio.create_task(processor.avatar(data)) for _ in range(8)]
        for task in asyncio.as_completed(tasks):
            await task
            seen |= processor.worker_pids
        await processor.close()
        assert len(seen) == 2

    async def test_worker_is_recycled(self) -> None:
        processor = ImageProcessor(workers=1, images_per_worker=2, timeout=60)
        data = images.encoded(images.plain())
        await processor.avatar(data)
        first = only_pid(processor)
        await processor.avatar(data)
        await processor.avatar(data)
        third = only_pid(processor)
        await processor.close()
        assert third != first

    async def test_killed_worker_refuses_current_image(self, single: ImageProcessor) -> None:
        os.kill(only_pid(single), signal.SIGSTOP)
        task = await begun(single, images.encoded(images.plain()))
        os.kill(only_pid(single), signal.SIGKILL)
        with pytest.raises(UnsupportedImage):
            await task

    async def test_killed_worker_is_replaced(self, single: ImageProcessor) -> None:
        os.kill(only_pid(single), signal.SIGSTOP)
        task = await begun(single, images.encoded(images.plain()))
        os.kill(only_pid(single), signal.SIGKILL)
        await asyncio.wait([task])
        task.exception()
        assert (await single.avatar(images.encoded(images.plain()))).width == 64

    async def test_image_after_cancelled_request_gets_own_result(self, single: ImageProcessor) -> None:
        task = await begun(single, images.encoded(images.plain(images.RED)))
        task.cancel()
        await asyncio.wait([task])
        avatar = await single.avatar(images.encoded(images.plain(images.BLUE)))
        assert images.is_near(images.decoded(avatar.image), (32, 32), images.BLUE)

    async def test_cancelled_request_ends_worker(self, single: ImageProcessor) -> None:
        before = only_pid(single)
        os.kill(before, signal.SIGSTOP)
        task = await begun(single, images.encoded(images.plain()))
        task.cancel()
        await asyncio.wait([task])
        await single.avatar(images.encoded(images.plain()))
        assert only_pid(single) != before

    async def test_missed_deadline_raises_overloaded(self) -> None:
        processor = ImageProcessor(timeout=0.001)
        with pytest.raises(Overloaded):
            await processor.avatar(images.encoded(images.plain()))
        await processor.close()

    async def test_full_queue_raises_overloaded(self, single: ImageProcessor) -> None:
        os.kill(only_pid(single), signal.SIGSTOP)
        data = images.encoded(images.plain())
        accepted = [await begun(single, data), await begun(single, data)]
        refused = await begun(single, data)
        os.kill(only_pid(single), signal.SIGCONT)
        await asyncio.gather(*accepted)
        with pytest.raises(Overloaded):
            await refused

    async def test_closed_processor_raises_overloaded(self, single: ImageProcessor) -> None:
        await single.close()
        with pytest.raises(Overloaded):
            await single.avatar(images.encoded(images.plain()))

    async def test_close_leaves_no_worker(self, single: ImageProcessor) -> None:
        await single.close()
        assert not single.worker_pids


@linux_only
class TestConfinement:
    async def test_image_beyond_the_memory_limit_is_refused(self) -> None:
        processor = ImageProcessor(memory_limit=96 * MIB, timeout=60)
        with pytest.raises(ImageTooLarge):
            await processor.avatar(images.encoded(images.plain(size=(4000, 4000)), compress_level=1))
        await processor.close()

    async def test_image_after_memory_limit_failure_is_accepted(self) -> None:
        processor = ImageProcessor(memory_limit=96 * MIB, workers=1, timeout=60)
        large = images.encoded(images.plain(size=(4000, 4000)), compress_level=1)
        await asyncio.gather(processor.avatar(large), return_exceptions=True)
        avatar = await processor.avatar(images.encoded(images.plain()))
        await processor.close()
        assert avatar.width == 64

    async def test_bombs_cost_little_memory(self, single: ImageProcessor) -> None:
        for side in (30_000, 12_000, 5_000):
            await asyncio.gather(single.avatar(images.bomb_png(side)), return_exceptions=True)
        assert int(kernel_on(only_pid(single), "status", "VmHWM").split()[1]) * 1024 < 300 * MIB

    async def test_address_space_is_limited(self, single: ImageProcessor) -> None:
        assert str(512 * MIB) in kernel_on(only_pid(single), "limits", "Max address space")

    async def test_worker_environment_contains_no_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MESSENGER_SECRET_KEY", "do-not-tell")
        processor = ImageProcessor(timeout=60)
        await processor.avatar(images.encoded(images.plain()))
        environment = kernel_on(only_pid(processor), "environ")
        await processor.close()
        assert "do-not-tell" not in environment

    async def test_worker_inherits_no_open_files(self, single: ImageProcessor) -> None:
        assert open_files(only_pid(single)) <= {"/dev/null", "socket", "pipe"}

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_worker_dies_with_a_killed_server(self, loop: str) -> None:
        server = subprocess.run(
            [sys.executable, "-c", _SERVER, loop], input=images.encoded(images.plain()), stdout=subprocess.PIPE
        )
        assert server.returncode == -signal.SIGKILL
        assert _is_gone(int(server.stdout))


# Its worker is stopped, so that it cannot end by itself at the end of its input.
_SERVER = """
import asyncio, os, signal, sys, uvloop
from messenger.media.processor import ImageProcessor

async def main():
    processor = ImageProcessor(timeout=60)
    await processor.avatar(sys.stdin.buffer.read())
    (pid,) = processor.worker_pids
    print(pid, flush=True)
    os.kill(pid, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGKILL)

{"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].run(main())
"""


def _is_gone(pid: int) -> bool:
    """Whether the process ends within a minute."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 60)[0])
    finally:
        os.close(descriptor)
