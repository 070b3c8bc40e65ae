"""Contacts, statuses, ICE servers over HTTP."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.testing import Factory, Person
from tests.controllers._shapes import CONTACT, ICE_SERVER, ICE_SERVERS, STATUS, USER, is_peer_id, is_time
from tests.controllers.conftest import Snapshot
from tests.support.http import assert_problem, client_of


class TestSubscribe:
    async def test_first_request_is_pending_out(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        bob = await make.person()
        answer = await client.post("/subscribe", headers=ada.headers, json={"target_id": bob.id, "message": "Hi"})
        assert (answer.status_code, answer.json()) == (200, {"target_id": bob.id, "state": "pending_out"})

    async def test_repeated_request_returns_same_answer(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        bob = await make.person()
        answers = [await client.post("/subscribe", headers=ada.headers, json={"target_id": bob.id}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    async def test_mutual_requests_make_contact_mutual(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        bob = await make.person()
        await client.post("/subscribe", headers=ada.headers, json={"target_id": bob.id})
        answer = await client.post("/subscribe", headers=bob.headers, json={"target_id": ada.id})
        assert answer.json()["state"] == "mutual"

    async def test_request_to_blocker_looks_like_any_request(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        blocker, other = await make.people(2)
        await client.post("/block", headers=blocker.headers, json={"target_id": ada.id})
        answers = [
            await client.post("/subscribe", headers=ada.headers, json={"target_id": target.id})
            for target in (blocker, other)
        ]
        assert [(each.status_code, each.json()["state"]) for each in answers] == [(200, "pending_out")] * 2

    async def test_request_to_blocked_user_is_409(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        await client.post("/block", headers=ada.headers, json={"target_id": bob.id})
        answer = await client.post("/subscribe", headers=ada.headers, json={"target_id": bob.id})
        assert_problem(answer, 409, "contact_blocked")


class TestConfirm:
    @pytest.mark.parametrize(
        ("more", "state"), [({}, "mutual"), ({"accept": True}, "mutual"), ({"accept": False}, "none")]
    )
    async def test_confirmation_accepts_request(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, more: dict[str, bool], state: str
    ) -> None:
        bob = await make.person()
        await client.post("/subscribe", headers=bob.headers, json={"target_id": ada.id})
        answer = await client.post("/confirm_subscribe", headers=ada.headers, json={"target_id": bob.id, **more})
        assert (answer.status_code, answer.json()) == (200, {"target_id": bob.id, "state": state})

    async def test_confirmation_without_request_is_409(
        self, client: httpx.AsyncClient, make: Factory, ada: Person
    ) -> None:
        bob = await make.person()
        answer = await client.post("/confirm_subscribe", headers=ada.headers, json={"target_id": bob.id})
        assert_problem(answer, 409, "no_pending_request")


@pytest.mark.parametrize(("path", "state"), [("/unsubscribe", "none"), ("/block", "blocked"), ("/unblock", "mutual")])
async def test_contact_steps_return_state(
    client: httpx.AsyncClient, ada: Person, bob: Person, path: str, state: str
) -> None:
    answer = await client.post(path, headers=ada.headers, json={"target_id": bob.id})
    assert (answer.status_code, answer.json()) == (200, {"target_id": bob.id, "state": state})


@pytest.mark.parametrize("path", ["/subscribe", "/confirm_subscribe", "/unsubscribe", "/block", "/unblock"])
class TestInvalidTargets:
    async def test_contact_step_towards_self_is_400(
        self, client: httpx.AsyncClient, ada: Person, snapshot: Snapshot, path: str
    ) -> None:
        before = await snapshot(ada)
        answer = await client.post(path, headers=ada.headers, json={"target_id": ada.id})
        assert_problem(answer, 400, "cannot_target_self")
        assert await snapshot(ada) == before

    async def test_contact_step_towards_unknown_user_is_404(
        self, client: httpx.AsyncClient, ada: Person, snapshot: Snapshot, path: str
    ) -> None:
        before = await snapshot(ada)
        answer = await client.post(path, headers=ada.headers, json={"target_id": 99_999_999_999})
        assert_problem(answer, 404, "peer_not_found")
        assert await snapshot(ada) == before


class TestListContacts:
    async def test_contacts_are_page_with_documented_keys(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        answer = await client.get("/contacts", headers=ada.headers)
        assert (answer.status_code, set(answer.json())) == (200, {"items", "next"})
        (contact,) = answer.json()["items"]
        assert (set(contact), set(contact["user"]), contact["state"]) == (CONTACT, USER, "mutual")
        assert is_peer_id(contact["user"]["id"])
        assert is_time(contact["since"])

    @pytest.mark.parametrize("state", ["pending_out", "pending_in", "mutual", "blocked"])
    async def test_contacts_are_filtered_by_state(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, state: str
    ) -> None:
        asked, asking, friend, blocked = await make.people(4)
        await client.post("/subscribe", headers=ada.headers, json={"target_id": asked.id})
        await client.post("/subscribe", headers=asking.headers, json={"target_id": ada.id})
        await make.befriend(ada, friend)
        await client.post("/block", headers=ada.headers, json={"target_id": blocked.id})
        items = (await client.get(f"/contacts?state={state}", headers=ada.headers)).json()["items"]
        expected = {"pending_out": asked, "pending_in": asking, "mutual": friend, "blocked": blocked}[state]
        assert [(item["user"]["id"], item["state"]) for item in items] == [(expected.id, state)]

    async def test_contact_pages_are_contiguous(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        friends = await make.people(3)
        for friend in friends:
            await make.befriend(ada, friend)
        seen, path = [], "/contacts?limit=2"
        while path:
            page = (await client.get(path, headers=ada.headers)).json()
            seen += [item["user"]["id"] for item in page["items"]]
            path = f"/contacts?limit=2&cursor={page['next']}" if page["next"] else ""
        assert seen == sorted(friend.id for friend in friends)

    @pytest.mark.parametrize("alias", ["Work", None])
    async def test_alias_is_set_and_removed(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, alias: str | None
    ) -> None:
        answer = await client.put(f"/contacts/{bob.id}", headers=ada.headers, json={"alias": alias})
        assert (answer.status_code, set(answer.json()), answer.json()["alias"]) == (200, CONTACT, alias)

    async def test_alias_of_a_stranger_is_404(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        stranger = await make.person()
        answer = await client.put(f"/contacts/{stranger.id}", headers=ada.headers, json={"alias": "Work"})
        assert_problem(answer, 404, "peer_not_found")


class TestListStatuses:
    async def test_statuses_have_documented_keys(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.get("/statuses", headers=ada.headers)
        assert (answer.status_code, set(answer.json())) == (200, {"items", "next"})
        (status,) = answer.json()["items"]
        assert (set(status), status["user_id"], status["status"]) == (STATUS, bob.id, "online")
        assert is_time(status["last_activity"])

    async def test_status_pages_are_contiguous(
        self, client: httpx.AsyncClient, make: Factory, ada: Person, bob: Person
    ) -> None:
        eve = await make.person()
        await make.befriend(ada, eve)
        first, second = sorted([bob.id, eve.id])
        page = (await client.get("/statuses?limit=1", headers=ada.headers)).json()
        assert ([each["user_id"] for each in page["items"]], page["next"]) == ([first], str(first))
        page = (await client.get(f"/statuses?limit=1&cursor={page['next']}", headers=ada.headers)).json()
        assert ([each["user_id"] for each in page["items"]], page["next"]) == ([second], None)

    async def test_hidden_activity_is_null(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        await client.put("/profile", headers=bob.headers, json={"privacy": {"last_seen": "nobody"}})
        (status,) = (await client.get("/statuses", headers=ada.headers)).json()["items"]
        assert (status["last_activity"], status["online"]) == (None, False)


class TestIceServers:
    async def test_ice_servers_have_documented_keys(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/ice_servers", headers=ada.headers)
        assert (answer.status_code, set(answer.json()), answer.json()["ice_servers"]) == (200, ICE_SERVERS, [])
        assert is_time(answer.json()["expires_at"])

    async def test_turn_username_does_not_contain_user_id(
        self, settings: Settings, engine: AsyncEngine, ada: Person
    ) -> None:
        turn = {"stun_urls": ("stun:t:3478",), "turn_urls": ("turn:t:3478",), "turn_secret": "coturn knows it as well"}
        container = Container(msgspec.structs.replace(settings, **turn), engine=engine)
        # This container uses the machine's clock: only a fresh login has a valid token.
        person = await Factory(container).device(ada)
        async with client_of(create_app(container)) as client:
            servers = (await client.get("/ice_servers", headers=person.headers)).json()["ice_servers"]
        await container.close()
        assert [set(server) for server in servers] == [ICE_SERVER, ICE_SERVER]
        assert [server["username"] is None for server in servers] == [True, False]
        assert str(ada.id) not in servers[1]["username"]
