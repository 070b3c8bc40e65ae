"""Pages of long messages are limited in bytes: a page ends before its limit, and the next one begins there."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from messenger.container import Container
from messenger.schemas.messages import MAX_BODY_BYTES, MessageView
from messenger.schemas.realtime import EventFrame
from messenger.testing import Factory, Person

LIMIT = 200
MOST = 1024 * 1024
LONG = "x" * MAX_BODY_BYTES
# More than fit into a page, and fewer than two of them hold.
COUNT = 20
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def _bytes(messages: Sequence[MessageView]) -> int:
    return sum(len((message.body or "").encode()) for message in messages)


@pytest.fixture
async def friends(make: Factory) -> tuple[Person, Person]:
    one, other = await make.friends()
    for _ in range(COUNT):
        await make.message(one, other, LONG)
    return one, other


class TestHistoryBytes:
    async def test_backward_pages_are_bounded_and_complete(
        self, container: Container, friends: tuple[Person, Person]
    ) -> None:
        one, other = friends
        seqs: list[int] = []
        before = None
        for _ in range(3):
            page = await container.services.messages.history(
                one.actor, other.id, before=before, after=None, limit=LIMIT
            )
            assert MOST - MAX_BODY_BYTES < _bytes(page.items) <= MOST or page.next is None
            seqs = [*(message.seq for message in page.items), *seqs]
            before = page.next
            if before is None:
                break
        assert (seqs, before) == (list(range(1, COUNT + 1)), None)

    async def test_forward_pages_are_bounded_and_complete(
        self, container: Container, friends: tuple[Person, Person]
    ) -> None:
        one, other = friends
        seqs: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await container.services.messages.history(one.actor, other.id, before=None, after=after, limit=LIMIT)
            assert 0 < _bytes(page.items) <= MOST
            seqs += [message.seq for message in page.items]
            after = page.next
        assert seqs == list(range(1, COUNT + 1))

    async def test_page_bytes_are_counted_in_utf8(self, container: Container, make: Factory) -> None:
        """A character of four bytes counts four times."""
        one, other = await make.friends()
        for _ in range(COUNT):
            await make.message(one, other, "\N{GRINNING FACE}" * (MAX_BODY_BYTES // 4))
        page = await container.services.messages.history(one.actor, other.id, before=None, after=None, limit=LIMIT)
        assert (_bytes(page.items), page.next) == (MOST, COUNT - MOST // MAX_BODY_BYTES + 1)

    async def test_deleted_messages_count_no_bytes(self, container: Container, friends: tuple[Person, Person]) -> None:
        one, other = friends
        page = await container.services.messages.history(one.actor, other.id, before=None, after=0, limit=LIMIT)
        for message in page.items:
            await container.services.messages.delete(one.actor, message.id, who="everyone")
        whole = await container.services.messages.history(one.actor, other.id, before=None, after=None, limit=LIMIT)
        assert (len(whole.items), whole.next) == (COUNT, None)


class TestSyncBytes:
    async def test_pages_are_bounded_and_complete(self, container: Container, friends: tuple[Person, Person]) -> None:
        _, other = friends
        frames: list[EventFrame] = []
        cursor, more = "e0", True
        while more:
            page = await container.services.sync.sync(other.actor, cursor=cursor, limit=LIMIT)
            assert page.events
            assert _bytes([_message(frame) for frame in page.events if _is_message(frame)]) <= MOST
            frames += page.events
            cursor, more = page.cursor, page.more
        assert [_message(frame).seq for frame in frames if _is_message(frame)] == list(range(1, COUNT + 1))
        assert [frame.cursor for frame in frames] == [f"e{number}" for number in range(1, len(frames) + 1)]


def _is_message(frame: EventFrame) -> bool:
    return frame.event == "message.created"


def _message(frame: EventFrame) -> MessageView:
    data: Any = frame.data
    assert isinstance(data, MessageView)
    return data


class TestConversationBytes:
    async def test_pages_are_bounded_and_complete(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        others = await make.people(COUNT)
        for other in others:
            await make.befriend(other, ada)
            await make.message(other, ada, LONG)
        targets: list[int] = []
        cursor = None
        while True:
            page = await container.services.conversations.list_page(ada.actor, cursor=cursor, limit=LIMIT)
            assert 0 < _bytes([view.last_message for view in page.items if view.last_message]) <= MOST
            targets += [view.target.id for view in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert targets == [other.id for other in reversed(others)]
        # The database sends what fills a page, and the position of the next one.
        async with container.uow.read() as uow:
            rows = await uow.conversations.list_page(ada.actor, before_at=_LATEST, before_id=2**62, limit=LIMIT)
        assert [row.beyond for row in rows] == [False] * (MOST // MAX_BODY_BYTES) + [True]

    async def test_page_with_last_conversation_has_no_next(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        for other in await make.people(MOST // MAX_BODY_BYTES):
            await make.befriend(other, ada)
            await make.message(other, ada, LONG)
        page = await container.services.conversations.list_page(ada.actor, cursor=None, limit=LIMIT)
        assert (len(page.items), page.next) == (MOST // MAX_BODY_BYTES, None)


class TestExportBytes:
    async def test_files_are_bounded_and_complete(self, container: Container, friends: tuple[Person, Person]) -> None:
        one, _ = friends
        with await container.services.exports.archive(one.actor) as file, zipfile.ZipFile(io.BytesIO(file.read())) as z:
            parts = [
                z.read(name).decode().splitlines() for name in sorted(z.namelist()) if name.startswith("messages/")
            ]
        assert len(parts) == 2
        assert [json.loads(line)["seq"] for part in parts for line in part] == list(range(1, COUNT + 1))


class TestStatusPages:
    async def test_pages_follow_each_other(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        others = await make.people(5)
        for other in others:
            await make.befriend(other, ada)
        contacts = container.services.contacts
        ids: list[int] = []
        after, sizes = 0, []
        while True:
            page = await contacts.statuses(ada.actor, after=after, limit=2)
            ids += [status.user_id for status in page.items]
            sizes.append(len(page.items))
            if page.next is None:
                break
            after = int(page.next)
        assert (ids, sizes) == (sorted(other.id for other in others), [2, 2, 1])
        assert [status.user_id for status in (await contacts.statuses(ada.actor)).items] == ids

    async def test_full_page_without_more_has_no_next(self, container: Container, make: Factory) -> None:
        ada, _ = await make.friends()
        page = await container.services.contacts.statuses(ada.actor, limit=1)
        assert (len(page.items), page.next) == (1, None)
