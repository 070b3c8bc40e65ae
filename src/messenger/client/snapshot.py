"""Snapshots of a state, for comparison.

Two states that reached the same cursor have equal snapshots, whether they replayed all events, loaded the state and
applied later events, or only loaded it. A snapshot contains:

- `profile`: without `last_activity`, which changes without an event.
- `devices`: id, name and creation time; `last_activity` and `current` depend on the time and the device.
- `contacts`: state, alias, message and `since`; the user's name and avatar for mutual contacts only, since there are
  no events for changes of others.
- `conversations`: those with messages, since the API lists no others: target, `seq` numbers, unread count, version and
  settings.
- `messages`: all in the state. Load both states with the same number of messages (`load_state(messages=None)`: all).
  Messages that have expired at the time `at` are emptied, since there is no event for that.
- `groups`: all but your `slow_until`, which changes without an event, and mutes that have ended at the time `at`.
- `members`: those in the state; load both states with members (`load_state(members=True)`). Names and avatars are left
  out, since there are no events for their changes.
- `notices`: those that the group shows, from your joining or your first visible message on.
- `receipts` of others, on request: comparable between replays of one stream. A load returns only those of current
  mutual contacts, and there are no events for changes during the time in which a contact was not mutual.

Presence is left out, since it is best effort; so are invitations and requests, which may lapse without an event.
"""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.client.expiry import as_of
from messenger.client.state_data import StateData
from messenger.schemas.groups import GroupView, MemberView
from messenger.schemas.messages import MessageView

_CHANGES_WITHOUT_EVENT = ("last_activity",)


def snapshot_of(state: StateData, *, at: str | None, receipts: bool) -> dict[str, Any]:
    """The snapshot as plain values with string keys. `at`: the time for expiry, in the wire format."""
    parts: dict[str, Any] = {
        "profile": _without(state.profile, *_CHANGES_WITHOUT_EVENT),
        "devices": {str(device.id): [device.name, device.created_at] for device in state.devices.values()},
        "contacts": {str(user_id): _contact(state, user_id) for user_id in sorted(state.contacts)},
        "conversations": {
            str(each.target_id): _without(each, "target")
            for each in sorted(state.conversations.values(), key=lambda each: each.target_id)
            if each.last_seq > 0
        },
        "messages": {
            str(target_id): {str(seq): _message(found[seq], at) for seq in sorted(found)}
            for target_id, found in sorted(state.messages.items())
            if found
        },
        "groups": {str(each.id): _group(each, at) for _, each in sorted(state.groups.items())},
        "members": {
            str(group_id): {str(user_id): _member(found[user_id], at) for user_id in sorted(found)}
            for group_id, found in sorted(state.members.items())
        },
        "notices": {str(each.id): _notices(state, each) for _, each in sorted(state.groups.items())},
    }
    if receipts:
        parts["receipts"] = {
            f"{target_id}/{user_id}": [receipt.read_seq, receipt.delivered_seq]
            for (target_id, user_id), receipt in sorted(state.receipts.items())
            if receipt.delivered_seq > 0
        }
    return parts


def _without(view: Any, *fields: str) -> Any:
    if view is None:
        return None
    plain = msgspec.to_builtins(view)
    return {name: value for name, value in plain.items() if name not in fields}


def _contact(state: StateData, user_id: int) -> dict[str, Any]:
    contact = state.contacts[user_id]
    fields = _without(contact, "user")
    return {**fields, "user": msgspec.to_builtins(contact.user)} if contact.state == "mutual" else fields


def _message(message: MessageView, at: str | None) -> Any:
    return msgspec.to_builtins(message if at is None else as_of(message, at))


_LEAST_IMPORTANT = ("joined", "joined_by_link", "left")


def _group(group: GroupView, at: str | None) -> dict[str, Any]:
    me = {**_without(group.me, "slow_until"), "muted_until": _muted_until(group.me.muted_until, at)}
    return {**_without(group), "me": me}


def _member(member: MemberView, at: str | None) -> dict[str, Any]:
    return {**_without(member, "user"), "muted_until": _muted_until(member.muted_until, at)}


def _muted_until(until: str | None, at: str | None) -> str | None:
    return None if until is not None and at is not None and until <= at else until


def _notices(state: StateData, group: GroupView) -> list[Any]:
    shows, first = group.settings.notices, group.me.visible_from - 1
    shown = [
        notice
        for notice in state.notices.get(group.id, {}).values()
        if notice.after_seq >= first
        and (shows == "all" or (shows == "important" and notice.action not in _LEAST_IMPORTANT))
    ]
    return [msgspec.to_builtins(notice) for notice in sorted(shown, key=lambda each: (each.after_seq, each.id))]
