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
    "privacy": dict.fromkeys(
        ("last_seen", "avatar", "messages_from", "calls_from", "groups_from", "receipts", "forwards"), "everyone"
    ),
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
        "deleted_by": None,
        "expires_at": None,
        **changes,
    }


def history_data(items: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A page of history with these messages."""
    return {"items": items, "next": None, "last_seq": len(items), "first_unread": None, "notices": [], **fields}


GROUP = 52006113
PERMISSIONS = ("post", "attach", "poll", "react", "thread", "pin", "mention_all", "invite", "link", "info")


def group_data(**changes: Any) -> dict[str, Any]:
    """A group as its member sees it; `me` and `settings` are merged."""
    me = {
        "membership": "member",
        "role": "member",
        "title": None,
        "joined_at": AT,
        "visible_from": 0,
        "muted_until": None,
        "slow_until": None,
        **changes.pop("me", {}),
    }
    settings = {
        "history": "none",
        "slow_mode": 0,
        "notices": "all",
        "members_visible": "members",
        "reactions": {"allowed": None, "per_user": 3},
        "edit_window": None,
        "delete_window": None,
        "edit_history": "members",
        "expire_after": None,
        **changes.pop("settings", {}),
    }
    return {
        "id": GROUP,
        "kind": "group",
        "name": "Reading group",
        "about": "",
        "avatar": None,
        "owner_id": THEM,
        "member_count": 2,
        "version": 5,
        "encrypted": False,
        "protected": False,
        "large": False,
        "permissions": dict.fromkeys(PERMISSIONS, "member"),
        "settings": settings,
        "created_at": AT,
        "me": me,
        **changes,
    }


def preview_data(**changes: Any) -> dict[str, Any]:
    """A group as others see it."""
    return {
        "id": GROUP,
        "kind": "group",
        "name": "Reading group",
        "about": "",
        "avatar": None,
        "member_count": 2,
        "encrypted": False,
        "approval": False,
        "membership": "none",
        **changes,
    }


def notice_data(number: int, action: str, *, after_seq: int = 0, **changes: Any) -> dict[str, Any]:
    """A notice; of two, the one with the greater number is later."""
    return {
        "id": f"01a20419-0000-7000-8000-{number:012d}",
        "after_seq": after_seq,
        "at": AT,
        "actor_id": THEM,
        "action": action,
        "user_id": None,
        "from": None,
        "to": None,
        **changes,
    }


def member_data(user_id: int, **changes: Any) -> dict[str, Any]:
    """A member of a group."""
    return {
        "user": {"id": user_id, "username": f"u{user_id}", "name": f"User {user_id}", "avatar": None},
        "role": "member",
        "title": None,
        "joined_at": AT,
        "invited_by": None,
        "muted_until": None,
        **changes,
    }


def problem(status: int, code: str, **extra: Any) -> dict[str, Any]:
    """A problem document."""
    return {"type": f"urn:{code}", "title": code, "status": status, "detail": code, "code": code, "errors": [], **extra}
