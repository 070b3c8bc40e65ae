"""Formats the list of people and the transcript as styled text, without access to the screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from textual.content import Content

from messenger.chat import group_rows, words
from messenger.chat.talk import Talk
from messenger.client import Outgoing
from messenger.schemas.groups import NoticeView
from messenger.schemas.messages import MessageView

Row = tuple[int, Content]
Entry = tuple[str, Content]
"""A part of the transcript, with a stable key."""


def people(talk: Talk) -> list[Row]:
    """The list of people: requests first, then conversations by newest message, then other contacts by name."""
    state = talk.state
    ranked = sorted({*state.contacts, *state.conversations, *state.invitations}, key=lambda peer: _rank(talk, peer))
    return [(peer, _person(talk, peer)) for peer in ranked if _is_shown(talk, peer)]


def _is_shown(talk: Talk, peer: int) -> bool:
    if peer in talk.state.invitations:
        return True
    contact = talk.state.contacts.get(peer)
    talked = peer in talk.state.conversations or bool(talk.outbox.outgoing(peer))
    return talked if contact is None or contact.state == "blocked" else True


def _rank(talk: Talk, peer: int) -> tuple[int, float, str]:
    contact = talk.state.contacts.get(peer)
    conversation = talk.state.conversations.get(peer)
    if peer in talk.state.invitations or (contact is not None and contact.state == "pending_in"):
        return 0, 0.0, ""
    last = talk.state.last_message(peer)
    newest = -words.local(last.created_at).timestamp() if last is not None else 0.0
    if conversation is not None:
        return 3 if conversation.archived else 1 if conversation.pinned else 2, newest, ""
    return 4 if contact is not None and contact.state == "mutual" else 5, 0.0, talk.state.name_of(peer).lower()


def _person(talk: Talk, peer: int) -> Content:
    state = talk.state
    sign, colour = ("#", "dim") if _is_group(talk, peer) else words.dot(talk.presence(peer))
    name = group_rows.invitation_name(talk, peer) if peer in state.invitations else state.name_of(peer)
    count = words.unread(state.conversations.get(peer))
    head = Content.assemble(
        (sign, colour),
        " ",
        (words.shown_line(name), "bold" if count else ""),
        (f" {count}", "bold cyan"),
    )
    return Content("\n").join([head, Content.styled("  " + _below(talk, peer), "dim")])


def _below(talk: Talk, peer: int) -> str:
    """The second line: a typing signal, a request, or the last message."""
    contact = talk.state.contacts.get(peer)
    if peer in talk.state.invitations:
        return group_rows.invitation_text(talk, peer)
    if peer in talk.typing:
        return "someone is typing …" if _is_group(talk, peer) else "is typing …"
    if contact is not None and contact.state == "pending_in":
        return f"request: {words.shown_line(contact.message)}" if contact.message else "wants to be your contact"
    last = talk.state.last_message(peer)
    if last is not None:
        said = " ".join(words.body(last).split())
        return f"You: {said}" if last.sender_id == talk.state.me else said
    if contact is not None and contact.state == "pending_out":
        return "request sent"
    return ""


def _is_group(talk: Talk, peer: int) -> bool:
    return peer in talk.state.groups or peer in talk.state.invitations


def headline(talk: Talk, peer: int) -> Content:
    """The name and the presence of a user; the name and the size of a group."""
    state = talk.state
    if _is_group(talk, peer):
        return group_rows.headline(talk, peer)
    sign, colour = words.dot(talk.presence(peer))
    contact = state.contacts.get(peer)
    target = contact.user if contact is not None else getattr(state.conversations.get(peer), "target", None)
    name = f"@{target.username}" if target is not None and target.username else "account erased"
    here = "is typing …" if peer in talk.typing else words.presence(talk.presence(peer))
    return Content.assemble(
        (sign, colour), " ", (words.shown_line(state.name_of(peer)), "bold"), (f"  {name}", "dim"), f"  {here}"
    )


def transcript(talk: Talk, peer: int) -> list[Entry]:
    """The latest messages without a gap, then outgoing messages."""
    entries = list(_messages(talk, peer))
    entries += [
        (f"out {message.client_id}", _outgoing(message))
        for message in talk.outbox.outgoing(peer)
        if not _has_come(talk, message)
    ]
    contact = talk.state.contacts.get(peer)
    if peer in talk.state.invitations:
        entries.append(("asked", Content.styled("Invitation: ctrl+y accepts, ctrl+b declines.", "yellow")))
    elif contact is not None and contact.state == "pending_in":
        words_of = f"“{words.shown(contact.message)}” " if contact.message else ""
        hint = f"{words_of}Contact request: ctrl+y accepts, ctrl+b declines."
        entries.append(("asked", Content.styled(hint, "yellow")))
    elif contact is not None and contact.state == "pending_out":
        entries.append(("asked", Content.styled("You have sent a contact request.", "dim")))
    return entries


def _messages(talk: Talk, peer: int) -> Iterator[Entry]:
    now = datetime.now(UTC)
    today = None
    messages = talk.state.tail(peer)
    if peer in talk.complete and messages:
        yield "beginning", Content.styled("Start of the conversation", "dim italic")
    newest_read = _newest_read(talk, peer, messages)
    notices: dict[int, list[NoticeView]] = {}
    for notice in talk.state.notices_of(peer):
        notices.setdefault(notice.after_seq, []).append(notice)
    # Earlier notices of an incomplete history belong to pages that are not loaded yet.
    if peer in talk.complete or not messages:
        first = messages[0].seq if messages else None
        yield from _notices(talk, [n for seq, found in notices.items() if first is None or seq < first for n in found])
    for message in messages:
        if (date := words.day(message.created_at, now)) != today:
            today = date
            yield f"day {message.seq}", Content.styled(f"── {date} ──", "dim")
        yield f"message {message.seq}", _message(talk, message, is_newest_read=message.seq == newest_read)
        yield from _notices(talk, notices.get(message.seq, []))


def _notices(talk: Talk, notices: list[NoticeView]) -> Iterator[Entry]:
    for notice in notices:
        text = group_rows.notice_text(talk, notice)
        if text is not None:
            yield f"notice {notice.id}", Content.styled(f"{words.clock(notice.at)} {text}", "dim italic")


def _newest_read(talk: Talk, peer: int, messages: list[MessageView]) -> int:
    receipt = talk.state.receipts.get((peer, peer))
    mine = [message.seq for message in messages if message.sender_id == talk.state.me]
    return max((seq for seq in mine if receipt is not None and seq <= receipt.read_seq), default=0)


def _message(talk: Talk, message: MessageView, *, is_newest_read: bool) -> Content:
    state = talk.state
    mine = message.sender_id == state.me
    name = "You" if mine else words.shown_line(state.name_of(message.sender_id))
    quiet = words.is_gone(message)
    tail = ""
    if mine and not quiet:
        tail = words.mark(message, state.receipts.get((message.target_id, message.target_id)))
        # Show "read" once: all earlier messages are read too.
        tail = tail if tail != words.READ or is_newest_read else words.DELIVERED
    return Content.assemble(
        (words.clock(message.created_at), "dim"),
        " ",
        (name, "bold cyan" if mine else "bold green"),
        " ",
        (words.body(message), "dim italic" if quiet else ""),
        (f" {tail}" if tail else "", "cyan" if tail == words.READ else "dim"),
    )


def _outgoing(message: Outgoing) -> Content:
    parts: list[str | tuple[str, str]] = [
        (words.clock(message.created_at), "dim"),
        " ",
        ("You", "bold cyan"),
        " ",
        words.shown(message.body),
    ]
    if message.state == "refused" and message.error is not None:
        parts.append((f" ✗ not sent: {words.reason(message.error)} ctrl+g sends it again", "red"))
    else:
        parts.append((f" {words.WAITING}", "dim"))
    return Content.assemble(*parts)


def _has_come(talk: Talk, message: Outgoing) -> bool:
    """Whether the event of a message arrived before the reply."""
    return any(
        each.client_id == message.client_id and each.sender_id == talk.state.me
        for each in talk.state.messages.get(message.target_id, {}).values()
    )


def connection(talk: Talk) -> Content:
    """The status line: the connection, your account, and the number of unsent messages."""
    profile = talk.state.profile
    colour = {"live": "green", "polling": "green", "waiting": "red", "closed": "red"}.get(talk.status, "yellow")
    outgoing = talk.outbox.outgoing()
    waiting = sum(message.state != "refused" for message in outgoing)
    refused = len(outgoing) - waiting
    mine = f"{words.shown_line(profile.name)} @{profile.username} {profile.id} ({profile.status})" if profile else ""
    return Content.assemble(
        ("■ ", colour),
        ("connected in another window" if talk.is_elsewhere else words.STATUS_WORDS[talk.status], colour),
        ("  " + mine, ""),
        (f"  {waiting} sending" if waiting else "", "yellow"),
        (f"  {refused} not sent" if refused else "", "red"),
    )
