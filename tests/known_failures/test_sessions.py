"""Failures of other projects with sessions: sessions that outlived their end, and endpoints that checked less."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import httpx
import msgspec
import pytest

from messenger.container import Container
from messenger.errors import RefreshTokenReused
from messenger.schemas.accounts import SignedInView
from messenger.testing import Factory, Person
from tests.known_failures._doors import handshake, keys, knock
from tests.support.sockets import Realtime
from tests.support.tables import rows

NEW_PASSWORD = "harbor-violet-candle-41"

Revocation = Callable[[Container, Person, Person], Awaitable[Any]]
"""Signs `phone` out; `ada` is the same account on another device."""


async def _reuse(container: Container, _: Person, phone: Person) -> None:
    devices = container.services.devices
    first = await devices.refresh(phone.refresh_token, address="x")
    await devices.refresh(first.tokens.refresh_token, address="x")
    await rows(
        container,
        "UPDATE refresh_tokens SET used_at = used_at - interval '61 seconds' WHERE device_id = $1",
        phone.actor.device_id,
    )
    with pytest.raises(RefreshTokenReused):
        await devices.refresh(phone.refresh_token, address="x")


async def _crowd_out(container: Container, ada: Person, _phone: Person) -> None:
    # Where every device has a socket, the idlest is signed out: the phone, which has sent no request yet.
    make = Factory(container)
    for _ in range(container.settings.max_devices):
        await make.connected(await make.device(ada))


REVOCATIONS: dict[str, Revocation] = {
    "signs itself out": lambda c, ada, phone: c.services.devices.logout(phone.actor),
    "is signed out by another": lambda c, ada, phone: c.services.devices.sign_out(ada.actor, phone.actor.device_id),
    "password is changed": lambda c, ada, phone: c.services.accounts.change_password(
        ada.actor, ada.password, NEW_PASSWORD
    ),
    "password is set by the operator": lambda c, ada, phone: c.services.administration.set_password(
        ada.username, NEW_PASSWORD
    ),
    "account is disabled": lambda c, ada, phone: c.services.administration.set_disabled(ada.username, disabled=True),
    "account is erased": lambda c, ada, phone: c.services.accounts.erase(ada.actor, ada.password),
    "refresh token is shown again": _reuse,
    "too many devices": _crowd_out,
}


@pytest.mark.parametrize("name", REVOCATIONS)
async def test_cve_2026_9162_revocation_closes_socket_within_a_second_and_delivers_no_more_events(
    realtime: Realtime, people: Factory, hosted: Container, name: str
) -> None:
    """Mattermost: a revoked session kept its WebSocket, and received new events."""
    ada, bob = await people.friends()
    phone = await people.device(ada)
    ticket = await hosted.services.streams.issue_ticket(phone.actor)
    async with realtime.wire(query=f"?ticket={ticket.ticket}") as wire:
        await REVOCATIONS[name](hosted, ada, phone)
        revoked = monotonic()
        with_luck = asyncio.gather(people.message(bob, ada, "Not for a revoked device"), return_exceptions=True)
        assert (await wire.closed())[0] == 4401
        assert monotonic() - revoked < 1
        await with_luck
    assert [frame for frame in wire.frames if frame.get("event") == "message.created"] == []


# --- a door that checks less than the others ------------------------------------------------------


def _jwt(algorithm: str, key: bytes, claims: dict[str, Any]) -> str:
    def part(data: bytes) -> str:
        return urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{part(json.dumps({'alg': algorithm, 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    signature = b"" if algorithm == "none" else hmac.digest(key, signed.encode(), "sha256")
    return f"{signed}.{part(signature)}"


async def _rotated(container: Container, person: Person) -> str:
    await container.services.devices.refresh(person.refresh_token, address="x")
    return person.access_token


async def _expired(container: Container, person: Person) -> str:
    async with container.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE devices SET access_expires_at = now() - interval '1 second' WHERE id = '{person.actor.device_id}'"
        )
    return person.access_token


async def _signed_out(container: Container, person: Person) -> str:
    await container.services.devices.logout(person.actor)
    return person.access_token


async def _disabled(container: Container, person: Person) -> str:
    await container.services.administration.set_disabled(person.username, disabled=True)
    return person.access_token


async def _erased(container: Container, person: Person) -> str:
    await container.services.accounts.erase(person.actor, person.password)
    return person.access_token


async def _refresh_token(_: Container, person: Person) -> str:
    return person.refresh_token


async def _ticket(container: Container, person: Person) -> str:
    return (await container.services.streams.issue_ticket(person.actor)).ticket


async def _stored_hash(_: Container, person: Person) -> str:
    return hashlib.sha256(person.access_token.encode()).hexdigest()


async def _unsigned(_: Container, person: Person) -> str:
    return _jwt("none", b"", {"sub": str(person.id), "exp": 4102444800})


async def _signed_with_nothing(_: Container, person: Person) -> str:
    return _jwt("HS256", b"", {"sub": str(person.id), "exp": 4102444800})


BAD_TOKENS: dict[str, Callable[[Container, Person], Awaitable[str]]] = {
    "rotated away": _rotated,
    "expired": _expired,
    "signed out": _signed_out,
    "account disabled": _disabled,
    "account erased": _erased,
    "refresh token": _refresh_token,
    "ticket": _ticket,
    "hash as the database has it": _stored_hash,
}


@pytest.mark.parametrize("state", BAD_TOKENS)
async def test_cve_2025_55070_token_refused_by_http_opens_no_socket(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container, state: str
) -> None:
    """Mattermost: the second factor was required over HTTP, and not for the WebSocket."""
    token = await BAD_TOKENS[state](hosted, await people.person())
    over_http = await http.get("/profile", headers={"Authorization": f"Bearer {token}"})
    assert over_http.status_code == 401
    assert await handshake(realtime, token=token) == 401
    # A ticket is only valid in the URL, and a token of the header is no ticket.
    if state != "ticket":
        assert await handshake(realtime, ticket=token) == 401


@pytest.mark.parametrize("make_token", [_unsigned, _signed_with_nothing])
async def test_cve_2022_29217_cve_2024_37568_client_made_token_claims_are_refused(
    realtime: Realtime,
    http: httpx.AsyncClient,
    people: Factory,
    hosted: Container,
    make_token: Callable[[Container, Person], Awaitable[str]],
) -> None:
    """PyJWT, Authlib: the token itself said how to verify it. The tokens here contain no data."""
    token = await make_token(hosted, await people.person())
    assert (await http.get("/profile", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert await handshake(realtime, token=token) == 401


# --- after the account's end ----------------------------------------------------------------------


@pytest.mark.parametrize("end", [_disabled, _erased])
async def test_cve_2025_3230_cve_2023_32682_no_credential_opens_disabled_or_erased_account(
    realtime: Realtime,
    http: httpx.AsyncClient,
    people: Factory,
    hosted: Container,
    end: Callable[[Container, Person], Awaitable[str]],
) -> None:
    """Mattermost, Synapse: tokens and sign-ins outlived the account's deactivation."""
    ada = await people.person()
    held = await keys(http, ada)
    await end(hosted, ada)
    assert set((await knock(realtime, http, held)).values()) == {401}


