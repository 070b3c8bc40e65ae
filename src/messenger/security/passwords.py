"""Hashes passwords with Argon2id in threads, and refuses passwords that are easy to guess."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import logging
import re
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import argon2
import msgspec
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from messenger.errors import FieldError, Overloaded, PasswordWeak
from messenger.security.fair_queue import FairQueue

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

MAX_LENGTH = 1024
_ARGON2_VERSION = 19
_SALT_BYTES = 16
_HASH_BYTES = 32
# The two errors of the library that concern the machine, not the hash (argon2.h, codes -22 and -33).
_STARVED = frozenset({"Memory allocation error", "Threading failure"})

_SERVICE_NAME = "messenger"
_LONGEST_UNIT = 8
_SHORTEST_PERSONAL = 3
_FEW_LETTERS = 3
_MEAN_RUN = 4
# Common sequences; each counts in both directions.
_LINES = (
    "01234567890",
    "abcdefghijklmnopqrstuvwxyza",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)


class Verdict(msgspec.Struct, frozen=True):
    """Whether the password is correct, and whether it should be hashed again with the current parameters."""

    ok: bool
    rehash: bool


class PasswordHasher:
    """Argon2id (RFC 9106) in `threads` threads with `memory_cost` KiB each, outside of the event loop.

    The defaults are RFC 9106's second choice (section 4). A hash with lower parameters is verified faster than the
    dummy hash of an unknown login, which reveals that the login exists, until the password is hashed again.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        time_cost: int = 3,
        memory_cost: int = 65536,
        parallelism: int = 4,
        max_waiting: int = 100,
    ) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost, memory_cost, parallelism, hash_len=_HASH_BYTES, salt_len=_SALT_BYTES
        )
        self._dummy = _dummy_hash(time_cost, memory_cost, parallelism)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._queue = FairQueue(threads, max_waiting)

    async def hash(self, password: str, *, source: str = "", known: bool = False) -> str:
        """The encoded hash of the NFKC form. Raises PasswordWeak for invalid text, Overloaded if too many wait.

        `source`: the origin of the request. Sources take turns; `known` ones wait in a separate queue.
        """
        return await self._run(lambda: self._hash(password), source, known)

    async def verify(self, password: str, encoded: str | None, *, source: str = "", known: bool = False) -> Verdict:
        """Compare with a stored hash. None (an unknown login) takes as long as a wrong password, and never matches."""
        return await self._run(lambda: self._verify(password, encoded), source, known)

    def close(self) -> None:
        """Refuse new and waiting requests (`Overloaded`); running threads finish."""
        self._queue.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], _T], source: str, known: bool) -> _T:
        await self._queue.enter(source, known=known)
        future = self._submit(work)
        loop = asyncio.get_running_loop()

        def leave(_: Future[_T]) -> None:
            # If the loop has ended, no request waits for the place.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queue.leave)

        # Release the place when the thread has finished, not when the caller stops waiting: clients that
        # disconnect early must not get more than their share of the threads.
        future.add_done_callback(leave)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The caller was not cancelled, so `close()` discarded the work.
            raise Overloaded from None

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        try:
            return self._executor.submit(work)
        except RuntimeError:
            self._queue.leave()
            raise Overloaded from None

    def _hash(self, password: str) -> str:
        secret = _normalised(password, "password").encode()
        try:
            return self._argon2.hash(secret)
        except HashingError as error:
            _log.error("A password cannot be hashed: %s", error)
            raise Overloaded from None

    def _verify(self, password: str, encoded: str | None) -> Verdict:
        try:
            secret = _normalised(password, "password").encode()
        except PasswordWeak:
            # `hash` refuses this text, so no stored hash can match.
            secret, encoded = b"", None
        if encoded is None:
            self._matches(self._dummy, secret)
            return Verdict(ok=False, rehash=False)
        try:
            ok = self._matches(encoded, secret)
            return Verdict(ok=ok, rehash=ok and self._argon2.check_needs_rehash(encoded))
        except (InvalidHashError, VerificationError, UnicodeEncodeError):
            _log.error("A stored password hash is corrupt; its owner cannot sign in")
        self._matches(self._dummy, secret)
        return Verdict(ok=False, rehash=False)

    def _matches(self, encoded: str, secret: bytes) -> bool:
        try:
            return self._argon2.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            if str(error) not in _STARVED:
                raise
            _log.error("A password cannot be verified: %s", error)
        raise Overloaded


