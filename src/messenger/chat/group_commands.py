"""Commands for groups, typed as a line: creating, inviting, joining, listing members, moderating, leaving."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast, get_args

import msgspec

from messenger.chat import words
from messenger.chat.talk import Talk
from messenger.schemas.groups import GivenRank, GroupView

HELP = """create NAME · join LINK · invite USER … · members · link · leave
role USER member|moderator|admin · mute USER MINUTES · unmute USER
remove USER · ban USER [REASON] · requests · admit USER · refuse USER"""
_OUTCOMES = {
    "already_member": "is a member already",
    "banned": "is banned",
    "not_a_contact": "only accepts invitations from contacts",
    "peer_not_found": "does not exist",
    "invited": "is invited",
    "joined": "is a member now",
    "group_full": "finds no place: the group is full",
    "rate_limited": "has received too many invitations",
}


class Done(msgspec.Struct, frozen=True):
    """What a command has done. `opens`: the group to show next."""

    text: str
    opens: int | None = None


class UsageError(Exception):
    """A command that does not exist, or lacks a word; the message says how to write it."""


class GroupCommands:
    """Runs commands in the open group; `group_id` is None if no group is open."""

    def __init__(self, talk: Talk, group_id: int | None) -> None:
        self._talk = talk
        self._client = talk.client
        self._group_id = group_id if group_id in talk.state.groups else None

    async def run(self, line: str) -> Done:
        """Run a command. Raises `UsageError` and `ClientError`."""
        name, _, rest = line.strip().partition(" ")
        command = self._COMMANDS.get(name.lower())
        if command is None:
            raise UsageError(HELP)
        return await command(self, rest.strip())

    # --- joining ---

    async def _create(self, name: str) -> Done:
        created = await self._client.create_group(_given(name, "create NAME"))
        self._talk.state.keep_group(created.group)
        return Done(f"Created {words.shown_line(created.group.name)}.", created.group.id)

    async def _join(self, link: str) -> Done:
        token = _given(link, "join LINK").rstrip("/").rpartition("/")[2]
        joined = await self._client.join_by_link(token)
        name = words.shown_line(joined.group.name)
        if isinstance(joined.group, GroupView):
            self._talk.state.keep_group(joined.group)
            return Done(f"Joined {name}.", joined.group.id)
        return Done(f"You asked to join {name}; a moderator has to accept.")

    async def _invite(self, users: str) -> Done:
        group = self._group()
        found = [await self._talk.find(name) for name in _given(users, "invite USER …").split()]
        names = {person.id: words.shown_line(person.name) for person in found}
        results = await self._client.invite(group, names)
        return Done("\n".join(f"{names[each.user_id]} {_OUTCOMES.get(each.outcome, each.outcome)}" for each in results))

    async def _link(self, _: str) -> Done:
        link = await self._client.create_link(self._group())
        return Done(f"Join with this link: {link.token}")

    async def _requests(self, _: str) -> Done:
        waiting = [each async for each in self._client.join_requests(self._group())]
        lines = [f"@{each.user.username} {words.shown_line(each.message or '')}".rstrip() for each in waiting]
        return Done("\n".join(lines) or "No requests.")

    async def _admit(self, user: str) -> Done:
        return await self._answer(_given(user, "admit USER"), accept=True)

    async def _refuse(self, user: str) -> Done:
        return await self._answer(_given(user, "refuse USER"), accept=False)

    async def _answer(self, user: str, *, accept: bool) -> Done:
        person = await self._talk.find(user)
        await self._client.answer_join_request(self._group(), person.id, accept=accept)
        return Done(f"{'Accepted' if accept else 'Declined'} {words.shown_line(person.name)}.")

    # --- members ---

    async def _members(self, _: str) -> Done:
        now = datetime.now(UTC)
        lines = []
        async for member in self._client.members(self._group()):
            facts = [member.role, *([words.shown_line(member.title)] if member.title else [])]
            if member.muted_until is not None and datetime.fromisoformat(member.muted_until) > now:
                facts.append(f"muted until {words.clock(member.muted_until)}")
            lines.append(f"{words.shown_line(member.user.name)} @{member.user.username}: {', '.join(facts)}")
        return Done("\n".join(lines))

    async def _role(self, rest: str) -> Done:
        user, _, role = rest.partition(" ")
        if role not in get_args(GivenRank):
            raise UsageError("role USER member|moderator|admin")
        return await self._change(user, f"is {role} now", role=cast(GivenRank, role))

    async def _mute(self, rest: str) -> Done:
        user, _, minutes = rest.partition(" ")
        if not (minutes.isascii() and minutes.isdigit() and 0 < int(minutes) <= 525_600):
            raise UsageError("mute USER MINUTES")
        until = datetime.now(UTC) + timedelta(minutes=int(minutes))
        return await self._change(user, f"is muted for {minutes} minutes", muted_until=until)

    async def _unmute(self, user: str) -> Done:
        return await self._change(_given(user, "unmute USER"), "may write again", muted_until=None)

    async def _change(self, user: str, done: str, **changes: object) -> Done:
        person = await self._talk.find(user)
        await self._client.update_member(self._group(), person.id, **changes)  # type: ignore[arg-type]
        return Done(f"{words.shown_line(person.name)} {done}.")

    async def _remove(self, user: str) -> Done:
        person = await self._talk.find(_given(user, "remove USER"))
        await self._client.remove_member(self._group(), person.id)
        return Done(f"Removed {words.shown_line(person.name)}.")

    async def _ban(self, rest: str) -> Done:
        user, _, reason = _given(rest, "ban USER [REASON]").partition(" ")
        person = await self._talk.find(user)
        await self._client.ban(self._group(), person.id, reason=reason.strip() or None)
        return Done(f"Banned {words.shown_line(person.name)}.")

    async def _leave(self, _: str) -> Done:
        await self._client.leave_group(self._group())
        return Done("You have left the group.")

    def _group(self) -> int:
        if self._group_id is None:
            raise UsageError("Open a group first.")
        return self._group_id

    _COMMANDS: ClassVar[dict[str, Callable[[GroupCommands, str], Awaitable[Done]]]] = {
        "create": _create,
        "join": _join,
        "invite": _invite,
        "link": _link,
        "requests": _requests,
        "admit": _admit,
        "refuse": _refuse,
        "members": _members,
        "role": _role,
        "mute": _mute,
        "unmute": _unmute,
        "remove": _remove,
        "ban": _ban,
        "leave": _leave,
    }


def _given(text: str, usage: str) -> str:
    if not text:
        raise UsageError(usage)
    return text
