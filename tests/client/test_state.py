"""The state of a device, from events and from loads."""

from __future__ import annotations

import itertools
import random
from typing import Any
from uuid import UUID

import msgspec
import pytest

from messenger.client import Event, Signal, State
from messenger.client.codec import EventFrame, event_of
from messenger.client.state_data import Receipt
from messenger.schemas.accounts import DeviceView
from messenger.schemas.messages import ConversationView, MessageView, PeerView, TargetReceiptView
from messenger.schemas.realtime import ContactChangeView, ReceiptView, RemovedDeviceView
from messenger.schemas.users import ContactView, PersonView, ProfileView, StatusView, UserView
from tests.client.wire import AT, DEVICE, ME, PERSON, PROFILE, THEM, message_data

BOB = UserView(THEM, "bob", "Bob", None)
_numbers = itertools.count(1)


def event(name: str, data: Any) -> Event:
    return Event(f"e{next(_numbers)}", name, AT, data)


def message(seq: int, **changes: Any) -> MessageView:
    return msgspec.convert(message_data(seq, **changes), MessageView)


def created(seq: int, **changes: Any) -> Event:
    return event("message.created", message(seq, **changes))


def receipt(user_id: int, read: int, *, delivered: int = 0, last: int | None = None) -> Event:
    """A receipt; the user's own where `last` gives the length of the conversation."""
    count = (None, None) if last is None else (last - read, last + read)
    return event("receipt.updated", ReceiptView(THEM, user_id, read, max(read, delivered), *count))


def contact(state: str, *, name: str = "Bob") -> Event:
    user = UserView(THEM, "bob", name, None)
    return event("contact.updated", ContactChangeView(THEM, user, state, None, None, None if state == "none" else AT))


def conversation(last: int, read: int, **changes: Any) -> ConversationView:
    target = PeerView(BOB.id, "user", BOB.username, BOB.name, BOB.avatar)
    counts = (last, read, last - read, last + read)
    view = ConversationView(target, message(last), *counts, None, False, False, None, None, None)
    return msgspec.structs.replace(view, **changes)


def replayed(*events: Event) -> State:
    state = State(ME)
    for each in events:
        assert state.apply(each)
    return state


class TestMessageState:
    def test_received_message_is_unread(self) -> None:
        state = replayed(created(1), created(2))
        here = state.conversations[THEM]
        assert (here.last_seq, here.read_seq, here.unread, here.version) == (2, 0, 2, 2)

    def test_own_message_marks_earlier_messages_read(self) -> None:
        state = replayed(created(1), created(2, sender_id=ME))
        assert state.conversations[THEM].unread == 0
        assert state.conversations[THEM].read_seq == 2

    def test_message_of_peer_advances_read_receipt(self) -> None:
        state = replayed(created(1, sender_id=ME), created(2))
        assert state.receipts[THEM, THEM].read_seq == 2

    def test_edit_and_deletion_replace_message(self) -> None:
        state = replayed(created(1), event("message.edited", message(1, body="better", edited_at=AT)))
        assert state.messages[THEM][1].body == "better"
        state.apply(event("message.deleted", message(1, body=None, deleted_at=AT)))
        assert state.messages[THEM][1].body is None

    def test_deleted_message_stays_deleted(self) -> None:
        state = replayed(created(1), event("message.deleted", message(1, body=None, deleted_at=AT)))
        state.add_history(THEM, [message(1)])
        assert state.messages[THEM][1].deleted_at == AT

    def test_older_page_keeps_edited_text(self) -> None:
        state = replayed(created(1), event("message.edited", message(1, body="better", edited_at=AT)))
        state.add_history(THEM, [message(1)])
        assert state.messages[THEM][1].body == "better"

    def test_older_conversation_keeps_edited_text(self) -> None:
        state = replayed(created(1), event("message.edited", message(1, body="better", edited_at=AT)))
        state.apply(event("conversation.updated", conversation(1, 0)))
        assert state.messages[THEM][1].body == "better"

    def test_newer_page_replaces_edited_text(self) -> None:
        state = replayed(created(1), event("message.edited", message(1, body="better", edited_at=AT)))
        state.add_history(THEM, [message(1, body="best", edited_at="2026-11-22T10:15:31.000Z")])
        assert state.messages[THEM][1].body == "best"
        state.apply(event("message.edited", message(1, body="better", edited_at=AT)))
        assert state.messages[THEM][1].body == "best"

    def test_second_edit_within_millisecond_replaces_first(self) -> None:
        state = replayed(
            created(1),
            event("message.edited", message(1, body="better", edited_at=AT)),
            event("message.edited", message(1, body="best", edited_at=AT)),
        )
        state.add_history(THEM, [message(1, body="better", edited_at=AT)])
        assert state.messages[THEM][1].body == "best"

    def test_older_page_keeps_deleted_message_empty(self) -> None:
        state = replayed(created(1), event("message.deleted", message(1, body=None, deleted_at=AT)))
        state.add_history(THEM, [message(1, body="better", edited_at="2026-11-22T10:16:00.000Z")])
        assert state.messages[THEM][1].body is None

    def test_tail_ends_at_the_first_gap(self) -> None:
        state = replayed(created(1), created(4), created(5))
        assert [each.seq for each in state.tail(THEM)] == [4, 5]
        assert state.tail(33333333) == []
        last = state.last_message(THEM)
        assert last is not None
        assert last.seq == 5


