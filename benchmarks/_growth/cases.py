"""The requests of the benchmark: all reads, and all writes that need no password."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from _growth.people import Person, nobody

ENVELOPE = {"algorithm": "AES-256-GCM", "kdf": {"name": "hkdf"}, "nonce": "A" * 16, "ciphertext": "A" * 64}


class RequestReader(NamedTuple):
    """The `turn`, one's place in the row of those who ask, and all of that row."""

    turn: int
    place: int
    people: list[Person]

    @property
    def me(self) -> Person:
        return self.people[self.place % len(self.people)]

    @property
    def stranger(self) -> Person:
        """Another one in each turn; whom this one doesn't know, but for rare chances."""
        return self.people[(self.place + 17 * (self.turn + 1)) % len(self.people)]


class Case(NamedTuple):
    """One request, for people of one kind."""

    kind: str
    request: Callable[[RequestReader], bytes]


def _bytes(method: str, path: str, token: str, body: object = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def _get(path: str, kind: str = "usual") -> Case:
    def request(asked: RequestReader) -> bytes:
        me = asked.me
        filled = path.format(me=me, key=nobody(asked.place), cursor=f"e{me.after}")
        return _bytes("GET", filled, me.token)

    return Case(kind, request)


def _send(method: str, path: str, body: Callable[[RequestReader], object]) -> Case:
    return Case("usual", lambda asked: _bytes(method, path.format(me=asked.me), asked.me.token, body(asked)))


def _receipt(asked: RequestReader) -> bytes:
    """The friend reads what `POST /messages` has sent in this turn."""
    body = {"target_id": asked.me.id, "read_seq": asked.me.seq + asked.turn + 1}
    return _bytes("POST", "/receipts", asked.me.friend_token, body)


def _message(asked: RequestReader) -> object:
    return {
        "target_id": asked.me.friend_id,
        "client_id": f"growth-{asked.turn}-{asked.place}",
        "body": "Hello there. " * 5,
    }


CASES = {
    "GET /health/live": _get("/health/live"),
    "GET /profile": _get("/profile"),
    "GET /contacts (50)": _get("/contacts"),
    "GET /contacts (50 of 200)": _get("/contacts", "large"),
    "GET /contacts (50 of 5000)": _get("/contacts", "one"),
    "GET /contacts?state=mutual (50)": _get("/contacts?state=mutual"),
    "GET /statuses (50)": _get("/statuses"),
    "GET /statuses (200)": _get("/statuses", "large"),
    "GET /conversations (40)": _get("/conversations"),
    "GET /conversations (50 of 200)": _get("/conversations", "large"),
    "GET /conversations (50 of 500)": _get("/conversations", "many"),
    "GET /conversations (50 of 5000)": _get("/conversations", "one"),
    "GET /history (50 of 100)": _get("/history/{me.friend_id}"),
    "GET /messages": _get("/messages/{me.message_id}"),
    "GET /users": _get("/users/{me.friend_id}"),
    "GET /users?username=": _get("/users?username={me.username}"),
    "GET /devices": _get("/devices"),
    "GET /e2e/secret_key": _get("/e2e/secret_key"),
    "GET /ice_servers": _get("/ice_servers"),
    "GET /avatars (none such)": _get("/avatars/{key}"),
    "GET /account/export": _get("/account/export"),
    "GET /sync, the end": _get("/sync"),
    "GET /sync (50 events)": _get("/sync?limit=50&cursor={cursor}"),
    "PUT /profile": _send("PUT", "/profile", lambda asked: {"about": f"Turn {asked.turn}"}),
    "POST /messages": _send("POST", "/messages", _message),
    "POST /receipts": Case("usual", _receipt),
    "PUT /conversations": _send("PUT", "/conversations/{me.friend_id}", lambda asked: {"pinned": asked.turn % 2 == 0}),
    "PUT /contacts": _send("PUT", "/contacts/{me.friend_id}", lambda asked: {"alias": f"Turn {asked.turn}"}),
    "POST /subscribe": _send("POST", "/subscribe", lambda asked: {"target_id": asked.stranger.id}),
    "POST /confirm_subscribe": Case(
        "usual",
        lambda asked: _bytes("POST", "/confirm_subscribe", asked.stranger.token, {"target_id": asked.me.id}),
    ),
    "POST /ws/ticket": Case("usual", lambda asked: _bytes("POST", "/ws/ticket", asked.me.token)),
    "POST /e2e/secret_key": _send("POST", "/e2e/secret_key", lambda asked: ENVELOPE),
}
