"""The state of an account on a device, loaded from the API and updated by events. Uses no clock and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

from messenger.client.codec import Event, Signal
from messenger.client.expiry import Expiries, as_of
from messenger.client.group_state import GROUP_HANDLERS, GroupState
from messenger.client.merging import supersedes, with_signals
from messenger.client.snapshot import snapshot_of
from messenger.client.state_data import Conversation, Receipt
from messenger.schemas.accounts import DeviceView
from messenger.schemas.messages import ConversationView, HistoryView, MessageView, PeerView
from messenger.schemas.realtime import ContactChangeView, ReceiptView, RemovedDeviceView
from messenger.schemas.types import ContactState
from messenger.schemas.users import ContactView, PersonView, ProfileView, StatusView, UserView


class State(GroupState):
    """Contacts, conversations, groups, messages, receipts, devices and the profile of one user, `me`.

    Applying an event is idempotent, also if the loaded state already includes it: after all events up to a cursor, the
    state equals the server's at that cursor, whichever earlier state it started from. `messenger.client.snapshot`
    defines what is compared. Call `expire` regularly: no event is sent when a message expires.
    """

    def __init__(self, me: int) -> None:
        super().__init__(me)
        self._expiries = Expiries()

    @classmethod
    def load(
        cls,
        profile: ProfileView,
        *,
        contacts: Iterable[ContactView] = (),
        conversations: Iterable[ConversationView] = (),
        devices: Iterable[DeviceView] = (),
        statuses: Iterable[StatusView] = (),
    ) -> State:
        """From GET answers; histories are added by `add_history`."""
        state = cls(profile.id)
        state.profile = profile
        state.contacts = {contact.user.id: contact for contact in contacts}
        state.devices = {device.id: device for device in devices}
        for view in conversations:
            state._on_conversation(view)
        state.set_presence(statuses)
        return state

    def add_history(self, target_id: int, page: HistoryView | Iterable[MessageView]) -> None:
        """Add messages of a conversation, and the notices of a group, from `GET /history`."""
        if isinstance(page, HistoryView):
            self.add_notices(target_id, page.notices)
        for message in page.items if isinstance(page, HistoryView) else page:
            self._keep(message, from_event=False)

    def set_presence(self, statuses: Iterable[StatusView], *, since: Mapping[int, StatusView] | None = None) -> None:
        """Replace all statuses. `since`: a copy of `presence` made before the request; newer signals are kept."""
        loaded = {status.user_id: status for status in statuses}
        self.presence = loaded if since is None else with_signals(loaded, current=self.presence, before=since)

    def introduce(self, person: PersonView) -> None:
        """Set the name of a peer in `unnamed`, from `GET /users/{id}`, unless an event has set it meanwhile."""
        if person.id in self.unnamed():
            self._name(_user_of(person))

    # --- messages that expire ---

    @property
    def next_expiry(self) -> str | None:
        """When the next message expires, in the wire format; no event is sent for it."""
        return self._expiries.next

    def expire(self, at: str) -> bool:
        """Empty the messages that have expired at a given time, as the server does; True if there were any."""
        changed = False
        for target_id, seq in self._expiries.pop_until(at):
            known = self.messages.get(target_id, {}).get(seq)
            if known is None:
                # A message of a group that you have left.
                continue
            self.messages[target_id][seq] = as_of(known, at)
            changed = changed or self.messages[target_id][seq] is not known
        return changed

    # --- events ---

    def apply(self, event: Event) -> bool:
        """Apply an event; False if this client does not know its type."""
        handler = _HANDLERS.get(event.name)
        if handler is None or not isinstance(event.data, handler[0]):
            return False
        handler[1](self, event.data)
        return True

    def apply_signal(self, signal: Signal) -> bool:
        """Apply a presence signal; False for any other signal."""
        status = signal.data
        if not isinstance(status, StatusView):
            return False
        contact = self.contacts.get(status.user_id)
        if status.online or (contact is not None and contact.state == "mutual"):
            self.presence[status.user_id] = status
        else:
            # A late signal of a former contact, received after the event that ended the contact.
            self.presence.pop(status.user_id, None)
        return True

    def _on_created(self, message: MessageView) -> None:
        conversation = self._conversation(message.target_id)
        mine = message.sender_id == self.me
        conversation.reach(message.seq, mine=mine)
        self._keep(message)

    def _keep(self, message: MessageView, *, from_event: bool = True) -> None:
        group = self.groups.get(message.target_id)
        if group is not None and message.seq < group.me.visible_from:
            # From before you left the group and came back.
            return
        if message.sender_id != self.me:
            # The sender of a message has read all earlier ones; no event is sent for that.
            self._receipt(message.target_id, message.sender_id).forward(read=message.seq, delivered=message.seq)
        messages = self.messages.setdefault(message.target_id, {})
        known = messages.get(message.seq)
        if known is None or supersedes(message, known, from_event=from_event):
            messages[message.seq] = message
            self._expiries.add(message)

    def _on_receipt(self, receipt: ReceiptView) -> None:
        if receipt.user_id != self.me:
            their = self._receipt(receipt.target_id, receipt.user_id)
            their.forward(read=receipt.read_seq, delivered=receipt.delivered_seq)
            return
        conversation = self._conversation(receipt.target_id)
        if receipt.unread is not None and receipt.version is not None:
            conversation.count(receipt.unread, receipt.version, read_seq=receipt.read_seq)

    def _on_conversation(self, view: ConversationView) -> None:
        if view.group is not None:
            self.keep_group(view.group)
        elif view.target.kind == "group":
            # Left since.
            return
        conversation = self._conversation(view.target.id)
        if view.group is None:
            conversation.target, conversation.expire_after = view.target, view.expire_after
        conversation.count(view.unread, view.version, read_seq=view.read_seq, last_seq=view.last_seq)
        conversation.muted_until, conversation.pinned = view.muted_until, view.pinned
        conversation.archived = view.archived
        if view.target_receipt is not None:
            theirs = view.target_receipt
            self._receipt(view.target.id, view.target.id).forward(read=theirs.read_seq, delivered=theirs.delivered_seq)
        if view.last_message is not None:
            self._keep(view.last_message, from_event=False)

    def _on_contact(self, change: ContactChangeView) -> None:
        self._name(change.user)
        if change.state != "mutual":
            self.presence.pop(change.target_id, None)
        if change.state == "none" or change.since is None:
            self.contacts.pop(change.target_id, None)
        else:
            state = cast(ContactState, change.state)
            contact = ContactView(change.user, state, change.alias, change.message, change.since)
            self.contacts[change.target_id] = contact

    def _on_profile(self, view: ProfileView | PersonView) -> None:
        if isinstance(view, ProfileView):
            self.profile = view
            return
        self._name(_user_of(view))
        if view.status is not None:
            self.presence[view.id] = StatusView(
                view.id, view.status, view.status_text or "", view.online, view.last_activity
            )

    def _on_device(self, device: DeviceView) -> None:
        self.devices[device.id] = device

    def _on_device_removed(self, removed: RemovedDeviceView) -> None:
        self.devices.pop(removed.id, None)

    # --- queries ---

    def name_of(self, user_id: int) -> str:
        """The display name of a user or group: your alias, else the name, else the id."""
        contact = self.contacts.get(user_id)
        if contact is not None:
            return contact.alias or contact.user.name
        conversation = self.conversations.get(user_id)
        if conversation is not None and conversation.target is not None:
            return conversation.target.name
        return self.member_name(user_id) or str(user_id)

    def unnamed(self) -> list[int]:
        """Ids of conversation partners whose names are unknown; load them and call `introduce`."""
        return [each.target_id for each in self.conversations.values() if each.target is None]

    def last_message(self, target_id: int) -> MessageView | None:
        """The newest visible message of a conversation, if known."""
        messages = self.messages.get(target_id, {})
        seq = max((seq for seq, message in messages.items() if message.deleted_at is None), default=None)
        return None if seq is None else messages[seq]

    def tail(self, target_id: int) -> list[MessageView]:
        """The latest messages without a gap, in ascending `seq`; load earlier ones from `GET /history`."""
        conversation = self.conversations.get(target_id)
        return list(_down_from(self.messages.get(target_id, {}), conversation.last_seq if conversation else 0))[::-1]

    def snapshot(self, *, at: str | None = None, receipts: bool = False) -> dict[str, Any]:
        """A comparable form of the state; see `messenger.client.snapshot`."""
        return snapshot_of(self, at=at, receipts=receipts)

    # --- internals ---

    def _conversation(self, target_id: int) -> Conversation:
        conversation = self.conversations.get(target_id)
        if conversation is None:
            contact = self.contacts.get(target_id)
            conversation = Conversation(target_id, _peer_of(contact.user) if contact else None)
            self.conversations[target_id] = conversation
        return conversation

    def _receipt(self, target_id: int, user_id: int) -> Receipt:
        return self.receipts.setdefault((target_id, user_id), Receipt())

    def _name(self, user: UserView) -> None:
        contact = self.contacts.get(user.id)
        if contact is not None:
            self.contacts[user.id] = msgspec.structs.replace(contact, user=user)
        conversation = self.conversations.get(user.id)
        if conversation is not None:
            conversation.target = _peer_of(user)


def _down_from(messages: dict[int, MessageView], seq: int) -> Iterator[MessageView]:
    while (message := messages.get(seq)) is not None:
        yield message
        seq -= 1


def _peer_of(user: UserView) -> PeerView:
    return PeerView(user.id, "user", user.username, user.name, user.avatar)


def _user_of(person: PersonView) -> UserView:
    return UserView(person.id, person.username, person.name, person.avatar)


_HANDLERS: dict[str, tuple[Any, Callable[[State, Any], None]]] = {
    "message.created": (MessageView, State._on_created),
    "message.edited": (MessageView, State._keep),
    "message.deleted": (MessageView, State._keep),
    "receipt.updated": (ReceiptView, State._on_receipt),
    "conversation.updated": (ConversationView, State._on_conversation),
    "contact.updated": (ContactChangeView, State._on_contact),
    "profile.updated": ((ProfileView, PersonView), State._on_profile),
    "device.added": (DeviceView, State._on_device),
    "device.removed": (RemovedDeviceView, State._on_device_removed),
    **GROUP_HANDLERS,
}
