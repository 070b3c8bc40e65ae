"""Users whose texts carry a mark of their own, and requests whose responses must not carry a foreign mark."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

_MARK = re.compile(rb"mark[0-9]+x")


class Marked(msgspec.Struct):
    """A user, the token, the contact whose mark may appear, and the number of responses that were right."""

    mark: str
    id: int
    token: str
    friend: Marked | None = None
    proved: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class RequestReader(msgspec.Struct, frozen=True):
    """A request of a user; `shown`: whose marks the response contains at least."""

    who: Marked
    method: str
    path: str
    body: dict[str, Any] | None
    shown: frozenset[str]

    def check(self, status: int, answer: bytes) -> None:
        """Fail if this is the response to a different request, or of a different user."""
        assert 200 <= status < 300, (self.method, self.path, status, answer)
        seen = {mark.decode() for mark in _MARK.findall(answer)}
        assert self.who.friend is not None
        foreign = seen - {self.who.mark, self.who.friend.mark}
        assert not foreign, f"{self.who.mark} was shown {foreign} by {self.method} {self.path}"
        missing = self.shown - seen
        assert not missing, f"{self.method} {self.path} of {self.who.mark} says {answer!r}"
        self.who.proved += 1


def _profile(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "GET", "/profile", None, frozenset({who.mark}))


def _rename(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "PUT", "/profile", {"about": f"about {who.mark}"}, frozenset({who.mark}))


def _contacts(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "GET", "/contacts", None, frozenset({friend.mark}))


def _look(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "GET", f"/users/{friend.id}", None, frozenset({friend.mark}))


def _send(who: Marked, friend: Marked) -> RequestReader:
    body = {"target_id": friend.id, "client_id": uuid4().hex, "body": f"from {who.mark}"}
    return RequestReader(who, "POST", "/messages", body, frozenset({who.mark}))


def _history(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "GET", f"/history/{friend.id}?limit=5", None, frozenset())


def _statuses(who: Marked, friend: Marked) -> RequestReader:
    return RequestReader(who, "GET", "/statuses", None, frozenset())


_KINDS: tuple[Callable[[Marked, Marked], RequestReader], ...] = (
    _profile,
    _rename,
    _contacts,
    _look,
    _send,
    _send,
    _history,
    _statuses,
)


def any_request(crowd: list[Marked], chance: random.Random) -> RequestReader:
    """A random request of a random user."""
    who = chance.choice(crowd)
    assert who.friend is not None
    return chance.choice(_KINDS)(who, who.friend)
