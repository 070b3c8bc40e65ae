"""Permission and visibility as pure rules, and the transitions of a pair of contacts."""

from __future__ import annotations

from datetime import datetime

from messenger.errors import ContactBlocked, MessageIsDeleted, NoPendingRequest, NotTheSender
from messenger.models import Edges

LEGAL = frozenset(
    {
        Edges(None, None),
        Edges("pending_out", "pending_in"),
        Edges("pending_in", "pending_out"),
        Edges("mutual", "mutual"),
        Edges("blocked", None),
        Edges(None, "blocked"),
        Edges("blocked", "pending_out"),
        Edges("pending_out", "blocked"),
        Edges("blocked", "blocked"),
    }
)
"""The nine states that a pair can be in, after RFC 6121 section 3 and appendix A, with blocking."""


# --- contacts: each returns the edges after the step ----------------------------------------------


def after_subscribe(edges: Edges) -> Edges:
    """Ask for mutual contact. To one who blocked me it looks as to anyone: pending. Raises `ContactBlocked`."""
    if edges.mine == "blocked":
        raise ContactBlocked
    if edges.mine == "pending_in":
        return Edges("mutual", "mutual")
    if edges.mine is None:
        return Edges("pending_out", edges.theirs or "pending_in")
    return edges


def after_answer(edges: Edges, *, accept: bool) -> Edges:
    """Answer a request. Raises `NoPendingRequest`."""
    if edges.mine != "pending_in":
        raise NoPendingRequest
    return Edges("mutual", "mutual") if accept else Edges(None, None)


def after_unsubscribe(edges: Edges) -> Edges:
    """End a contact, take back a request, or decline one; a block stays what it is."""
    if edges.mine == "blocked":
        return edges
    return Edges(None, "blocked" if edges.theirs == "blocked" else None)


def after_block(edges: Edges) -> Edges:
    """Block. A request of the other's stays pending on their side, so that they can't tell."""
    return Edges("blocked", edges.theirs if edges.theirs in {"blocked", "pending_out"} else None)


def after_unblock(edges: Edges) -> Edges:
    """Take a block back. A request that was made meanwhile, or before, comes to light as one."""
    if edges.mine != "blocked":
        return edges
    return Edges("pending_in" if edges.theirs == "pending_out" else None, edges.theirs)


# --- what others see ------------------------------------------------------------------------------


def shows(audience: str, *, mutual: bool) -> bool:
    """Whether something with this audience shows to a user, by whether the contact is mutual."""
    return audience == "everyone" or (audience == "contacts" and mutual)


def shown_activity(last_activity: datetime, invisible_since: datetime | None) -> datetime:
    """The last activity that others see: that of an invisible user stands still."""
    return invisible_since or last_activity


def shown_status(status: str) -> str:
    """An invisible user looks like one who is not there and never set a status."""
    return "online" if status == "invisible" else status


def is_online(connected: bool, invisible_since: datetime | None) -> bool:
    """Whether others see the user as online: a socket lives somewhere, and the user doesn't hide."""
    return connected and invisible_since is None


# --- messages -------------------------------------------------------------------------------------


def ensure_sender(sender_id: int, user_id: int) -> None:
    """Only its sender changes a message. Raises `NotTheSender`."""
    if sender_id != user_id:
        raise NotTheSender


def ensure_not_deleted(deleted_at: datetime | None) -> None:
    """A message that is gone can't be edited. Raises `MessageIsDeleted`."""
    if deleted_at is not None:
        raise MessageIsDeleted
