"""Makes avatars of uploaded files in worker processes, whose memory, time and number are bounded."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import math

import msgspec

from messenger.errors import ImageTooLarge, Overloaded, UnsupportedImage
from messenger.media.frames import Done, Refused
from messenger.media.worker_process import WorkerDied, WorkerProcess

_log = logging.getLogger(__name__)

_JPEG, _PNG, _GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")


class Avatar(msgspec.Struct, frozen=True):
    """A square picture as WebP in two sizes; `key` is the SHA-256 of `image` in hex, `placeholder` base64."""

    key: str
    image: bytes
    thumb: bytes
    width: int
    height: int
    placeholder: str


class ImageProcessor:
    """Decodes up to `workers` images at a time, each in `memory_limit` bytes; up to `queue` others wait."""

    def __init__(
        self,
        *,
        workers: int = 2,
        timeout: float = 10.0,
        memory_limit: int = 512 * 1024 * 1024,
        max_pixels: int = 25_000_000,
        queue: int = 64,
        images_per_worker: int = 100,
    ) -> None:
        self._slots = asyncio.Semaphore(workers)
        self._timeout = timeout
        self._memory_limit = memory_limit
        self._max_pixels = max_pixels
        self._queue = queue
        self._images_per_worker = images_per_worker
        self._waiting = 0
        self._closed = False
        self._idle: list[WorkerProcess] = []
        self._workers: set[WorkerProcess] = set()

    @property
    def worker_pids(self) -> frozenset[int]:
        """The ids of the running worker processes."""
        return frozenset(worker.pid for worker in self._workers if worker.is_alive)

    async def avatar(self, data: bytes) -> Avatar:
        """Make an avatar of a file. Raises UnsupportedImage, ImageTooLarge, or Overloaded if it takes too long."""
        if not _may_be_an_image(data):
            raise UnsupportedImage
        try:
            async with asyncio.timeout(self._timeout):
                await self._acquire_slot()
                try:
                    answer = await self._ask(data)
                finally:
                    self._slots.release()
        except TimeoutError:
            raise Overloaded from None
        if isinstance(answer, Refused):
            raise UnsupportedImage if answer.reason == "unsupported" else ImageTooLarge
        return _avatar(answer)

    async def close(self) -> None:
        """End all workers and wait for their exit; pending requests are refused."""
        self._closed = True
        workers = list(self._workers)
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(worker.exited for worker in workers))

    async def _acquire_slot(self) -> None:
        if self._slots.locked() and self._waiting >= self._queue:
            raise Overloaded
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def _ask(self, data: bytes) -> Done | Refused:
        """The answer of a worker. A worker whose answer was not received gets no other job."""
        worker = self._take_idle() or await self._start()
        try:
            answer = await worker.ask(data)
        except WorkerDied as death:
            worker.kill()
            raise self._refusal(death) from None
        except BaseException:
            worker.kill()
            raise
        if self._is_spent(worker, answer):
            worker.kill()
        else:
            self._idle.append(worker)
        return answer

    def _take_idle(self) -> WorkerProcess | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
        return None

    async def _start(self) -> WorkerProcess:
        if self._closed:
            raise Overloaded
        worker = WorkerProcess()
        self._workers.add(worker)
        worker.exited.add_done_callback(lambda _: self._workers.discard(worker))
        try:
            await worker.start(
                memory=self._memory_limit,
                max_pixels=self._max_pixels,
                # Less than the timeout, so that an endless image is refused permanently, not with "try again".
                cpu=max(1, math.floor(self._timeout * 0.8)),
                jobs=self._images_per_worker,
            )
        except (OSError, WorkerDied) as error:
            _log.error("an image worker could not be started: %s", error)
            raise Overloaded from None
        return worker

    def _is_spent(self, worker: WorkerProcess, answer: Done | Refused) -> bool:
        starved = isinstance(answer, Refused) and answer.reason == "out_of_memory"
        return starved or self._closed or worker.served >= self._images_per_worker

    def _refusal(self, death: WorkerDied) -> ImageTooLarge | UnsupportedImage | Overloaded:
        """The error for an image on which a worker died."""
        if self._closed:
            return Overloaded()
        _log.warning("an image was refused: %s", death)
        return ImageTooLarge() if death.used_up_its_time else UnsupportedImage()


def _may_be_an_image(data: bytes) -> bool:
    """Whether the file begins like one of the four formats; others need no worker."""
    return data.startswith((_JPEG, _PNG, *_GIF)) or _is_webp(data)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _avatar(done: Done) -> Avatar:
    if not (_is_webp(done.image) and _is_webp(done.thumb)):
        # A hostile file may have compromised the worker: check its answer, which is served to other users.
        raise UnsupportedImage
    return Avatar(
        key=hashlib.sha256(done.image).hexdigest(),
        image=done.image,
        thumb=done.thumb,
        width=done.side,
        height=done.side,
        placeholder=base64.b64encode(done.placeholder).decode(),
    )