class TestReceiptState:
    def test_receipts_of_peer_only_advance(self) -> None:
        state = replayed(receipt(THEM, 5), receipt(THEM, 3, delivered=7))
        assert (state.receipts[THEM, THEM].read_seq, state.receipts[THEM, THEM].delivered_seq) == (5, 7)

    def test_own_receipt_sets_unread(self) -> None:
        state = replayed(created(1), created(2), created(3), receipt(ME, 2, last=3))
        assert state.conversations[THEM].unread == 1
        assert (THEM, ME) not in state.receipts

    def test_older_unread_is_ignored(self) -> None:
        state = replayed(created(1), receipt(ME, 1, last=1), created(2))
        state.apply(receipt(ME, 1, last=1))
        assert state.conversations[THEM].unread == 1


class TestConversationState:
    def test_conversation_settings_are_applied(self) -> None:
        state = replayed(created(1))
        state.apply(event("conversation.updated", conversation(1, 0, pinned=True, muted_until=AT, expire_after=60)))
        here = state.conversations[THEM]
        assert (here.pinned, here.muted_until, here.expire_after, here.unread) == (True, AT, 60, 1)

    def test_loaded_conversation_includes_receipt_of_peer(self) -> None:
        state = replayed(receipt(THEM, 3))
        state._on_conversation(conversation(5, 5, last_message=None, target_receipt=TargetReceiptView(2, 4)))
        assert state.receipts[THEM, THEM] == Receipt(3, 4)

    def test_older_answer_changes_no_unread(self) -> None:
        state = replayed(created(1), created(2), receipt(ME, 2, last=2))
        state._on_conversation(conversation(1, 0))
        here = state.conversations[THEM]
        assert (here.last_seq, here.read_seq, here.unread) == (2, 2, 0)

    def test_stranger_is_known_from_conversation(self) -> None:
        state = replayed(created(1))
        assert state.unnamed() == [THEM]
        assert state.name_of(THEM) == str(THEM)
        state.introduce(msgspec.convert(PERSON, PersonView))
        assert state.unnamed() == []
        assert state.name_of(THEM) == "Bob"


class TestUserState:
    def test_contacts_are_added_and_removed(self) -> None:
        state = replayed(contact("pending_in"), contact("mutual"))
        assert state.contacts[THEM].state == "mutual"
        state.apply(contact("none"))
        assert state.contacts == {}

    def test_new_name_is_shown_everywhere(self) -> None:
        state = replayed(contact("mutual"), created(1))
        state.apply(event("profile.updated", msgspec.convert({**PERSON, "name": "Robert"}, PersonView)))
        assert state.contacts[THEM].user.name == "Robert"
        target = state.conversations[THEM].target
        assert target is not None
        assert target.name == "Robert"
        assert state.presence[THEM].online

    def test_alias_takes_precedence_over_name(self) -> None:
        state = State(ME)
        state.contacts[THEM] = ContactView(BOB, "mutual", "Bobby", None, AT)
        assert state.name_of(THEM) == "Bobby"

    def test_own_profile_is_updated(self) -> None:
        state = replayed(event("profile.updated", msgspec.convert(PROFILE, ProfileView)))
        assert state.profile is not None
        assert state.profile.name == "Ada"

    def test_presence_is_set_by_signal_and_removed_with_contact(self) -> None:
        state = replayed(contact("mutual"))
        status = StatusView(THEM, "away", "", True, None)
        assert state.apply_signal(Signal("presence", status))
        assert not state.apply_signal(Signal("typing", {}))
        assert state.presence == {THEM: status}
        state.apply(contact("none"))
        assert state.presence == {}
        state.apply_signal(Signal("presence", StatusView(THEM, "online", "", False, None)))
        assert state.presence == {}

    def test_name_from_event_survives_older_answer(self) -> None:
        state = replayed(created(1), contact("mutual", name="Robert"))
        state.introduce(msgspec.convert(PERSON, PersonView))
        assert state.name_of(THEM) == "Robert"

    def test_signals_survive_statuses_requested_earlier(self) -> None:
        state = replayed(contact("mutual"))
        away, busy = (StatusView(THEM, status, "", True, None) for status in ("away", "busy"))
        state.apply_signal(Signal("presence", StatusView(THEM, "online", "", True, None)))
        before = dict(state.presence)
        state.apply_signal(Signal("presence", away))
        state.set_presence([busy, StatusView(33333333, "online", "", True, None)], since=before)
        assert state.presence[THEM] == away
        assert set(state.presence) == {THEM, 33333333}
        before = dict(state.presence)
        state.apply(contact("none"))
        state.set_presence([busy], since=before)
        assert state.presence == {}
        state.set_presence([busy], since={})
        assert state.presence == {THEM: busy}

    def test_devices_are_added_and_removed(self) -> None:
        device = DeviceView(id=UUID(DEVICE), name="phone", created_at=AT, last_activity=AT, current=False)
        state = replayed(event("device.added", device))
        assert state.devices[UUID(DEVICE)].name == "phone"
        state.apply(event("device.removed", RemovedDeviceView(UUID(DEVICE))))
        assert state.devices == {}