async def test_cve_2025_3230_enabling_account_restores_no_old_session(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container
) -> None:
    ada = await people.person()
    held = await keys(http, ada)
    await hosted.services.administration.set_disabled(ada.username, disabled=True)
    await hosted.services.administration.set_disabled(ada.username, disabled=False)
    answers = await knock(realtime, http, held)
    opened = {door for door, status in answers.items() if status != 401}
    assert opened == {"name and password", "number and password"}


@pytest.mark.parametrize("end", [_disabled, _erased])
async def test_cve_2023_32682_repeated_sign_in_returns_no_valid_tokens_after_account_ended(
    http: httpx.AsyncClient,
    people: Factory,
    hosted: Container,
    end: Callable[[Container, Person], Awaitable[str]],
) -> None:
    """The answer for an `Idempotency-Key` is stored for a day, and its tokens are derived again: they
    must be invalid.
    """
    draft = {"username": f"u{secrets.token_hex(6)}", "password": NEW_PASSWORD, "name": "Ada"}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    first = (await http.post("/register", json=draft, headers=headers)).raise_for_status()
    ada = Person.of(msgspec.convert(first.json(), type=SignedInView), NEW_PASSWORD)
    await end(hosted, ada)
    again = await http.post("/register", json=draft, headers=headers)
    tokens = again.json().get("tokens", {"access_token": "none", "refresh_token": "none"})
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await http.get("/profile", headers=bearer)).status_code == 401
    refreshed = await http.post("/token/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 401
