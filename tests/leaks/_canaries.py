"""Strings that are found wherever they stand: one for each field that takes text or bytes."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator

KEPT: dict[str, tuple[str, ...]] = {
    # Secrets: the database has nothing that gives them back.
    "password": (),
    "new_password": (),
    "guessed_password": (),
    "guessed_old_password": (),
    "forged_access_token": (),
    "forged_refresh_token": (),
    "forged_ticket": (),
    "metrics_token": (),
    "server_secret": (),
    "turn_secret": (),
    # What comes with requests, and is no part of what they ask.
    "user_agent": (),
    "cookie": (),
    "referer": (),
    "query": (),
    "path": (),
    "avatar_key": (),
    "unknown_field": (),
    "file_name": (),
    "file_comment": (),
    "refused_body": (),
    "edited_away_body": (),
    "deleted_body": (),
    "call_payload": (),
    "bad_envelope": (),
    # What is somebody's, in its place. Events keep their reader's own words, or what was said to that reader.
    "looked_up": ("rate_buckets.key",),
    "idempotency_key": ("idempotency_keys.key",),
    "client_id": ("messages.client_id",),
    "body": ("messages.body",),
    "socket_body": ("messages.body",),
    "name": ("users.name", "idempotency_keys.answer"),
    "about": ("users.about",),
    "status_text": ("users.status_text",),
    "alias": ("contacts.alias", "events.payload"),
    "request": ("events.payload",),
    "device_name": ("devices.name", "events.payload", "idempotency_keys.answer"),
    "ciphertext": ("secrets.envelope",),
}
"""By field, the columns in which it may stand. None of them may stand in a log, a metric or a problem."""


class Canaries:
    """One string for each, never seen before."""

    def __init__(self) -> None:
        # Letters, digits and a length that make it base64 as well: the safe takes nothing else.
        self._strings = {name: f"canary{secrets.token_hex(17)}" for name in KEPT}
        self._strings["avatar_key"] = secrets.token_hex(32)

    def __getitem__(self, name: str) -> str:
        return self._strings[name]


def spellings(secret: str) -> Iterator[str]:
    """The secret, and what it is easily got back from: other alphabets, and a hash that can be tried out quickly."""
    raw = secret.encode()
    yield secret
    yield raw.hex()
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    # A canary has a hundred bits, a password hasn't: of its plain hash a dictionary makes the password.
    yield hashlib.sha256(raw).hexdigest()
