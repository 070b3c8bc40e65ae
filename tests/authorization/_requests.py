"""The request for each route and socket method: valid in every respect, so that only the caller can be the reason of a
refusal.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from messenger.container import Container
from messenger.testing import Person
from messenger.testing.factories import PASSWORD
from tests.authorization._matrix import Case
from tests.authorization._people import ENVELOPE, Cast

NEVER_GIVEN = "never-given-to-anybody-0123456789abcdef"
CALL_ID = "0b9c1f7e-6f43-4d2a-9d0e-0c1b2a3d4e5f"


class Scene(msgspec.Struct, frozen=True):
    """A caller, and the numbers and ids that the request names."""

    case: Case
    actor: Person | None
    target: Person
    message_id: str
    device_id: str
    avatar_key: str

    @property
    def is_own(self) -> bool:
        return self.case.of == "own" and self.actor is not None

    @property
    def me(self) -> Person:
        """Whose credentials are sent; a role without an account sends the owner's number."""
        return self.actor or self.target

    @property
    def password(self) -> str:
        """The right password for the own account, a guess for a foreign one."""
        return PASSWORD if self.is_own else "a-guess-of-somebody-93"


async def scene(container: Container, cast: Cast, case: Case) -> Scene:
    """The scene of a case, with all users in it."""
    owner = await cast.person("owner")
    target = await cast.person("asker") if case.of == "asker" else owner
    actor = None if case.actor == "anonymous" else await cast.person(case.actor)
    message_id = device_id = avatar_key = "-"
    if case.of in {"letter", "received", "sent"}:
        side = "contact" if case.of == "letter" or actor is None else case.actor
        letters = await cast.letters(side)
        message_id = str(letters.to_owner if case.of == "sent" else letters.from_owner)
    if case.of == "device":
        device_id = str((await cast.person("second_device")).actor.device_id)
    if case.of == "avatar":
        profile = await container.services.profiles.find(owner.actor, target_id=owner.id)
        assert profile.avatar is not None
        avatar_key = profile.avatar.key
    return Scene(case, actor, target, message_id, device_id, avatar_key)


def url(scene: Scene) -> str:
    """The path, with the ids of the case."""
    case = scene.case
    values = {
        "user_id": scene.target.id,
        "target_id": scene.target.id,
        "message_id": scene.message_id,
        "device_id": scene.device_id,
        "key": scene.avatar_key,
        "name": "style.css" if case.path.startswith("/demo") else "start.js",
    }
    query = case.variant if "=" in case.variant else ""
    if case.route == ("GET", "/users"):
        query = f"ids={scene.target.id}" if case.variant == "ids" else f"username={scene.target.username}"
    return case.path.format(**values) + (f"?{query}" if query else "")


def content(scene: Scene) -> dict[str, Any]:
    """Options of an HTTP client: the body, where the route has one."""
    if scene.case.path == "/avatar/upload":
        return {"files": {"file": secrets.token_bytes(32)}}
    body = data(scene)
    return {} if body is None else {"json": body}


def data(scene: Scene) -> Any:
    """The body of a request, or the `data` of a socket request; None if there is none."""
    make = _DATA.get(" ".join(scene.case.route))
    return None if make is None else make(scene)


def _login(scene: Scene) -> Any:
    return {"login": str(scene.me.id if scene.is_own else scene.target.id), "password": scene.password}


def _registration(_: Scene) -> Any:
    return {"username": f"n{secrets.token_hex(8)}", "password": PASSWORD, "name": "Newcomer"}


def _settings(scene: Scene) -> Any:
    # Shared settings need more permission than the caller's own view of a conversation.
    return {"expire_after": 60} if scene.case.variant == "all" else {"pinned": True}


def _message(scene: Scene) -> Any:
    return {"target_id": scene.target.id, "client_id": secrets.token_hex(8), "body": "Good day"}


def _target(scene: Scene) -> Any:
    return {"target_id": scene.target.id}


def _receipt(scene: Scene) -> Any:
    return {"target_id": scene.target.id, "read_seq": 1}


def _ring(scene: Scene) -> Any:
    return {"target_id": scene.target.id, "call_id": CALL_ID, "payload": {"type": "offer"}}


_DATA: dict[str, Callable[[Scene], Any]] = {
    "POST /register": _registration,
    "POST /login": _login,
    "POST /token/refresh": lambda scene: {"refresh_token": scene.me.refresh_token if scene.is_own else NEVER_GIVEN},
    "POST /password": lambda scene: {"old_password": scene.password, "new_password": "harbour-violet-tundra-58"},
    "DELETE /account": lambda scene: {"password": scene.password},
    "PUT /profile": lambda _: {"about": "Reads a lot"},
    "PUT /settings": lambda _: {"auto_join": "contacts"},
    "PUT /contacts/{user_id}": lambda _: {"alias": "Somebody"},
    "POST /subscribe": _target,
    "POST /confirm_subscribe": _target,
    "POST /unsubscribe": _target,
    "POST /block": _target,
    "POST /unblock": _target,
    "POST /messages": _message,
    "PATCH /messages/{message_id}": lambda _: {"body": "Changed"},
    "PUT /conversations/{target_id}": _settings,
    "POST /receipts": _receipt,
    "POST /e2e/secret_key": lambda _: msgspec.to_builtins(ENVELOPE),
    "SOCKET message.send": _message,
    "SOCKET receipt.set": _receipt,
    "SOCKET typing": _target,
    "SOCKET call.signal": lambda scene: {
        "target_id": scene.target.id,
        "call_id": CALL_ID,
        "payload": {"type": "offer"},
    },
    "SOCKET watch": lambda scene: {"target_ids": [scene.target.id]},
    "SOCKET presence.set": lambda _: {"status": "away"},
    "SOCKET ping": lambda _: {},
}
