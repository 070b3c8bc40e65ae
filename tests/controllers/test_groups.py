"""Groups over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from messenger.testing import Factory, Person
from tests.support.http import assert_problem


async def create(client: httpx.AsyncClient, owner: Person, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/groups", headers=owner.headers, json={"name": "Reading", **fields})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()["group"]
    return created


async def join(client: httpx.AsyncClient, owner: Person, group: dict[str, Any], person: Person) -> None:
    """Make a person a member by an invitation."""
    sent = await client.post(
        f"/groups/{group['id']}/invitations", headers=owner.headers, json={"user_ids": [person.id]}
    )
    assert sent.json()["results"] == [{"user_id": person.id, "outcome": "invited"}]
    accepted = await client.post(f"/groups/{group['id']}/join", headers=person.headers)
    assert accepted.status_code == 200, accepted.text


class TestGroups:
    async def test_created_group_has_documented_shape(self, client: httpx.AsyncClient, ada: Person) -> None:
        group = await create(client, ada)
        assert (group["name"], group["kind"], group["owner_id"], group["member_count"], group["large"]) == (
            "Reading",
            "group",
            ada.id,
            1,
            False,
        )
        assert (group["me"]["membership"], group["me"]["role"]) == ("member", "owner")
        shown = await client.get(f"/groups/{group['id']}", headers=ada.headers)
        assert (shown.json(), shown.headers["etag"]) == (group, f'"{group["version"]}"')

    async def test_repeated_key_creates_single_group(self, client: httpx.AsyncClient, ada: Person) -> None:
        headers = {**ada.headers, "Idempotency-Key": "once"}
        answers = [await client.post("/groups", headers=headers, json={"name": "Reading"}) for _ in range(2)]
        assert answers[0].json() == answers[1].json()

    async def test_outdated_etag_is_412(self, client: httpx.AsyncClient, ada: Person) -> None:
        group = await create(client, ada)
        headers = {**ada.headers, "If-Match": '"0"'}
        answer = await client.patch(f"/groups/{group['id']}", headers=headers, json={"name": "Writing"})
        assert_problem(answer, 412, "version_conflict")

    async def test_stranger_gets_404(self, client: httpx.AsyncClient, ada: Person, make: Factory) -> None:
        eve = await make.person()
        group = await create(client, ada)
        assert_problem(await client.get(f"/groups/{group['id']}", headers=eve.headers), 404, "peer_not_found")


class TestMembership:
    async def test_invited_friend_becomes_member_by_accepting(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        group = await create(client, ada)
        await join(client, ada, group, bob)
        members = (await client.get(f"/groups/{group['id']}/members", headers=bob.headers)).json()["items"]
        assert [(each["user"]["id"], each["role"]) for each in members] == [(ada.id, "owner"), (bob.id, "member")]

    async def test_link_admits_up_to_limit(self, client: httpx.AsyncClient, ada: Person, make: Factory) -> None:
        eve, dan = await make.people(2)
        group = await create(client, ada)
        link = (await client.post(f"/groups/{group['id']}/links", headers=ada.headers, json={"max_uses": 1})).json()
        first = await client.post(f"/links/{link['token']}/join", headers=eve.headers, json={})
        second = await client.post(f"/links/{link['token']}/join", headers=dan.headers, json={})
        assert (first.status_code, first.json()["membership"]) == (200, "member")
        assert_problem(second, 404, "link_not_found")

    async def test_request_waits_for_moderator(self, client: httpx.AsyncClient, ada: Person, make: Factory) -> None:
        eve = await make.person()
        group = await create(client, ada)
        link = (await client.post(f"/groups/{group['id']}/links", headers=ada.headers, json={"approval": True})).json()
        asked = await client.post(f"/links/{link['token']}/join", headers=eve.headers, json={"message": "Hello"})
        assert asked.json()["membership"] == "requested"
        waiting = (await client.get(f"/groups/{group['id']}/requests", headers=ada.headers)).json()["items"]
        assert [(each["user"]["id"], each["message"]) for each in waiting] == [(eve.id, "Hello")]
        answer = await client.post(
            f"/groups/{group['id']}/requests/{eve.id}", headers=ada.headers, json={"accept": True}
        )
        assert answer.json() == {"membership": "member"}

    async def test_banned_member_cannot_return(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        group = await create(client, ada)
        await join(client, ada, group, bob)
        link = (await client.post(f"/groups/{group['id']}/links", headers=ada.headers, json={})).json()
        banned = await client.put(f"/groups/{group['id']}/bans/{bob.id}", headers=ada.headers, json={"reason": "Spam"})
        assert (banned.status_code, banned.json()["reason"]) == (200, "Spam")
        assert_problem(await client.get(f"/groups/{group['id']}", headers=bob.headers), 404, "peer_not_found")
        answer = await client.post(f"/links/{link['token']}/join", headers=bob.headers, json={})
        assert_problem(answer, 404, "link_not_found")

    async def test_promoted_member_cannot_act_on_owner(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        group = await create(client, ada)
        await join(client, ada, group, bob)
        path = f"/groups/{group['id']}/members"
        promoted = await client.patch(f"{path}/{bob.id}", headers=ada.headers, json={"role": "admin"})
        assert promoted.json()["role"] == "admin"
        answer = await client.delete(f"{path}/{ada.id}", headers=bob.headers)
        assert_problem(answer, 403, "rank_too_low")

    async def test_transferred_group_has_new_owner(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        group = await create(client, ada)
        await join(client, ada, group, bob)
        answer = await client.post(
            f"/groups/{group['id']}/transfer",
            headers=ada.headers,
            json={"user_id": bob.id, "password": ada.password},
        )
        assert (answer.json()["owner_id"], answer.json()["me"]["role"]) == (bob.id, "admin")
