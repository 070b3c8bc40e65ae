"""Passwords: what is stored, what a login costs, and how many requests may wait."""

from __future__ import annotations

import asyncio
import logging
import threading
import unicodedata
from collections.abc import Iterator
from typing import Any

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError

from messenger.errors import Overloaded, PasswordWeak
from messenger.security.passwords import MAX_LENGTH, PasswordHasher, Verdict

GOOD = "correct horse battery staple"


def small(**options: int) -> PasswordHasher:
    return PasswordHasher(**{"time_cost": 1, "memory_cost": 8, "parallelism": 1, **options})


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = small()
    yield hasher
    hasher.close()


class Gate:
    """Replaces Argon2 and blocks its threads until opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._began = threading.Semaphore(0)
        self.calls = 0

    def hash(self, secret: bytes) -> str:
        self.calls += 1
        self._began.release()
        assert self._opened.wait(10)
        return "hash"

    def open(self) -> None:
        self._opened.set()

    async def began(self) -> None:
        assert await asyncio.to_thread(self._began.acquire, timeout=10)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def gated(gate: Gate, *, max_waiting: int) -> PasswordHasher:
    hasher = small(threads=1, max_waiting=max_waiting)
    hasher._argon2 = gate  # type: ignore[assignment]
    return hasher


def seen_by_argon2(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The encoded hashes that a verification compares with, in order."""
    seen: list[str] = []
    verify = argon2.PasswordHasher.verify

    def watch(self: argon2.PasswordHasher, encoded: str | bytes, password: str | bytes) -> bool:
        seen.append(str(encoded))
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", watch)
    return seen


