"""Checks that the ceiling is equivalent: equal responses to equal requests, and one message per `client_id`."""

from __future__ import annotations

import secrets
from typing import Any

import httpx

from _yardsticks.works import Work
from _yardsticks.world import BODY, PAIRS, PEERS, WRITERS, token, user_id


class Disagreement(Exception):
    """The two servers differ."""


async def check(ours: httpx.AsyncClient, ceiling: httpx.AsyncClient, asked: list[Work]) -> None:
    """Raises `Disagreement`."""
    for work in asked:
        if work.is_read:
            await _check_read(ours, ceiling, work.path)
    await _check_conversations(ours, ceiling)
    for path in ("/sync?cursor=e0&limit=200", "/contacts?limit=200&state=mutual", f"/history/{user_id(PEERS)}?after=9"):
        await _check_read(ours, ceiling, path)
    await check_writes(ours, ceiling, WRITERS, WRITERS + PAIRS)


async def _check_conversations(ours: httpx.AsyncClient, ceiling: httpx.AsyncClient) -> None:
    """All pages: the last conversation is a group."""
    page = await _check_read(ours, ceiling, "/conversations?limit=200")
    while page["next"] is not None:
        page = await _check_read(ours, ceiling, f"/conversations?limit=200&cursor={page['next']}")
    if page["items"][-1]["target"]["kind"] != "group":
        raise Disagreement("GET /conversations: the group is missing")


async def _check_read(ours: httpx.AsyncClient, ceiling: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """The document that both give."""
    headers = {"Authorization": f"Bearer {token(0)}"}
    # The activity stamp of the first request may be due, which changes its response.
    await ceiling.get(path, headers=headers)
    first, second = [await client.get(path, headers=headers) for client in (ours, ceiling)]
    if (first.status_code, second.status_code) != (200, 200):
        raise Disagreement(f"GET {path}: {first.status_code}, {second.status_code}: {first.text}, {second.text}")
    found = difference(first.json(), second.json())
    if found:
        raise Disagreement(f"GET {path}, ours and the ceiling's answer{found}")
    check_headers(first, second)
    document: dict[str, Any] = first.json()
    return document


def difference(first: Any, second: Any) -> str:
    """The first difference between two documents; empty if they are equal."""
    if isinstance(first, dict) and isinstance(second, dict) and set(first) == set(second):
        parts = [f".{name}" for name in first], [(first[name], second[name]) for name in first]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        parts = [f"[{place}]" for place in range(len(first))], list(zip(first, second, strict=True))
    else:
        return "" if first == second else f": {str(first)[:200]} and {str(second)[:200]}"
    deeper = (name + found for name, pair in zip(*parts, strict=True) if (found := difference(*pair)))
    return next(deeper, "")


def check_headers(first: httpx.Response, second: httpx.Response) -> None:
    """Compare the names and values of headers, except lengths. Raises `Disagreement`."""
    kept = [
        {name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}}
        for answer in (first, second)
    ]
    if kept[0] != kept[1]:
        raise Disagreement(f"headers: {kept[0]}\n\n{kept[1]}")


async def check_writes(ours: httpx.AsyncClient, ceiling: httpx.AsyncClient, sender: int, target: int) -> None:
    """Send a message to each server, then repeat each message on both. Raises `Disagreement`."""
    headers = {"Authorization": f"Bearer {token(sender)}"}
    sent: list[dict[str, Any]] = []
    for client, other in ((ours, ceiling), (ceiling, ours)):
        draft = {"target_id": user_id(target), "client_id": secrets.token_hex(8), "body": BODY}
        made = await client.post("/messages", json=draft, headers=headers)
        again = [await each.post("/messages", json=draft, headers=headers) for each in (client, other)]
        if made.status_code != 201 or any((each.status_code, each.json()) != (200, made.json()) for each in again):
            raise Disagreement(f"POST /messages: {made.text}, again: {[each.text for each in again]}")
        reused = await client.post("/messages", json={**draft, "body": "Else"}, headers=headers)
        if reused.status_code != 409:
            raise Disagreement(f"POST /messages with a client_id that was used: {reused.status_code}")
        sent.append(made.json())
    if list(sent[0]) != list(sent[1]) or sent[0]["seq"] + 1 != sent[1]["seq"]:
        raise Disagreement(f"POST /messages: {sent}")
