"""The queue of outgoing messages, sent in order within each conversation and retried until their outcome is known."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from messenger.client.errors import ApiError, ClientError
from messenger.schemas.messages import MessageView
from messenger.schemas.types import timestamp

State = Literal["waiting", "sending", "refused"]


class Sending(Protocol):
    """`Client.send`."""

    def __call__(
        self, target_id: int, body: str, *, client_id: str, within: float | None, **options: Any
    ) -> Awaitable[MessageView]: ...


class Outgoing(msgspec.Struct):
    """A message that is queued or was refused. If `state` is `refused`, it was not sent and `error` is the reason."""

    client_id: str
    target_id: int
    body: str
    created_at: str
    options: dict[str, Any] = {}
    state: State = "waiting"
    error: ClientError | None = None


class Outbox:
    """Sends one message at a time in each conversation, so that messages arrive in the order in which they were queued.

    The queue is in memory. To survive a crash, store `outgoing()` and `put` the messages again with the same
    `client_id`; none is sent twice.
    """

    def __init__(
        self, send: Sending, *, on_sent: Callable[[MessageView], None], on_change: Callable[[Outgoing], None]
    ) -> None:
        self._send = send
        self._on_sent = on_sent
        self._on_change = on_change
        self._queues: dict[int, list[Outgoing]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def put(self, target_id: int, body: str, *, client_id: str | None = None, **options: Any) -> Outgoing:
        """Queue a message. `options`: see `Client.send`."""
        at = timestamp(datetime.now(UTC))
        message = Outgoing(client_id or str(uuid.uuid4()), target_id, body, at, options)
        self._queues.setdefault(target_id, []).append(message)
        self._start(target_id)
        return message

    def outgoing(self, target_id: int | None = None) -> list[Outgoing]:
        """The queued and refused messages of one conversation, or of all, in order."""
        if target_id is not None:
            return list(self._queues.get(target_id, ()))
        return [message for queue in self._queues.values() for message in queue]

    def retry(self, message: Outgoing) -> None:
        """Move a refused message to the end of its queue and send it again."""
        queue = self._queues.get(message.target_id, [])
        if message in queue and message.state == "refused":
            queue.remove(message)
            queue.append(message)
            message.state, message.error = "waiting", None
            self._start(message.target_id)

    def drop(self, message: Outgoing) -> None:
        """Discard a refused message."""
        queue = self._queues.get(message.target_id, [])
        if message in queue and message.state == "refused":
            queue.remove(message)
            self._on_change(message)

    async def aclose(self) -> None:
        """Stop sending; a message in transit may still arrive."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, target_id: int) -> None:
        if target_id not in self._tasks:
            self._tasks[target_id] = asyncio.create_task(self._work(target_id))

    async def _work(self, target_id: int) -> None:
        queue = self._queues[target_id]
        try:
            while (message := next((each for each in queue if each.state == "waiting"), None)) is not None:
                await self._deliver(queue, message)
        finally:
            # No `await` since the queue was found empty: a message queued later starts a new task.
            self._tasks.pop(target_id, None)

    async def _deliver(self, queue: list[Outgoing], message: Outgoing) -> None:
        message.state = "sending"
        self._on_change(message)
        try:
            view = await self._send(
                message.target_id, message.body, client_id=message.client_id, within=None, **message.options
            )
        except asyncio.CancelledError:
            message.state = "waiting"
            raise
        except ClientError as error:
            message.state, message.error = "refused", error
            self._on_change(message)
        else:
            queue.remove(message)
            self._on_sent(view)


def refusal_reason(message: Outgoing) -> str:
    """The error code of a refused message, or the error's text."""
    error = message.error
    return error.code if isinstance(error, ApiError) else str(error or "")
