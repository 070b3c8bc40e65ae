"""Every credential of an account, and an attempt to use each."""

from __future__ import annotations

from typing import NamedTuple

import httpx
from websockets.exceptions import InvalidStatus

from messenger.testing import Person
from tests.support.sockets import Realtime


class Keys(NamedTuple):
    """All credentials that a user holds and that open, or opened, the account."""

    access_token: str
    refresh_token: str
    ticket: str
    username: str
    user_id: int
    password: str


async def keys(http: httpx.AsyncClient, person: Person) -> Keys:
    """A user's credentials, with an unused ticket for a socket."""
    ticket = (await http.post("/ws/ticket", headers=person.headers)).raise_for_status().json()["ticket"]
    return Keys(person.access_token, person.refresh_token, ticket, person.username, person.id, person.password)


async def handshake(realtime: Realtime, *, token: str | None = None, ticket: str | None = None) -> int:
    """The status of a handshake: 101 where the socket was opened."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    query = "" if ticket is None else f"?ticket={ticket}"
    try:
        async with realtime.wire(live=False, headers=headers, query=query):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def knock(realtime: Realtime, http: httpx.AsyncClient, held: Keys) -> dict[str, int]:
    """Try each credential; return the server's answers by credential."""
    bearer = {"Authorization": f"Bearer {held.access_token}"}
    password = {"password": held.password}
    return {
        "read": (await http.get("/profile", headers=bearer)).status_code,
        "send": (
            await http.post("/messages", headers=bearer, json={"target_id": 1, "client_id": "x", "body": "x"})
        ).status_code,
        "long poll": (await http.get("/sync", headers=bearer)).status_code,
        "ticket": (await http.post("/ws/ticket", headers=bearer)).status_code,
        "socket by token": await handshake(realtime, token=held.access_token),
        "socket by ticket": await handshake(realtime, ticket=held.ticket),
        "refresh": (await http.post("/token/refresh", json={"refresh_token": held.refresh_token})).status_code,
        "name and password": (await http.post("/login", json={"login": held.username, **password})).status_code,
        "number and password": (await http.post("/login", json={"login": str(held.user_id), **password})).status_code,
    }
