"""Failures of other projects with stored data: parked passwords, hashes sent with an event."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from messenger.container import Container
from messenger.schemas.realtime import EVENT_STRUCTS, SyncView
from messenger.testing import Factory, Person
from messenger.testing.factories import PASSWORD
from tests.known_failures._dump import dump
from tests.support.sockets import Realtime
from tests.support.tables import rows


def _spellings(secret: str) -> list[str]:
    """How a secret can appear in a dump: unchanged, in base64, in hex, and as hashes that are cheap to attack."""
    raw = secret.encode()
    digests = [hashlib.new(name, raw).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")]
    return [secret, base64.b64encode(raw).decode().rstrip("="), raw.hex(), *digests]


async def test_cve_2023_41335_no_password_is_stored_or_logged(
    http: httpx.AsyncClient, hosted: Container, caplog: pytest.LogCaptureFixture
) -> None:
    """Synapse: a new password was stored in plain text in the session of an unconfirmed request."""
    caplog.set_level(logging.DEBUG)
    mark = secrets.token_hex(6)
    first, second, wrong = f"first {mark} lantern", f"second {mark} otter", f"wrong {mark}"
    weak = f"u{mark}u{mark}"
    username = f"u{mark}"
    sent: list[httpx.Response] = []

    async def post(path: str, token: str = "", **body: Any) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(8), **({"Authorization": f"Bearer {token}"} if token else {})}
        sent.append(await http.post(path, json=body, headers=headers))
        return sent[-1].json() if sent[-1].content else None

    await post("/register", username=username, password=weak, name="Ada")
    token = (await post("/register", username=username, password=first, name="Ada"))["tokens"]["access_token"]
    await post("/login", login=username, password=first)
    await post("/login", login=username, password=wrong)
    await post("/password", token, old_password=wrong, new_password=second)
    await post("/password", token, old_password=first, new_password="short")
    await post("/password", token, old_password=first, new_password=second)
    assert [answer.status_code for answer in sent] == [422, 201, 200, 401, 401, 422, 204]

    kept = await dump(hosted) + caplog.text
    assert "$argon2id$" in kept
    spellings = [spelling for secret in (first, second, wrong, weak) for spelling in _spellings(secret)]
    assert [spelling for spelling in spellings if spelling in kept] == []
    # A hash over the whole request is a hash of the password to anyone who knows the rest of it.
    bodies = [hashlib.sha256(a.request.url.raw_path + b"\0" + a.request.content).hexdigest() for a in sent]
    assert [digest for digest in bodies if digest in kept] == []


# --- what events say ------------------------------------------------------------------------------

_TELLING = ("hash", "secret", "token", "password", "salt", "refresh", "privacy")


def test_cve_2025_13821_no_event_struct_has_secret_field() -> None:
    """Mattermost: the event of a changed user carried the password's hash and the second factor's secret."""
    fields = {f"{kind.__name__}.{field}" for kind in EVENT_STRUCTS for field in kind.__struct_fields__}
    # Users see their own privacy settings when they change their profile; no other user's event uses that struct.
    assert {name for name in fields if any(word in name.lower() for word in _TELLING)} == {"ProfileView.privacy"}


async def _streams(realtime: Realtime, *persons: Person) -> str:
    texts = []
    for person in persons:
        answer = await realtime.sync(person, cursor="e0", limit=200)
        view = msgspec.json.decode(answer.content, type=SyncView)
        assert view.events
        texts.append(answer.text)
    return "\n".join(texts)


async def test_cve_2025_13821_no_event_contains_hash_or_token(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container
) -> None:
    """Everything that changes an account, and everything sent to its own devices and its contact."""
    ada, bob = await people.friends()
    phone = await people.device(ada)
    new = f"{PASSWORD} {secrets.token_hex(4)}"
    async with realtime.wire(ada) as hers, realtime.wire(bob) as his:
        for patch in ({"name": "Ada L"}, {"status": "busy"}, {"username": f"u{secrets.token_hex(6)}"}):
            (await http.put("/profile", json=patch, headers=ada.headers)).raise_for_status()
        body = {"old_password": PASSWORD, "new_password": new}
        (await http.post("/password", json=body, headers=ada.headers)).raise_for_status()
        await hers.event("device.removed")
        await his.next("event", "profile.updated", id=ada.id, status="busy")
        live = msgspec.json.encode(hers.frames + his.frames).decode()
    stored = [
        *(await _column(hosted, f"SELECT password_hash AS v FROM users WHERE id IN ({ada.id}, {bob.id})")),
        *(await _column(hosted, f"SELECT encode(access_hash, 'hex') AS v FROM devices WHERE user_id = {ada.id}")),
        *(await _column(hosted, f"SELECT encode(access_hash, 'base64') AS v FROM devices WHERE user_id = {ada.id}")),
    ]
    assert len(stored) == 4
    kept = "\n".join(await _column(hosted, f"SELECT payload::text AS v FROM events WHERE user_id = {ada.id}"))
    answers = live + kept + await _streams(realtime, ada, bob)
    keys = [phone.access_token, phone.refresh_token, ada.access_token, ada.refresh_token, new, PASSWORD]
    assert [value for value in stored + keys if value in answers] == []


async def _column(container: Container, sql: str) -> list[str]:
    return [str(row["v"]) for row in await rows(container, sql)]


# --- what goes out by a cache ---------------------------------------------------------------------


def test_zulip_2021_cve_2026_25480_no_response_is_cached_by_server(app: Litestar) -> None:
    """Zulip, Litestar: a cache showed one user the response of another. Headers are tested in `tests/controllers`."""
    assert [route.path for route in app.routes for handler in _handlers(route) if handler.cache] == []


def _handlers(route: Any) -> list[Any]:
    return [each for each in getattr(route, "route_handlers", ()) if hasattr(each, "cache")]
