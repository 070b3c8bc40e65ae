"""Users of a server under test, and their relations, so that tried numbers and ids exist."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
import msgspec

from tests.support.images import encoded, plain

PASSWORD = "fjord-lantern-quiet-93"


class Population(msgspec.Struct, frozen=True):
    """The first is the caller; the others are a contact, one requesting and one requested, one blocked, a stranger."""

    url: str
    password: str
    access_token: str
    metrics_token: str
    usernames: list[str]
    user_ids: list[int]
    message_ids: list[str]
    avatar_keys: list[str]
    group_ids: list[int]
    link_ids: list[str]
    link_tokens: list[str]


class _Member:
    """One account over HTTP."""

    def __init__(self, url: str, name: str, clients: ExitStack) -> None:
        self.http = clients.enter_context(httpx.Client(base_url=url, timeout=30))
        signed_in = self.call("POST", "/register", json={"username": name, "password": PASSWORD, "name": name.title()})
        self.id: int = signed_in["user"]["id"]
        self.token: str = signed_in["tokens"]["access_token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        response = self.http.request(method, path, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def send(self, target: _Member, number: int) -> str:
        draft = {"target_id": target.id, "client_id": f"{self.id}-{number}", "body": f"Message {number}"}
        message_id: str = self.call("POST", "/messages", json=draft)["id"]
        return message_id


def gather(url: str, *, metrics_token: str) -> Population:
    """Create them on a new server."""
    names = ("owner", "friend", "asker", "asked", "blocked", "stranger")
    with ExitStack() as clients:
        people = {name: _Member(url, name, clients) for name in names}
        messages, avatar = _acquaint(people)
        groups, links = _assemble(people)
    return Population(
        url=url,
        password=PASSWORD,
        access_token=people["owner"].token,
        metrics_token=metrics_token,
        usernames=list(names),
        user_ids=[person.id for person in people.values()],
        message_ids=messages,
        avatar_keys=[avatar, f"{avatar}_thumb"],
        group_ids=groups,
        link_ids=[link["id"] for link in links],
        link_tokens=[link["token"] for link in links],
    )


def _acquaint(people: dict[str, _Member]) -> tuple[list[str], str]:
    """Create all possible relations; return the ids of the messages, and the key of the owner's avatar."""
    owner, friend = people["owner"], people["friend"]
    owner.call("POST", "/subscribe", json={"target_id": friend.id})
    friend.call("POST", "/confirm_subscribe", json={"target_id": owner.id})
    people["asker"].call("POST", "/subscribe", json={"target_id": owner.id, "message": "Hello"})
    owner.call("POST", "/subscribe", json={"target_id": people["asked"].id})
    owner.call("POST", "/block", json={"target_id": people["blocked"].id})
    messages = [sender.send(target, n) for n in range(3) for sender, target in ((owner, friend), (friend, owner))]
    avatar = owner.call("POST", "/avatar/upload", files={"file": ("me.png", encoded(plain()), "image/png")})["avatar"]
    return messages, avatar["key"]


def _assemble(people: dict[str, _Member]) -> tuple[list[int], list[dict[str, Any]]]:
    """A group of the owner, one that the owner has joined, one that invites the owner; and their links."""
    owner, friend = people["owner"], people["friend"]
    groups = [
        person.call("POST", "/groups", json={"name": "Reading", "invite": invited})["group"]["id"]
        for person, invited in ((owner, [friend.id]), (friend, [owner.id]), (friend, [owner.id]))
    ]
    owner.call("POST", f"/groups/{groups[1]}/join")
    friend.call("POST", f"/groups/{groups[0]}/join")
    links = [person.call("POST", f"/groups/{groups[n]}/links", json={}) for n, person in enumerate((owner, friend))]
    approved = owner.call("POST", f"/groups/{groups[0]}/links", json={"approval": True})
    people["asker"].call("POST", f"/links/{approved['token']}/join", json={})
    owner.call("PUT", f"/groups/{groups[0]}/bans/{people['blocked'].id}", json={"reason": "Advertising"})
    return groups, [*links, approved]
