"""Permissions, visibility, and the transitions of a pair of contacts, as pure functions."""

from __future__ import annotations

from datetime import datetime

from messenger.errors import ContactBlocked, MessageIsDeleted, NoPendingRequest, NotTheSender
from messenger.models import Edges, Status

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
"""The nine states of a pair, after RFC 6121 section 3 and appendix A, with blocking."""


# --- contacts: each returns the edges after the step ----------------------------------------------


def after_subscribe(edges: Edges) -> Edges:
    """Request mutual contact. A target who has blocked the requester is indistinguishable: the request is pending.
    Raises `ContactBlocked`.
    """
    if edges.mine == "blocked":
        raise ContactBlocked
    if edges.mine == "pending_in":
        return Edges("mutual", "mutual")
    if edges.mine is None:
        return Edges("pending_out", edges.theirs or "pending_in")
    return edges


def after_answer(edges: Edges, *, accept: bool) -> Edges:
    """Accept or decline a request. Raises `NoPendingRequest`."""
    if edges.mine != "pending_in":
        raise NoPendingRequest
    return Edges("mutual", "mutual") if accept else Edges(None, None)


def after_unsubscribe(edges: Edges) -> Edges:
    """Remove a contact, withdraw a request, or decline one; a block is unchanged."""
    if edges.mine == "blocked":
        return edges
    return Edges(None, "blocked" if edges.theirs == "blocked" else None)


def after_block(edges: Edges) -> Edges:
    """Block. A request from the blocked user stays pending on their side, so that they cannot detect the block."""
    return Edges("blocked", edges.theirs if edges.theirs in {"blocked", "pending_out"} else None)


def after_unblock(edges: Edges) -> Edges:
    """Remove a block. A request that was made before or during the block becomes visible."""
    if edges.mine != "blocked":
        return edges
    return Edges("pending_in" if edges.theirs == "pending_out" else None, edges.theirs)


# --- what others see ------------------------------------------------------------------------------


def shows(audience: str, *, mutual: bool) -> bool:
    """Whether a user can see something with this audience; `mutual`: the two are mutual contacts."""
    return audience == "everyone" or (audience == "contacts" and mutual)


def shown_activity(last_activity: datetime, invisible_since: datetime | None) -> datetime:
    """The last activity that others see, which does not advance while the user is invisible."""
    return invisible_since or last_activity


def shown_status(status: Status) -> Status:
    """The status that others see; an invisible user looks like an absent one with the default status."""
    return "online" if status == "invisible" else status


def is_online(connected: bool, invisible_since: datetime | None) -> bool:
    """Whether others see the user as online: a device is connected, and the user is not invisible."""
    return connected and invisible_since is None


# --- messages -------------------------------------------------------------------------------------


def ensure_sender(sender_id: int, user_id: int) -> None:
    """Only the sender may change a message. Raises `NotTheSender`."""
    if sender_id != user_id:
        raise NotTheSender


def ensure_not_deleted(deleted_at: datetime | None) -> None:
    """A deleted message cannot be edited. Raises `MessageIsDeleted`."""
    if deleted_at is not None:
        raise MessageIsDeleted