def failing(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(argon2.PasswordHasher, name, fail)


class TestPasswordHash:
    async def test_hash_verifies_only_same_password(self, hasher: PasswordHasher) -> None:
        encoded = await hasher.hash(GOOD)
        assert await hasher.verify(GOOD, encoded) == Verdict(ok=True, rehash=False)
        assert await hasher.verify(GOOD + "r", encoded) == Verdict(ok=False, rehash=False)

    async def test_hash_has_parameters_and_unique_salt(self, hasher: PasswordHasher) -> None:
        first, second = await hasher.hash(GOOD), await hasher.hash(GOOD)
        assert first.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert first != second

    def test_defaults_are_the_second_choice_of_rfc_9106(self) -> None:
        hasher = PasswordHasher()
        parameters = hasher._argon2._parameters
        hasher.close()
        assert parameters == argon2.profiles.RFC_9106_LOW_MEMORY

    async def test_unicode_forms_of_password_are_equal(self, hasher: PasswordHasher) -> None:
        encoded = await hasher.hash("Ångström ﬁnds a café")
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            verdict = await hasher.verify(unicodedata.normalize(form, "Ångström ﬁnds a café"), encoded)
            assert verdict.ok, form

    @pytest.mark.parametrize("end", ["a", "b", "\0", "\0a"])
    async def test_every_character_of_password_counts(self, hasher: PasswordHasher, end: str) -> None:
        encoded = await hasher.hash("x" * (MAX_LENGTH - 5) + "\0tail")
        assert not (await hasher.verify("x" * (MAX_LENGTH - 5) + end, encoded)).ok

    @pytest.mark.parametrize(
        ("password", "code"), [("\ud800" * 20, "invalid_characters"), ("x" * (MAX_LENGTH + 1), "too_long")]
    )
    async def test_unstorable_text_is_refused(self, hasher: PasswordHasher, password: str, code: str) -> None:
        with pytest.raises(PasswordWeak) as caught:
            await hasher.hash(password)
        assert caught.value.errors[0].code == code

    async def test_hashing_without_memory_raises_overloaded(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing("hash", HashingError("Memory allocation error"), monkeypatch)
        with pytest.raises(Overloaded):
            await hasher.hash(GOOD)


class TestPasswordVerification:
    async def test_unknown_login_never_verifies(self, hasher: PasswordHasher) -> None:
        assert await hasher.verify(GOOD, None) == Verdict(ok=False, rehash=False)

    async def test_unknown_login_costs_a_verification_with_the_same_parameters(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = await hasher.hash(GOOD)
        seen = seen_by_argon2(hasher, monkeypatch)
        await hasher.verify(GOOD, None)
        (dummy,) = seen
        assert argon2.extract_parameters(dummy) == argon2.extract_parameters(stored)

    async def test_dummy_hash_does_not_match_empty_password(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = seen_by_argon2(hasher, monkeypatch)
        await hasher.verify("", None)
        assert not (await hasher.verify("", seen[0])).ok

    @pytest.mark.parametrize("change", [{"time_cost": 2}, {"memory_cost": 16}, {"parallelism": 2, "memory_cost": 16}])
    async def test_hash_with_weaker_parameters_requests_rehash(
        self, hasher: PasswordHasher, change: dict[str, int]
    ) -> None:
        encoded = await hasher.hash(GOOD)
        grown = small(**change)
        assert await grown.verify(GOOD, encoded) == Verdict(ok=True, rehash=True)
        assert await grown.verify("wrong", encoded) == Verdict(ok=False, rehash=False)
        grown.close()

    @pytest.mark.parametrize(
        "damaged",
        ["", "plain", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "é", "$argon2id$v=19$m=8,t=1,p=1$é$é", "\ud800"],
    )
    async def test_damaged_hash_fails_and_is_not_logged(
        self, hasher: PasswordHasher, caplog: pytest.LogCaptureFixture, damaged: str
    ) -> None:
        with caplog.at_level(logging.ERROR):
            assert await hasher.verify(GOOD, damaged) == Verdict(ok=False, rehash=False)
        assert "corrupt" in caplog.text
        assert not damaged or damaged not in caplog.text

    async def test_truncated_hash_fails(self, hasher: PasswordHasher, caplog: pytest.LogCaptureFixture) -> None:
        encoded = await hasher.hash(GOOD)
        assert not (await hasher.verify(GOOD, encoded[:-12])).ok
        assert encoded[:-12] not in caplog.text

    async def test_damaged_hash_costs_same_as_unknown_login(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = seen_by_argon2(hasher, monkeypatch)
        await hasher.verify(GOOD, "damaged")
        assert argon2.extract_parameters(seen[-1]) == hasher._argon2._parameters

    @pytest.mark.parametrize("password", ["\ud800", "x" * (MAX_LENGTH + 1), "x" * 1_000_000])
    async def test_unstorable_text_costs_same_and_fails(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch, password: str
    ) -> None:
        encoded = await hasher.hash("")
        seen = seen_by_argon2(hasher, monkeypatch)
        assert not (await hasher.verify(password, encoded)).ok
        assert len(seen) == 1

    async def test_verifying_without_memory_raises_overloaded(
        self, hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded = await hasher.hash(GOOD)
        failing("verify", VerificationError("Memory allocation error"), monkeypatch)
        with pytest.raises(Overloaded):
            await hasher.verify(GOOD, encoded)


class TestHasherBounds:
    async def test_event_loop_runs_while_password_is_hashed(self, gate: Gate) -> None:
        hasher = gated(gate, max_waiting=0)
        task = asyncio.create_task(hasher.hash(GOOD))
        await gate.began()
        assert not task.done()
        gate.open()
        assert await task == "hash"
        hasher.close()

    async def test_request_beyond_queue_raises_overloaded(self, gate: Gate) -> None:
        hasher = gated(gate, max_waiting=2)
        tasks = [asyncio.create_task(hasher.hash(GOOD)) for _ in range(3)]
        await gate.began()
        with pytest.raises(Overloaded):
            await hasher.hash(GOOD)
        gate.open()
        assert await asyncio.gather(*tasks) == ["hash"] * 3
        assert await hasher.hash(GOOD) == "hash"
        hasher.close()

    async def test_cancelled_waiter_frees_place(self, gate: Gate) -> None:
        hasher = gated(gate, max_waiting=1)
        running = asyncio.create_task(hasher.hash(GOOD))
        await gate.began()
        waiting = asyncio.create_task(hasher.hash(GOOD))
        await cancel(waiting)
        again = asyncio.create_task(hasher.hash(GOOD))
        gate.open()
        assert [await running, await again] == ["hash", "hash"]
        assert gate.calls == 2
        hasher.close()

    async def test_cancelled_running_work_keeps_place(self, gate: Gate) -> None:
        hasher = gated(gate, max_waiting=0)
        running = asyncio.create_task(hasher.hash(GOOD))
        await gate.began()
        await cancel(running)
        with pytest.raises(Overloaded):
            await hasher.hash(GOOD)
        gate.open()
        hasher._executor.shutdown(wait=True)
        await asyncio.sleep(0)
        # The place was freed with the thread, and is available to the next request.
        await hasher._queue.enter("")

    async def test_close_refuses_waiting_requests(self, gate: Gate) -> None:
        hasher = gated(gate, max_waiting=1)
        running = asyncio.create_task(hasher.hash(GOOD))
        await gate.began()
        waiting = asyncio.create_task(hasher.hash(GOOD))
        await asyncio.wait([waiting], timeout=0)
        hasher.close()
        with pytest.raises(Overloaded):
            await waiting
        gate.open()
        assert await running == "hash"

    async def test_closed_hasher_raises_overloaded(self, hasher: PasswordHasher) -> None:
        hasher.close()
        for _ in range(200):
            with pytest.raises(Overloaded):
                await hasher.verify(GOOD, None)


async def cancel(task: asyncio.Task[str]) -> None:
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
