"""Values of the API as plain data."""

from __future__ import annotations

from typing import Any

ME, THEM = 11111111, 22222222
AT = "2026-11-22T10:15:30.123Z"
DEVICE = "01a20418-583e-771e-90f2-ae65a906bdf7"


PERSON = {
    "id": THEM,
    "username": "bob",
    "name": "Bob",
    "avatar": None,
    "about": "",
    "status": "online",
    "status_text": "",
    "online": True,
    "last_activity": AT,
    "contact": "mutual",
}
PROFILE = {
    "id": ME,
    "username": "ada",
    "name": "Ada",
    "about": "",
    "avatar": None,
    "status": "online",
    "status_text": "",
    "last_activity": AT,
    "created_at": AT,
    "privacy": dict.fromkeys(("last_seen", "avatar", "messages_from", "calls_from", "groups_from"), "everyone"),
}


def message_data(seq: int, **changes: Any) -> dict[str, Any]:
    """A message as the API shows it; from the other user unless `sender_id` says otherwise."""
    return {
        "id": f"01a20418-5c8e-76d2-9fc6-{seq:012d}",
        "client_id": f"c{seq}",
        "target_id": THEM,
        "sender_id": THEM,
        "sender_device_id": DEVICE,
        "seq": seq,
        "kind": "text",
        "body": f"message {seq}",
        "envelopes": None,
        "attachments": [],
        "reply_to": None,
        "forwarded_from": None,
        "mentions": [],
        "reactions": [],
        "created_at": AT,
        "edited_at": None,
        "deleted_at": None,
        "expires_at": None,
        **changes,
    }


def problem(status: int, code: str, **extra: Any) -> dict[str, Any]:
    """A problem document."""
    return {"type": f"urn:{code}", "title": code, "status": status, "detail": code, "code": code, "errors": [], **extra}
