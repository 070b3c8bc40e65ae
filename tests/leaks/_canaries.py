"""Unique strings, one for each field that accepts text or bytes, which can be searched for anywhere."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator

KEPT: dict[str, tuple[str, ...]] = {
    # Secrets: the database stores nothing that reveals them.
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
    # Sent with requests, without being part of what they request.
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
    "forged_link": (),
    # User data, in its place. Events store what their reader wrote, or what was written to that reader.
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
    "group_name": ("groups.name", "group_notices.after"),
    "group_about": ("groups.about",),
    "link_name": ("group_links.name",),
    "invitation": ("group_invitations.message",),
    "join_request": ("group_requests.message",),
    "ban_reason": ("group_bans.reason", "group_notices.reason"),
    "device_name": ("devices.name", "events.payload", "idempotency_keys.answer"),
    "ciphertext": ("secrets.envelope",),
}
"""By field, the columns in which it may stand. None of them may stand in a log, a metric or a problem."""


class Canaries:
    """One string for each field, never used before."""

    def __init__(self) -> None:
        # Letters, digits and a length that make it valid base64, too: the safe accepts nothing else.
        self._strings = {name: f"canary{secrets.token_hex(17)}" for name in KEPT}
        self._strings["link_name"] = f"canary{secrets.token_hex(13)}"
        self._strings["avatar_key"] = secrets.token_hex(32)

    def __getitem__(self, name: str) -> str:
        return self._strings[name]


def spellings(secret: str) -> Iterator[str]:
    """The secret, and everything from which it is easily recovered: other alphabets, and a fast hash."""
    raw = secret.encode()
    yield secret
    yield raw.hex()
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    # A canary has a hundred bits of entropy, a password has less: a dictionary reverses its plain hash.
    yield hashlib.sha256(raw).hexdigest()
