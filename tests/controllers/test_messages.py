"""Messages, history, conversations, receipts over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from messenger.testing import Factory, Person
from tests.controllers._shapes import CONVERSATION, HISTORY, MESSAGE, PEER, is_peer_id, is_time, is_uuid7
from tests.support.http import assert_problem


def draft(to: Person, **more: Any) -> dict[str, Any]:
    """A body for `/messages`."""
    return {"target_id": to.id, "client_id": "c1", "body": "Hello", **more}


class TestSendMessage:
    async def test_send_is_201_with_documented_keys(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.post("/messages", headers=ada.headers, json=draft(bob))
        assert (answer.status_code, set(answer.json())) == (201, MESSAGE)

    async def test_message_ids_and_times_have_documented_format(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        message = (await client.post("/messages", headers=ada.headers, json=draft(bob))).json()
        assert is_uuid7(message["id"])
        assert is_uuid7(message["sender_device_id"])
        assert is_peer_id(message["sender_id"])
        assert is_time(message["created_at"])

    async def test_inapplicable_fields_are_null(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        message = (await client.post("/messages", headers=ada.headers, json=draft(bob))).json()
        absent = ("envelopes", "reply_to", "forwarded_from", "edited_at", "deleted_at", "expires_at")
        assert [message[name] for name in absent] == [None] * len(absent)

    async def test_target_id_is_peer_of_reader(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        sent = (await client.post("/messages", headers=ada.headers, json=draft(bob))).json()
        read = (await client.get(f"/messages/{sent['id']}", headers=bob.headers)).json()
        assert (sent["target_id"], read) == (bob.id, {**sent, "target_id": ada.id})

    async def test_same_client_id_is_200_with_the_first_message(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        first = await client.post("/messages", headers=ada.headers, json=draft(bob))
        again = await client.post("/messages", headers=ada.headers, json=draft(bob))
        assert (again.status_code, again.json()) == (200, first.json())

    async def test_same_client_id_with_other_content_is_409(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        await client.post("/messages", headers=ada.headers, json=draft(bob))
        answer = await client.post("/messages", headers=ada.headers, json=draft(bob, body="Other"))
        assert_problem(answer, 409, "client_id_reused")

    async def test_send_to_stranger_is_403(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        answer = await client.post("/messages", headers=ada.headers, json=draft(await make.person()))
        assert_problem(answer, 403, "not_a_contact")

    async def test_body_of_64_kib_is_sent(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.post("/messages", headers=ada.headers, json=draft(bob, body="é" * 32768))
        assert answer.status_code == 201

    @pytest.mark.parametrize("body", ["x" * 65537, "é" * 32769])
    async def test_larger_body_is_413(self, client: httpx.AsyncClient, ada: Person, bob: Person, body: str) -> None:
        answer = await client.post("/messages", headers=ada.headers, json=draft(bob, body=body))
        assert_problem(answer, 413, "message_too_large")

    @pytest.mark.parametrize("body", ["x" * 131073, "x" * 500_000])
    async def test_very_much_larger_body_is_413(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, body: str
    ) -> None:
        answer = await client.post("/messages", headers=ada.headers, json=draft(bob, body=body))
        assert_problem(answer, 413, "message_too_large")

    async def test_refused_message_is_not_stored_or_streamed(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        await client.post("/messages", headers=ada.headers, json=draft(bob, body="x" * 65537))
        history = (await client.get(f"/history/{bob.id}", headers=ada.headers)).json()
        assert (history["items"], history["last_seq"]) == ([], 0)


class TestSingleMessage:
    async def test_edit_is_200_with_edited_at(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        sent = await make.message(ada, bob)
        answer = await client.patch(f"/messages/{sent.id}", headers=ada.headers, json={"body": "Bye"})
        assert (answer.status_code, set(answer.json()), answer.json()["body"]) == (200, MESSAGE, "Bye")
        assert is_time(answer.json()["edited_at"])

    async def test_edit_by_recipient_is_403(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        sent = await make.message(ada, bob)
        answer = await client.patch(f"/messages/{sent.id}", headers=bob.headers, json={"body": "Bye"})
        assert_problem(answer, 403, "not_the_sender")

    async def test_edit_of_deleted_message_is_409(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        sent = await make.message(ada, bob)
        await client.delete(f"/messages/{sent.id}", headers=ada.headers)
        answer = await client.patch(f"/messages/{sent.id}", headers=ada.headers, json={"body": "Bye"})
        assert_problem(answer, 409, "message_deleted")

    @pytest.mark.parametrize("query", ["", "?for=everyone"])
    async def test_delete_for_everyone_is_204_and_empties_message(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person, query: str
    ) -> None:
        sent = await make.message(ada, bob)
        answer = await client.delete(f"/messages/{sent.id}{query}", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")
        left = (await client.get(f"/messages/{sent.id}", headers=bob.headers)).json()
        assert (left["body"], is_time(left["deleted_at"])) == (None, True)

    async def test_delete_for_me_is_204_and_hides_only_from_caller(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        sent = await make.message(ada, bob)
        answer = await client.delete(f"/messages/{sent.id}?for=me", headers=bob.headers)
        assert answer.status_code == 204
        reads = [(await client.get(f"/messages/{sent.id}", headers=each.headers)).json() for each in (ada, bob)]
        assert [read["body"] for read in reads] == ["Hello", None]

    async def test_invalid_for_parameter_is_named(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        sent = await make.message(ada, bob)
        answer = await client.delete(f"/messages/{sent.id}?for=garbage", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="for")
        assert (await client.get(f"/messages/{sent.id}", headers=ada.headers)).json()["deleted_at"] is None


class TestGetHistory:
    async def test_history_is_ascending_with_documented_keys(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        for number in range(3):
            await make.message(ada, bob, str(number))
        answer = await client.get(f"/history/{ada.id}", headers=bob.headers)
        assert (answer.status_code, set(answer.json()), answer.json()["last_seq"]) == (
            200,
            HISTORY,
            3,
        )
        assert [(set(item), item["seq"], item["body"]) for item in answer.json()["items"]] == [
            (MESSAGE, number + 1, str(number)) for number in range(3)
        ]

    @pytest.mark.parametrize(
        ("query", "expected", "following"),
        [
            ("limit=2", [4, 5], 4),
            ("limit=5", [1, 2, 3, 4, 5], None),
            ("before=4&limit=2", [2, 3], 2),
            ("before=3&limit=2", [1, 2], None),
            ("before=1", [], None),
            ("after=0&limit=2", [1, 2], 2),
            ("after=3&limit=2", [4, 5], None),
            ("after=5", [], None),
            ("after=9007199254740991", [], None),
        ],
    )
    async def test_history_pages_follow_before_and_after(
        self,
        client: httpx.AsyncClient,
        make: Factory,
        ada: Person,
        bob: Person,
        query: str,
        expected: list[int],
        following: int | None,
    ) -> None:
        for _ in range(5):
            await make.message(ada, bob)
        page = (await client.get(f"/history/{bob.id}?{query}", headers=ada.headers)).json()
        assert ([item["seq"] for item in page["items"]], page["next"], page["last_seq"]) == (expected, following, 5)


class TestListConversations:
    async def test_conversations_are_page_with_documented_keys(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        await make.message(ada, bob)
        answer = await client.get("/conversations", headers=bob.headers)
        assert (answer.status_code, set(answer.json())) == (200, {"items", "next", "cursor"})
        (conversation,) = answer.json()["items"]
        assert (set(conversation), set(conversation["target"]), set(conversation["last_message"])) == (
            CONVERSATION,
            PEER,
            MESSAGE,
        )
        counts = [conversation[name] for name in ("unread", "version", "read_seq", "last_seq")]
        assert counts == [1, 1, 0, 1]

    async def test_conversation_pages_are_contiguous_latest_first(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        friends = await make.people(3)
        for friend in friends:
            await make.befriend(ada, friend)
            await make.message(ada, friend)
        seen, path = [], "/conversations?limit=2"
        while path:
            page = (await client.get(path, headers=ada.headers)).json()
            seen += [item["target"]["id"] for item in page["items"]]
            path = f"/conversations?limit=2&cursor={page['next']}" if page["next"] else ""
        assert sorted(seen) == sorted(friend.id for friend in friends)

    @pytest.mark.parametrize(
        ("field", "sent", "shown"),
        [
            ("muted_until", "2027-01-01T01:00:00+01:00", "2027-01-01T00:00:00.000Z"),
            ("muted_until", None, None),
            ("pinned", True, True),
            ("archived", True, True),
            ("expire_after", 60, 60),
            ("expire_after", None, None),
        ],
    )
    async def test_conversation_setting_is_changed_and_shown(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, field: str, sent: object, shown: object
    ) -> None:
        answer = await client.put(f"/conversations/{bob.id}", headers=ada.headers, json={field: sent})
        assert (answer.status_code, set(answer.json()), answer.json()[field]) == (200, CONVERSATION, shown)

    @pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    async def test_muted_until_at_calendar_bounds_is_shown(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, time: str
    ) -> None:
        answer = await client.put(f"/conversations/{bob.id}", headers=ada.headers, json={"muted_until": time})
        assert is_time(answer.json()["muted_until"])


class TestSetReceipt:
    async def test_reading_is_204_and_empties_unread(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        await make.message(ada, bob)
        answer = await client.post("/receipts", headers=bob.headers, json={"target_id": ada.id, "read_seq": 1})
        assert (answer.status_code, answer.content) == (204, b"")
        (conversation,) = (await client.get("/conversations", headers=bob.headers)).json()["items"]
        assert (conversation["unread"], conversation["version"], conversation["read_seq"]) == (0, 2, 1)

    async def test_receipt_never_moves_back(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        await make.message(ada, bob)
        for seq in (1, 0):
            await client.post("/receipts", headers=bob.headers, json={"target_id": ada.id, "read_seq": seq})
        (conversation,) = (await client.get("/conversations", headers=bob.headers)).json()["items"]
        assert conversation["read_seq"] == 1

    @pytest.mark.parametrize(("body", "field"), [({}, "read_seq"), ({"read_seq": 2}, "read_seq")])
    async def test_empty_or_excessive_receipt_is_400(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person, body: dict[str, int], field: str
    ) -> None:
        await make.message(ada, bob)
        answer = await client.post("/receipts", headers=bob.headers, json={"target_id": ada.id, **body})
        assert_problem(answer, 400, "validation_failed", field=field)
