"""Signing in does not reveal which accounts exist: failed sign-ins do the same work, and so take the same time. `python
-m tests.authorization.login_times` measures the time itself, on an idle machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import argon2
import httpx
import msgspec
import pytest
import pytest_asyncio

from messenger.app import create_app
from messenger.container import Container
from messenger.security.passwords import Verdict
from messenger.testing import Factory, StatementLog
from tests.authorization.login_times import MAY_DIFFER, medians
from tests.support.http import client_of

WRONG = "not-the-password-of-anybody-1"


class Work(NamedTuple):
    """An answer, and the work done for it."""

    status: int
    body: str
    headers: dict[str, str]
    statements: list[str]
    compared: list[str]
    """The parameters of each Argon2 comparison: variant, version, memory, time, lanes, lengths."""


@pytest.fixture
def compared(container: Container, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every hash that Argon2 compares with, as its parameters and lengths."""
    seen: list[str] = []
    matches = container.hasher._matches

    def watched(encoded: str, secret: bytes) -> bool:
        *parameters, salt, digest = encoded.split("$")
        seen.append("$".join([*parameters, str(len(salt)), str(len(digest))]))
        return matches(encoded, secret)

    monkeypatch.setattr(container.hasher, "_matches", watched)
    return seen


async def logins(container: Container, make: Factory) -> dict[str, str]:
    """Logins that fail with a wrong password, each for a different reason."""
    known, disabled, erased = await make.people(3)
    await container.services.administration.set_disabled(str(disabled.id), disabled=True)
    await container.services.accounts.erase(erased.actor, erased.password)
    return {
        "known by name": known.username,
        "known by number": str(known.id),
        "unknown name": "nobody-has-this-name",
        "unknown number": "99999999999",
        "number too long to be one": "9" * 40,
        "disabled name": disabled.username,
        "disabled number": str(disabled.id),
        "erased name": erased.username,
        "erased number": str(erased.id),
    }


async def test_failed_logins_do_same_work_and_get_same_answer(
    client: httpx.AsyncClient, container: Container, make: Factory, statements: StatementLog, compared: list[str]
) -> None:
    works: dict[str, Work] = {}
    for reason, login in (await logins(container, make)).items():
        compared.clear()
        async with statements.recording() as sent:
            answer = await client.post("/login", json={"login": login, "password": WRONG})
        works[reason] = Work(answer.status_code, answer.text, dict(answer.headers), sent, list(compared))
    known = works["known by name"]
    assert (known.status, len(known.compared)) == (401, 1)
    assert {reason: work for reason, work in works.items() if work != known} == {}


async def test_disabled_account_refuses_correct_password(
    client: httpx.AsyncClient, container: Container, make: Factory, compared: list[str]
) -> None:
    ada = await make.person()
    await container.services.administration.set_disabled(str(ada.id), disabled=True)
    answers = [
        await client.post("/login", json={"login": login, "password": ada.password})
        for login in (ada.username, "nobody-has-this-name")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert len(compared) == 2
    assert compared[0] == compared[1]


@pytest_asyncio.fixture(loop_scope="session")
async def limited(container: Container) -> AsyncIterator[Container]:
    """The same server with rate limits on."""
    container = Container(msgspec.structs.replace(container.settings, rate_limits="on"), engine=container.engine)
    yield container
    await container.close()


async def test_login_limit_trips_alike_for_known_and_unknown_logins(limited: Container, make: Factory) -> None:
    known = await make.person()
    trips: list[list[tuple[int, str | None]]] = []
    async with client_of(create_app(limited)) as client:
        for login in (known.username, "nobody-has-that-name-either"):
            answers = [await client.post("/login", json={"login": login, "password": WRONG}) for _ in range(12)]
            trips.append([(answer.status_code, answer.headers.get("ratelimit-policy")) for answer in answers])
    assert trips[0] == trips[1]
    assert trips[0][-1][0] == 429


async def test_timing_measurement_detects_faster_login(
    client: httpx.AsyncClient, container: Container, make: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: without the dummy comparison the medians differ widely."""
    verify = container.hasher.verify

    async def without_dummy(password: str, encoded: str | None, **how: Any) -> Verdict:
        return Verdict(ok=False, rehash=False) if encoded is None else await verify(password, encoded, **how)

    # Expensive enough to be measurable.
    monkeypatch.setattr(container.hasher, "_argon2", argon2.PasswordHasher(time_cost=1, memory_cost=32 * 1024))
    monkeypatch.setattr(container.hasher, "verify", without_dummy)
    known = await make.person()
    assert (await medians(client, known.username, tries=9)).difference > MAY_DIFFER