class TestUnknownEvents:
    @pytest.mark.parametrize("name", ["poll.created", "message.created"])
    def test_unknown_event_leaves_state_unchanged(self, name: str) -> None:
        state = State(ME)
        assert not state.apply(event_of(EventFrame("e1", name, AT, {"unlike": "anything"})))
        assert state.snapshot() == State(ME).snapshot()


ERASED = message(1, body=None, deleted_at=AT)
EDITED = message(3, body="better", edited_at=AT)


class TestSnapshot:
    HISTORY = (
        contact("pending_out"),
        contact("mutual"),
        created(1),
        receipt(ME, 1, last=1),
        created(2, sender_id=ME),
        receipt(THEM, 2),
        created(3),
        event("message.edited", message(3, body="better", edited_at=AT)),
        event("message.deleted", message(1, body=None, deleted_at=AT)),
        event(
            "conversation.updated",
            conversation(3, 2, pinned=True, last_message=message(3, body="better", edited_at=AT)),
        ),
        receipt(ME, 3, last=3),
    )

    def test_repeated_events_leave_snapshot_unchanged(self) -> None:
        # Seeded: the same ranges each time.
        draw = random.Random(7)
        whole = replayed(*self.HISTORY).snapshot(receipts=True)
        for _ in range(50):
            begin = draw.randrange(len(self.HISTORY))
            end = draw.randrange(begin, len(self.HISTORY))
            again = (*self.HISTORY[:end], *self.HISTORY[begin:])
            assert replayed(*again).snapshot(receipts=True) == whole

    def test_load_followed_by_events_equals_replay(self) -> None:
        profile = msgspec.convert(PROFILE, ProfileView)
        whole = replayed(event("profile.updated", profile), *self.HISTORY)
        loaded = State.load(
            profile,
            contacts=[ContactView(BOB, "mutual", None, None, AT)],
            conversations=[conversation(3, 3, pinned=True)],
        )
        loaded.add_history(THEM, [ERASED, message(2, sender_id=ME), EDITED])
        assert loaded.snapshot() == whole.snapshot()
        for each in self.HISTORY[6:]:
            loaded.apply(each)
        assert loaded.snapshot() == whole.snapshot()

    def test_snapshot_is_json_serializable(self) -> None:
        snapshot = replayed(*self.HISTORY).snapshot(receipts=True)
        assert msgspec.json.decode(msgspec.json.encode(snapshot)) == snapshot
        assert set(snapshot) == {
            *("profile", "devices", "contacts", "conversations", "messages"),
            *("groups", "members", "notices", "receipts"),
        }

    def test_snapshot_omits_empty_conversation(self) -> None:
        view = conversation(0, 0, last_message=None, pinned=True)
        assert replayed(event("conversation.updated", view)).snapshot()["conversations"] == {}

    def test_snapshot_empties_expired_message(self) -> None:
        expiring = created(1, expires_at="2026-11-22T10:16:00.000Z")
        snapshot = replayed(expiring).snapshot(at="2026-11-22T10:15:59.999Z")
        assert snapshot["messages"][str(THEM)]["1"]["body"] == "message 1"
        snapshot = replayed(expiring).snapshot(at="2026-11-22T10:16:00.000Z")
        assert snapshot["messages"][str(THEM)]["1"]["body"] is None

    def test_snapshot_omits_activity(self) -> None:
        one, other = (
            replayed(event("profile.updated", msgspec.convert({**PROFILE, "last_activity": at}, ProfileView)))
            for at in ("2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z")
        )
        assert one.snapshot() == other.snapshot()
