"""Formats what the chat shows of groups: notices, invitations, the headline."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content

from messenger.chat import words
from messenger.chat.talk import Talk
from messenger.schemas.groups import NoticeView

_TEXTS: dict[str, Callable[[str, str, NoticeView], str]] = {
    "created": lambda actor, user, notice: f"{actor} created the group",
    "renamed": lambda actor, user, notice: f"{actor} renamed the group to “{words.shown_line(str(notice.after))}”",
    "about": lambda actor, user, notice: f"{actor} changed the description",
    "avatar": lambda actor, user, notice: f"{actor} changed the picture",
    "permissions": lambda actor, user, notice: f"{actor} changed the permissions",
    "settings": lambda actor, user, notice: f"{actor} changed the settings",
    "joined": lambda actor, user, notice: f"{user} joined",
    "joined_by_link": lambda actor, user, notice: f"{user} joined by a link",
    "left": lambda actor, user, notice: f"{user} left",
    "removed": lambda actor, user, notice: f"{actor} removed {user}",
    "banned": lambda actor, user, notice: f"{actor} banned {user}",
    "role": lambda actor, user, notice: f"{user}: {_value(notice.after)}, by {actor}",
    "owner": lambda actor, user, notice: f"{user} owns the group now",
    "muted": lambda actor, user, notice: f"{actor} {'muted' if notice.after else 'unmuted'} {user}",
}


def notice_text(talk: Talk, notice: NoticeView) -> str | None:
    """A notice in words; None for an action that this client does not know."""
    text = _TEXTS.get(notice.action)
    return None if text is None else text(_name(talk, notice.actor_id), _name(talk, notice.user_id), notice)


def _name(talk: Talk, user_id: int | None) -> str:
    if user_id is None:
        return "The server"
    return "You" if user_id == talk.state.me else words.shown_line(talk.state.name_of(user_id))


def _value(value: object) -> str:
    return words.shown_line(value) if isinstance(value, str) else "no title"


def invitation_name(talk: Talk, group_id: int) -> str:
    """The name of a group that you are invited to."""
    return words.shown_line(talk.state.invitations[group_id].group.name)


def invitation_text(talk: Talk, group_id: int) -> str:
    """Who invites you, with their message."""
    invitation = talk.state.invitations[group_id]
    said = f": {words.shown_line(invitation.message)}" if invitation.message else ""
    return f"{words.shown_line(invitation.inviter.name)} invites you{said}"


def headline(talk: Talk, group_id: int) -> Content:
    """The name of a group and the number of its members, or an invitation."""
    group = talk.state.groups.get(group_id)
    if group is None:
        return Content.assemble((invitation_name(talk, group_id), "bold"), f"  {invitation_text(talk, group_id)}")
    count = "1 member" if group.member_count == 1 else f"{group.member_count} members"
    here = "someone is typing …" if group_id in talk.typing else f"you are {group.me.role}"
    return Content.assemble((words.shown_line(group.name), "bold"), (f"  {count}", "dim"), f"  {here}")
