"""History: pages of a conversation, in both directions, without overlaps or gaps."""

from __future__ import annotations

from typing import Any

import pytest

from messenger.actor import Bearer
from messenger.clock import FixedClock
from messenger.container import Container
from messenger.errors import PeerNotFound, Unauthenticated, ValidationFailed
from messenger.schemas.messages import ConversationPatch, HistoryView, MessagePatch, MessageView
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person

COUNT = 7


@pytest.fixture
async def talk(make: Factory) -> tuple[Person, Person, list[MessageView]]:
    """Seven messages, sent in turn."""
    ada, bob = await make.friends()
    sides = ((ada, bob), (bob, ada))
    return ada, bob, [await make.message(*sides[n % 2], f"Message {n + 1}") for n in range(COUNT)]


async def page(
    container: Container, person: Person, peer: int, *, before: int | None = None, after: int | None = None, limit: int
) -> HistoryView:
    return await container.services.messages.history(person.actor, peer, before=before, after=after, limit=limit)


def seqs(view: HistoryView) -> list[int]:
    return [item.seq for item in view.items]


class TestHistoryPage:
    @pytest.mark.parametrize(
        ("options", "expected", "following"),
        [
            ({"limit": 3}, [5, 6, 7], 5),
            ({"limit": 7}, [1, 2, 3, 4, 5, 6, 7], None),
            ({"limit": 9}, [1, 2, 3, 4, 5, 6, 7], None),
            ({"before": 5, "limit": 3}, [2, 3, 4], 2),
            ({"before": 4, "limit": 3}, [1, 2, 3], None),
            ({"before": 1, "limit": 3}, [], None),
            ({"before": 0, "limit": 3}, [], None),
            ({"before": 2**53 - 1, "limit": 3}, [5, 6, 7], 5),
            ({"after": 0, "limit": 3}, [1, 2, 3], 3),
            ({"after": 3, "limit": 3}, [4, 5, 6], 6),
            ({"after": 4, "limit": 3}, [5, 6, 7], None),
            ({"after": 7, "limit": 3}, [], None),
            ({"after": 2**53 - 1, "limit": 3}, [], None),
            ({"limit": 1}, [7], 7),
        ],
        ids=str,
    )
    async def test_page_contains_requested_range(
        self, container: Container, talk: Any, options: Any, expected: list[int], following: int | None
    ) -> None:
        ada, bob, _ = talk
        view = await page(container, ada, bob.id, **options)
        assert (seqs(view), view.next, view.last_seq) == (expected, following, COUNT)

    async def test_page_contains_sent_messages(self, container: Container, talk: Any) -> None:
        ada, bob, sent = talk
        seen = (await page(container, ada, bob.id, limit=50)).items
        assert [(item.id, item.body, item.sender_id) for item in seen] == [
            (item.id, item.body, item.sender_id) for item in sent
        ]
        assert {item.target_id for item in seen} == {bob.id}

    async def test_both_sides_see_the_same(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        mine, theirs = await page(container, ada, bob.id, limit=50), await page(container, bob, ada.id, limit=50)
        assert [(item.id, item.seq) for item in mine.items] == [(item.id, item.seq) for item in theirs.items]

    async def test_before_and_after_together_are_refused(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        with pytest.raises(ValidationFailed) as caught:
            await page(container, ada, bob.id, before=5, after=1, limit=3)
        assert [fault.field for fault in caught.value.errors] == ["after"]

    async def test_page_requested_by_token_is_same(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        by_token = await container.services.messages.history(
            Bearer(token_hash(ada.access_token)), bob.id, before=None, after=None, limit=3
        )
        assert by_token == await page(container, ada, bob.id, limit=3)

    async def test_signed_out_device_is_refused_history(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        await container.services.devices.logout(ada.actor)
        with pytest.raises(Unauthenticated):
            await page(container, ada, bob.id, limit=3)


class TestHistoryPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    @pytest.mark.parametrize("way", ["before", "after"])
    async def test_history_pages_are_contiguous_without_overlap(
        self, container: Container, talk: Any, way: str, limit: int
    ) -> None:
        ada, bob, _ = talk
        pages, at = [], None if way == "before" else 0
        while True:
            options: Any = {way: at}
            view = await page(container, ada, bob.id, limit=limit, **options)
            pages.append(seqs(view))
            at = view.next
            if at is None:
                break
        ordered = pages[::-1] if way == "before" else pages
        assert [seq for part in ordered for seq in part] == list(range(1, COUNT + 1))
        assert all(part for part in pages)

    async def test_new_messages_do_not_shift_pages(self, container: Container, talk: Any, make: Factory) -> None:
        ada, bob, _ = talk
        first = await page(container, ada, bob.id, limit=3)
        await make.message(bob, ada)
        second = await page(container, ada, bob.id, before=first.next, limit=3)
        assert (seqs(first), seqs(second), second.last_seq) == ([5, 6, 7], [2, 3, 4], COUNT + 1)


class TestMessageContent:
    async def test_deleted_message_keeps_position_in_history(self, container: Container, talk: Any) -> None:
        ada, bob, sent = talk
        await container.services.messages.delete(ada.actor, sent[2].id, who="everyone")
        for person, peer in ((ada, bob), (bob, ada)):
            view = await page(container, person, peer.id, limit=50)
            assert [item.body for item in view.items].count(None) == 1
            assert view.items[2].body is None
            assert view.items[2].deleted_at is not None

    async def test_hidden_message_is_empty_only_for_hiding_user(self, container: Container, talk: Any) -> None:
        ada, bob, sent = talk
        await container.services.messages.delete(bob.actor, sent[2].id, who="me")
        assert (await page(container, bob, ada.id, limit=50)).items[2].body is None
        assert (await page(container, ada, bob.id, limit=50)).items[2].body == "Message 3"

    async def test_edited_message_shows_current_text(self, container: Container, talk: Any) -> None:
        ada, bob, sent = talk
        edited = await container.services.messages.edit(ada.actor, sent[0].id, MessagePatch(body="Changed"))
        assert (await page(container, ada, bob.id, limit=50)).items[0] == edited

    async def test_expired_message_is_empty(
        self, container: Container, talk: Any, make: Factory, clock: FixedClock
    ) -> None:
        ada, bob, _ = talk
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(expire_after=60))
        await make.message(ada, bob)
        clock.advance(seconds=60)
        items = (await page(container, bob, ada.id, limit=2)).items
        assert [item.body for item in items] == ["Message 7", None]
        assert items[1].deleted_at == items[1].expires_at is not None


class TestHistoryPeer:
    @pytest.mark.parametrize("after", [None, 0])
    async def test_history_with_silent_contact_is_empty(
        self, container: Container, make: Factory, after: int | None
    ) -> None:
        ada, bob = await make.friends()
        assert await page(container, ada, bob.id, after=after, limit=3) == HistoryView([], None, 0, None, [])

    async def test_history_of_opened_conversation_is_empty(self, container: Container, make: Factory) -> None:
        ada, bob = await make.friends()
        await container.services.conversations.update(ada.actor, bob.id, ConversationPatch(pinned=True))
        assert await page(container, bob, ada.id, limit=3) == HistoryView([], None, 0, None, [])

    async def test_history_with_stranger_is_empty(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        assert await page(container, ada, eve.id, limit=3) == HistoryView([], None, 0, None, [])

    async def test_stranger_sees_no_messages_of_other_users(
        self, container: Container, talk: Any, make: Factory
    ) -> None:
        ada, bob, _ = talk
        eve = await make.person()
        for peer in (ada, bob):
            assert await page(container, eve, peer.id, limit=3) == HistoryView([], None, 0, None, [])

    async def test_blocker_looks_like_stranger(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        await container.services.contacts.block(eve.actor, ada.id)
        assert await page(container, ada, eve.id, limit=3) == HistoryView([], None, 0, None, [])

    async def test_ended_contact_keeps_history(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        await container.services.contacts.block(bob.actor, ada.id)
        assert seqs(await page(container, ada, bob.id, limit=3)) == [5, 6, 7]

    async def test_history_with_unknown_user_is_not_found(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        for peer in (7, 2**53 - 1):
            with pytest.raises(PeerNotFound):
                await page(container, ada, peer, limit=3)

    async def test_history_with_self_is_not_found(self, container: Container, make: Factory) -> None:
        ada = await make.person()
        with pytest.raises(PeerNotFound):
            await page(container, ada, ada.id, limit=3)

    async def test_history_with_erased_stranger_is_not_found(self, container: Container, make: Factory) -> None:
        ada, eve = await make.people(2)
        await container.services.accounts.erase(eve.actor, eve.password)
        with pytest.raises(PeerNotFound):
            await page(container, ada, eve.id, limit=3)

    async def test_erased_contact_keeps_history(self, container: Container, talk: Any) -> None:
        ada, bob, _ = talk
        await container.services.accounts.erase(bob.actor, bob.password)
        assert [item.body for item in (await page(container, ada, bob.id, limit=2)).items] == ["Message 6", "Message 7"]
