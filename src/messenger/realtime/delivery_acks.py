"""Collects delivery acknowledgements of devices, and writes them in batches."""

from __future__ import annotations

import asyncio
import itertools
import logging

from messenger.errors import MessengerError
from messenger.realtime.interfaces import DeliveryAck, Streams

logger = logging.getLogger(__name__)

_BATCH_SECONDS = 0.1
_BATCH_USERS = 200
_RETRY_SECONDS = 1.0


class DeliveryAcks:
    """Collects the positions that devices have acknowledged, and advances delivered receipts in batches."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waiting: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None

    def ack(self, user_id: int, position: int) -> None:
        """A device of this user has received all events up to this position.

        The first acknowledgement is written at once; those that follow are written in batches.
        """
        self._waiting[user_id] = max(position, self._waiting.get(user_id, 0))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """Write pending acknowledgements for up to two seconds; called before the process exits."""
        if self._task is not None:
            task = self._task
            await asyncio.wait([task], timeout=2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                users = sorted(itertools.islice(self._waiting, _BATCH_USERS))
                await self._write([DeliveryAck(user, self._waiting.pop(user)) for user in users])
                await asyncio.sleep(_BATCH_SECONDS)
        finally:
            self._task = None

    async def _write(self, acks: list[DeliveryAck]) -> None:
        try:
            await self._streams.record_delivered(acks)
            return
        except MessengerError as error:
            logger.warning("delivered receipts could not be written; retrying: %s", error.code)
        except Exception:
            logger.exception("delivered receipts could not be written; retrying")
        # Devices may not acknowledge these positions again, so they are kept. Positions are absolute, so a later one is
        # not undone. They are queued behind the others, so that one that always fails only delays its own batch.
        for each in acks:
            self._waiting[each.user_id] = max(each.position, self._waiting.get(each.user_id, 0))
        await asyncio.sleep(_RETRY_SECONDS)