def ensure_strong(password: str, *, minimum: int = 15, personal: Sequence[str] = (), field: str = "password") -> None:
    """Raise PasswordWeak with the reason (NIST SP 800-63B-4 section 3.1.1.2); `minimum` counts code points of NFC.

    There are no composition rules. The reasons: invalid_characters, too_long, too_short, too_common, too_repetitive,
    too_personal. `personal` is what an attacker knows of the user: the username, the name.
    """
    text = _normalised(password, field)
    # Count the characters as typed: NFKC expands some characters, such as U+FDFA to eighteen.
    if len(unicodedata.normalize("NFC", password)) < minimum:
        raise _weak(field, "too_short", f"A password needs at least {minimum} characters; a few random words work well")
    folded = text.casefold()
    if folded in common_passwords():
        raise _weak(field, "too_common", "This password is on the lists that attackers try first")
    if _is_repetition(folded) or _is_sequence(folded):
        raise _weak(field, "too_repetitive", "This password is a short pattern, repeated or continued")
    if _is_personal(folded, (*personal, _SERVICE_NAME)):
        raise _weak(field, "too_personal", "This password is based on a name that others know")


@cache
def common_passwords() -> frozenset[str]:
    """The 30,000 most common passwords, casefolded (from zxcvbn). Reads them on the first call."""
    package = importlib.util.find_spec("zxcvbn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("zxcvbn is not installed", name="zxcvbn")
    # Importing zxcvbn.frequency_lists would run the package, whose dictionaries take 15 MB of memory.
    path = Path(package.origin).with_name("frequency_lists.py")
    spec = importlib.util.spec_from_file_location("_messenger_frequency_lists", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("zxcvbn has no frequency lists", name="zxcvbn.frequency_lists")
    lists = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lists)
    return frozenset(word.casefold() for word in lists.FREQUENCY_LISTS["passwords"])


def _normalised(password: str, field: str) -> str:
    """The NFKC form, the same for all keyboards. Raises PasswordWeak if too long, or for unpaired surrogates."""
    # Check the length first: normalising takes quadratic time for sequences of combining marks.
    if len(password) > MAX_LENGTH:
        raise _weak(field, "too_long", f"A password can have at most {MAX_LENGTH} characters")
    text = unicodedata.normalize("NFKC", password)
    if len(text) > MAX_LENGTH:
        raise _weak(field, "too_long", f"A password can have at most {MAX_LENGTH} characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _weak(field, "invalid_characters", "The password contains an invalid character")
    return text


def _weak(field: str, code: str, message: str) -> PasswordWeak:
    return PasswordWeak(message, errors=(FieldError(field, code, message),))


def _dummy_hash(time_cost: int, memory_cost: int, parallelism: int) -> str:
    """A hash with a random digest, which no password matches; verifying takes as long as with a real one."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode("ascii").rstrip("=") for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v={_ARGON2_VERSION}$m={memory_cost},t={time_cost},p={parallelism}${salt}${digest}"


def _is_repetition(text: str) -> bool:
    """Whether the text repeats a unit of at most 8 characters, or a common word, at least 1.5 times."""
    for size in range(1, len(text) * 2 // 3 + 1):
        if text[size:] != text[:-size]:
            continue
        unit = text[:size]
        return size <= _LONGEST_UNIT or not common_passwords().isdisjoint({unit, _letters_and_digits(unit)})
    return False


def _is_sequence(text: str) -> bool:
    """Whether the text consists of sequences (aaaa, 1234, fedc, qwerty) of 4 or more characters on average."""
    runs, run = 1, frozenset[object]()
    for pair in pairwise(text):
        step = _steps(*pair) & run if run else _steps(*pair)
        runs += not step
        run = step
    return runs * _MEAN_RUN <= len(text)


def _steps(before: str, after: str) -> frozenset[object]:
    """The sequences in which `after` can follow `before`: by code point (-1, 0, 1), or along a row."""
    distance = ord(after) - ord(before)
    steps: set[object] = {distance} if abs(distance) <= 1 else set()
    steps.update((line, 1) for line in _LINES if before + after in line)
    steps.update((line, -1) for line in _LINES if after + before in line)
    return frozenset(steps)


def _is_personal(text: str, names: Sequence[str]) -> bool:
    """Whether the text consists of names, digits and signs, apart from at most 3 different letters."""
    folded = [unicodedata.normalize("NFKC", name[:MAX_LENGTH]).casefold() for name in names]
    words = {word for name in folded for word in (name, _letters_and_digits(name), *re.split(r"[\W_]+", name))}
    rest = text
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _SHORTEST_PERSONAL:
            rest = rest.replace(word, " ")
    return rest != text and len(set(re.sub(r"[\W\d_]", "", rest))) <= _FEW_LETTERS


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[\W_]", "", text)
