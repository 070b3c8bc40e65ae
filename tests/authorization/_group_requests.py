"""The request for each row of `_group_matrix.py`: valid in every respect, so that only the caller can be the reason of
a refusal.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from messenger.testing import Person
from messenger.testing.factories import PASSWORD
from tests.authorization._group_people import Crew
from tests.authorization._matrix import Case
from tests.authorization._requests import CALL_ID

_GROUP = {"own", "group", "letter", "note"}


class GroupScene(msgspec.Struct, frozen=True):
    """A caller, and the numbers and ids that the request names. `user_id`: of the user whom the case is about."""

    case: Case
    actor: Person | None
    group_id: int
    user_id: int
    message_id: str
    link_id: str
    token: str


async def group_scene(crew: Crew, case: Case) -> GroupScene:
    """The scene of a case, with all users in it."""
    group = await crew.group()
    actor = None if case.actor == "anonymous" else await crew.person(case.actor)
    user_id = group.id if case.of in _GROUP else (await crew.person(case.of)).id
    message_id = link_id = token = "-"
    if case.of in {"letter", "note"}:
        letters = await crew.letters("member" if actor is None else case.actor)
        message_id = str(getattr(letters, case.of))
    if case.route in {("POST", "/receipts"), ("SOCKET", "receipt.set")}:
        # There is something to read.
        await crew.letters("member" if actor is None else case.actor)
    if "link" in case.path:
        link = await crew.link()
        link_id, token = str(link.id), link.token
    return GroupScene(case, actor, group.id, user_id, message_id, link_id, token)


def group_url(scene: GroupScene) -> str:
    """The path, with the ids of the case."""
    values = {name: getattr(scene, name) for name in ("group_id", "user_id", "message_id", "link_id", "token")}
    query = f"?{scene.case.variant}" if "=" in scene.case.variant else ""
    return scene.case.path.format(**values, target_id=scene.group_id) + query


def group_content(scene: GroupScene) -> dict[str, Any]:
    """Options of an HTTP client: the body, where the route has one."""
    if scene.case.route == ("POST", "/groups/{group_id}/avatar"):
        return {"files": {"file": secrets.token_bytes(32)}}
    body = group_data(scene)
    return {} if body is None else {"json": body}


def group_data(scene: GroupScene) -> Any:
    """The body of a request, or the `data` of a socket request; None if there is none."""
    make = _DATA.get(" ".join(scene.case.route))
    return None if make is None else make(scene)


_CHANGES = {
    "name": {"name": "Renamed"},
    "expire": {"settings": {"expire_after": 60}},
    "settings": {"settings": {"slow_mode": 5}},
    "permissions": {"permissions": {"post": "moderator"}},
}
_MEMBER_CHANGES = {
    "mod": {"role": "moderator"},
    "title": {"title": "Librarian"},
    "mute": {"muted_until": "2099-01-01T00:00:00.000Z"},
}


def _member_change(scene: GroupScene) -> Any:
    variant = scene.case.variant
    return _MEMBER_CHANGES.get(variant, {"role": variant})


def _message(scene: GroupScene) -> Any:
    return {"target_id": scene.group_id, "client_id": secrets.token_hex(8), "body": "Good day"}


def _target(scene: GroupScene) -> Any:
    return {"target_id": scene.group_id}


def _receipt(scene: GroupScene) -> Any:
    return {"target_id": scene.group_id, "read_seq": 1}


_DATA: dict[str, Callable[[GroupScene], Any]] = {
    "POST /groups": lambda _: {"name": "Another"},
    "PATCH /groups/{group_id}": lambda scene: _CHANGES[scene.case.variant],
    "POST /groups/{group_id}/transfer": lambda scene: {"user_id": scene.user_id, "password": PASSWORD},
    "POST /groups/{group_id}/leave": lambda _: {},
    "DELETE /groups/{group_id}": lambda _: {"password": PASSWORD},
    "PATCH /groups/{group_id}/members/{user_id}": _member_change,
    "POST /groups/{group_id}/invitations": lambda scene: {"user_ids": [scene.user_id]},
    "POST /groups/{group_id}/decline": lambda _: {},
    "POST /groups/{group_id}/links": lambda _: {},
    "PATCH /groups/{group_id}/links/{link_id}": lambda _: {"name": "Poster"},
    "POST /links/{token}/join": lambda _: {},
    "POST /groups/{group_id}/requests/{user_id}": lambda _: {"accept": True},
    "PUT /groups/{group_id}/bans/{user_id}": lambda _: {},
    "POST /messages": _message,
    "PATCH /messages/{message_id}": lambda _: {"body": "Changed"},
    "PUT /conversations/{target_id}": lambda scene: {"expire_after": 60} if scene.case.variant else {"pinned": True},
    "POST /receipts": _receipt,
    "POST /subscribe": _target,
    "POST /block": _target,
    "SOCKET message.send": _message,
    "SOCKET receipt.set": _receipt,
    "SOCKET typing": _target,
    "SOCKET watch": lambda scene: {"target_ids": [scene.group_id]},
    "SOCKET call.signal": lambda scene: _target(scene) | {"call_id": CALL_ID, "payload": {"type": "offer"}},
}
