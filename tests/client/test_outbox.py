"""The outbox sends in order, for as long as necessary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from messenger.client import ApiError, Outbox, Outgoing, Unreachable
from messenger.client.outbox import refusal_reason
from messenger.schemas.messages import MessageView
from tests.client.wire import THEM, message_data

OTHER = 33333333


class Line:
    """`Client.send`, answered by the test."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[dict[str, Any], asyncio.Future[MessageView]]] = asyncio.Queue()

    async def send(self, target_id: int, body: str, **options: Any) -> MessageView:
        future: asyncio.Future[MessageView] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(({"target_id": target_id, "body": body, **options}, future))
        return await future


class Post:
    def __init__(self) -> None:
        self.line = Line()
        self.sent: list[str | None] = []
        self.done: asyncio.Queue[None] = asyncio.Queue()
        self.changes: list[str] = []
        self.outbox = Outbox(self.line.send, on_sent=self._on_sent, on_change=self._on_change)

    def _on_sent(self, message: MessageView) -> None:
        self.sent.append(message.body)
        self.done.put_nowait(None)

    def _on_change(self, message: Outgoing) -> None:
        self.changes.append(f"{message.body} {message.state}")
        if message.state == "refused":
            self.done.put_nowait(None)

    async def answer(self) -> dict[str, Any]:
        asked, future = await self.line.asked.get()
        data = message_data(1, body=asked["body"], client_id=asked["client_id"])
        future.set_result(msgspec.convert(data, MessageView))
        await self.done.get()
        return asked

    async def refuse(self, error: Exception) -> None:
        _, future = await self.line.asked.get()
        future.set_exception(error)
        await self.done.get()


@pytest_asyncio.fixture(loop_scope="session")
async def post() -> AsyncIterator[Post]:
    post = Post()
    yield post
    await post.outbox.aclose()


async def test_messages_of_conversation_are_sent_in_order(post: Post) -> None:
    for body in ("one", "two", "three"):
        post.outbox.put(THEM, body)
    assert [message.body for message in post.outbox.outgoing(THEM)] == ["one", "two", "three"]
    await post.answer()
    assert post.line.asked.qsize() <= 1
    await post.answer()
    asked = await post.answer()
    assert asked["within"] is None
    assert post.sent == ["one", "two", "three"]
    assert post.outbox.outgoing() == []


async def test_conversations_do_not_wait_for_each_other(post: Post) -> None:
    post.outbox.put(THEM, "one")
    post.outbox.put(OTHER, "two", reply_to="x")
    first, _ = await post.line.asked.get()
    second, _ = await post.line.asked.get()
    assert {first["body"], second["body"]} == {"one", "two"}
    assert second["reply_to"] == "x"


async def test_refused_message_stays_and_next_is_sent(post: Post) -> None:
    refused = post.outbox.put(THEM, "one")
    post.outbox.put(THEM, "two")
    await post.refuse(ApiError(403, "not_a_contact", "no"))
    await post.answer()
    assert post.sent == ["two"]
    assert post.outbox.outgoing() == [refused]
    assert refusal_reason(refused) == "not_a_contact"


async def test_refused_message_is_retried_with_same_client_id(post: Post) -> None:
    message = post.outbox.put(THEM, "one", client_id="mine")
    await post.refuse(Unreachable("no"))
    post.outbox.retry(message)
    asked = await post.answer()
    assert asked["client_id"] == "mine"
    assert post.sent == ["one"]


async def test_refused_message_can_be_dropped(post: Post) -> None:
    message = post.outbox.put(THEM, "one")
    await post.refuse(ApiError(404, "peer_not_found", "no"))
    post.outbox.drop(message)
    assert post.outbox.outgoing() == []


async def test_message_in_flight_waits_again_after_close(post: Post) -> None:
    message = post.outbox.put(THEM, "one")
    await post.line.asked.get()
    await post.outbox.aclose()
    assert message.state == "waiting"
    assert post.outbox.outgoing() == [message]
