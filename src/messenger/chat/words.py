"""The texts of the chat, and safe display of texts from other users."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from messenger.client import ApiError, ClientError, OutcomeUnknown, SignedOut, Unreachable
from messenger.client.state_data import Conversation, Receipt
from messenger.client.stream import Status
from messenger.schemas.messages import MessageView
from messenger.schemas.users import StatusView

# Marks of the category Cf that are visible: Arabic, Syriac and Kaithi signs (Unicode's Prepended_Concatenation_Mark).
_VISIBLE_FORMAT = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_KEPT = frozenset("\n\t\u200c\u200d" + _VISIBLE_FORMAT)
# An emoji tag sequence (UTS 51, ED-14a) of the form that flags of subdivisions have: a black flag, tags, a cancel tag.
_TAGGED = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

WAITING, SENT, DELIVERED = "…", "✓", "✓✓"
READ = "✓✓ read"

STATUS_WORDS: dict[Status, str] = {
    "connecting": "connecting …",
    "catching_up": "catching up …",
    "live": "live",
    "polling": "live, by long poll",
    "waiting": "offline",
    "closed": "disconnected",
}
_REASONS = {
    "invalid_credentials": "Username or password is wrong.",
    "username_taken": "This username is taken.",
    "password_weak": "This password is too easy to guess; choose a longer one.",
    "peer_not_found": "There is no such user.",
    "not_a_contact": "They only accept messages from contacts.",
    "cannot_target_self": "That is you.",
    "contact_blocked": "You blocked them.",
    "rank_too_low": "Your rank in the group is too low.",
    "not_permitted": "Your rank in the group does not permit this.",
    "muted": "A moderator has muted you.",
    "slow_mode": "The group is in slow mode; wait a moment.",
    "member_not_found": "They are not a member of the group.",
    "group_full": "The group is full.",
    "link_not_found": "This link is invalid or has expired.",
    "rate_limited": "Too many requests; wait a moment.",
}


def shown(text: str) -> str:
    """Replace control and bidirectional formatting characters with `�`: a message must not control the terminal."""
    # Every second part is a match.
    parts = _TAGGED.split(text)
    return "".join(part if index % 2 else "".join(map(_visible, part)) for index, part in enumerate(parts))


def _visible(character: str) -> str:
    return character if character in _KEPT or unicodedata.category(character) not in _HIDDEN else "�"


def shown_line(text: str) -> str:
    """`shown`, on one line."""
    return " ".join(shown(text).split())


def local(at: str) -> datetime:
    """A time in the wire format, converted to the local time zone."""
    return datetime.fromisoformat(at).astimezone()


def clock(at: str) -> str:
    """Hours and minutes."""
    return f"{local(at):%H:%M}"


def day(at: str, now: datetime) -> str:
    """The date of a time, relative to now if recent."""
    date, today = local(at).date(), now.astimezone().date()
    distance = (today - date).days
    return {0: "Today", 1: "Yesterday"}.get(distance, f"{date:%A, %d %B %Y}")


def has_expired(message: MessageView) -> bool:
    """Whether it has expired, even if the server has not emptied it yet."""
    return message.expires_at is not None and datetime.fromisoformat(message.expires_at) <= datetime.now(UTC)


def is_gone(message: MessageView) -> bool:
    """Whether its content was deleted or has expired."""
    return message.deleted_at is not None or has_expired(message)


def body(message: MessageView) -> str:
    """The text shown for a message."""
    if has_expired(message):
        return "(expired)"
    if message.deleted_at is not None:
        return "(deleted)"
    if message.body is None:
        return f"({message.kind}: not supported by this client)"
    return shown(message.body) + (" (edited)" if message.edited_at else "")


def mark(message: MessageView, receipt: Receipt | None) -> str:
    """The delivery mark of your own message."""
    if receipt is not None and receipt.read_seq >= message.seq:
        return READ
    return DELIVERED if receipt is not None and receipt.delivered_seq >= message.seq else SENT


def presence(status: StatusView | None) -> str:
    """The presence of a user, in a few words."""
    if status is None:
        return ""
    words = [{"online": "online", "away": "away", "busy": "busy"}.get(status.status, "online")] if status.online else []
    if not status.online and status.last_activity is not None:
        words.append(f"last seen {ago(status.last_activity, datetime.now(UTC))}")
    if status.status_text:
        words.append(f"“{shown_line(status.status_text)}”")
    return ", ".join(words)


def dot(status: StatusView | None) -> tuple[str, str]:
    """A sign and its colour; the signs differ without colour as well."""
    if status is None or not status.online:
        return "○", "dim"
    return {"away": ("◐", "yellow"), "busy": ("◆", "red")}.get(status.status, ("●", "green"))


def ago(at: str, now: datetime) -> str:
    """The time since then, such as `5 min ago`."""
    seconds = max(0.0, (now - datetime.fromisoformat(at)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def unread(conversation: Conversation | None) -> str:
    """The unread count, at most `99+`."""
    count = conversation.unread if conversation is not None else 0
    return "" if count <= 0 else f"({count})" if count < 100 else "(99+)"


def reason(error: ClientError) -> str:
    """The reason of an error, as shown to the user."""
    if isinstance(error, SignedOut):
        return "This device is signed out."
    if isinstance(error, ApiError):
        return _REASONS.get(error.code) or shown_line(error.detail)
    if isinstance(error, OutcomeUnknown):
        return "The message may not have been sent."
    if isinstance(error, Unreachable):
        return "The server cannot be reached."
    return shown_line(str(error))
