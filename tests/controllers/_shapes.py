"""The keys of each object of the API, listed independently of the code that produces them."""

from __future__ import annotations

from typing import Any

from tests.support.http import TIMESTAMP, UUID7

USER = {"id", "username", "name", "avatar"}
DEVICE = {"id", "name", "created_at", "last_activity", "current"}
TOKENS = {"access_token", "refresh_token", "token_type", "expires_in"}
AVATAR = {"key", "url", "thumb_url", "width", "height", "placeholder"}
PRIVACY = {"last_seen", "avatar", "messages_from", "calls_from", "groups_from", "receipts", "forwards"}
PROFILE = {
    "id",
    "username",
    "name",
    "about",
    "avatar",
    "status",
    "status_text",
    "last_activity",
    "created_at",
    "privacy",
}
CONTACT = {"user", "state", "alias", "since", "message"}
STATUS = {"user_id", "status", "status_text", "online", "last_activity"}
MESSAGE = {
    "id",
    "client_id",
    "target_id",
    "sender_id",
    "sender_device_id",
    "seq",
    "kind",
    "body",
    "envelopes",
    "attachments",
    "reply_to",
    "forwarded_from",
    "mentions",
    "reactions",
    "created_at",
    "edited_at",
    "deleted_at",
    "deleted_by",
    "expires_at",
}
CONVERSATION = {
    "target",
    "last_message",
    "last_seq",
    "read_seq",
    "unread",
    "version",
    "target_receipt",
    "muted_until",
    "pinned",
    "archived",
    "expire_after",
    "group",
}
PEER = {*USER, "kind"}
HISTORY = {"items", "next", "last_seq", "first_unread", "notices"}
EVENT = {"type", "cursor", "event", "at", "data"}
SYNC = {"events", "cursor", "more"}
TICKET = {"ticket", "expires_in"}
SECRET = {"version", "created_at", "algorithm", "kdf", "nonce", "ciphertext", "mac", "key_id"}
ICE_SERVERS = {"ice_servers", "ttl", "refresh_after", "expires_at"}
ICE_SERVER = {"urls", "username", "credential"}

ENVELOPE = {
    "algorithm": "aes-256-gcm",
    "kdf": {"name": "argon2id", "salt": "c2FsdCBvZiAxNiBieXRlcw==", "memory_kib": 65536},
    "nonce": "bm9uY2Ugb2YgMTIu",
    "ciphertext": "dGhlIGFjY291bnQncyBzZWNyZXQsIHNlYWxlZCBieSBpdHMgb3duZXI=",
}
"""What the safe takes."""


def is_time(value: Any) -> bool:
    """RFC 3339, UTC, milliseconds."""
    return isinstance(value, str) and TIMESTAMP.match(value) is not None


def is_uuid7(value: Any) -> bool:
    """A UUID of version 7 as a string."""
    return isinstance(value, str) and UUID7.match(value) is not None


def is_peer_id(value: Any) -> bool:
    """An integer of eight digits or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 10_000_000
