"""A state in one comparable form.

Two states are equal here when they were brought to the same cursor, whichever way: by replaying events from the
beginning, by a load with events on top, or by a load alone. What is compared:

- `profile`: all but `last_activity`, which moves without an event.
- `devices`: number, name and birth; `last_activity` and `current` depend on who looks, and when.
- `contacts`: state, alias, message and since of each; who they are for mutual ones alone, since nobody else's change of
  name is told.
- `conversations`: those with a message (GET shows no others): numbers, count, version, settings.
- `messages`: all that the state holds. A load brings what it was asked for (`load_state(messages=None)`: all), so
  compare with the same depth. An expired message is emptied as of `at`, since no event tells of that.
- `receipts` of others, where asked for: comparable between replays of one stream. A load knows those of contacts that
  are mutual now, and no event tells how far they moved while they were not.

Presence is not: it is best effort.
"""

from __future__ import annotations

from typing import Any

import msgspec

from messenger.client.expiry import as_of
from messenger.client.state_data import StateData
from messenger.schemas.messages import MessageView

_CHANGES_WITHOUT_EVENT = ("last_activity",)


def snapshot_of(state: StateData, *, at: str | None, receipts: bool) -> dict[str, Any]:
    """The comparable parts as plain values with string keys. `at`: the time as the wire writes it, for what expires."""
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
