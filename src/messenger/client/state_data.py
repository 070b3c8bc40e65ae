"""The data of a client's state; `messenger.client.state` changes it."""

from __future__ import annotations

from uuid import UUID

import msgspec

from messenger.schemas.accounts import DeviceView
from messenger.schemas.admission import InvitationView, RequestView
from messenger.schemas.groups import GroupView, MemberView, NoticeView
from messenger.schemas.messages import MessageView, PeerView
from messenger.schemas.users import ContactView, ProfileView, StatusView


class Receipt(msgspec.Struct):
    """The read and delivered receipts of another user; they only ever advance."""

    read_seq: int = 0
    delivered_seq: int = 0

    def forward(self, *, read: int, delivered: int) -> None:
        """Advance the receipt. Reading a message includes its delivery."""
        self.read_seq = max(self.read_seq, read)
        self.delivered_seq = max(self.delivered_seq, delivered, self.read_seq)


class Conversation(msgspec.Struct):
    """Your side of a conversation. `target` is None until it is loaded.

    `last_seq` and `read_seq` only grow, on the server and here, so each keeps its greatest value. Of two unread counts
    the one with the higher version is kept: `version` is the sum of both numbers and of the number of deleted or hidden
    messages (`_gone`), which the count does not include.
    """

    target_id: int
    target: PeerView | None = None
    last_seq: int = 0
    read_seq: int = 0
    unread: int = 0
    version: int = 0
    muted_until: str | None = None
    pinned: bool = False
    archived: bool = False
    expire_after: int | None = None

    @property
    def _gone(self) -> int:
        return self.version - self.last_seq - self.read_seq

    def reach(self, seq: int, *, mine: bool) -> None:
        """Note that the message `seq` exists; its sender has read all earlier messages."""
        self._move(max(self.last_seq, seq))
        if mine and seq > self.read_seq:
            self.unread, self.version, self.read_seq = 0, self.version + seq - self.read_seq, seq

    def count(self, unread: int, version: int, *, read_seq: int, last_seq: int | None = None) -> None:
        """Apply an unread count unless a newer one is known. `last_seq`: the last message included, if given.

        The server serializes reading, deleting and hiding, and sends an event for each deleted or hidden message before
        the next change. A receipt with a higher `read_seq` therefore includes all deleted and hidden messages known.
        """
        if last_seq is None:
            if read_seq <= self.read_seq:
                return
            last_seq = version - read_seq - self._gone
        if version - last_seq >= self.version - self.last_seq:
            known = self.last_seq
            self.unread, self.version, self.read_seq, self.last_seq = unread, version, read_seq, last_seq
            self._move(max(known, last_seq))
        else:
            self._move(max(self.last_seq, last_seq))

    def _move(self, last_seq: int) -> None:
        # `message.created` has no count. `seq` has no gaps, so each new message adds one.
        more = last_seq - self.last_seq
        self.unread, self.version, self.last_seq = self.unread + more, self.version + more, last_seq


class StateData:
    """Contacts, conversations, groups, messages, receipts, devices and the profile of one user, `me`."""

    def __init__(self, me: int) -> None:
        self.me = me
        self.profile: ProfileView | None = None
        self.devices: dict[UUID, DeviceView] = {}
        self.contacts: dict[int, ContactView] = {}
        self.conversations: dict[int, Conversation] = {}
        self.messages: dict[int, dict[int, MessageView]] = {}
        """By `target_id`, then by `seq`."""
        self.receipts: dict[tuple[int, int], Receipt] = {}
        """By `target_id` and user."""
        self.presence: dict[int, StatusView] = {}
        """From `GET /statuses` and signals; best effort."""
        self.groups: dict[int, GroupView] = {}
        """The groups that you are a member of."""
        self.joined: set[int] = set()
        """Groups that you have joined since the state was loaded: their members and earlier messages have no events.
        Remove each, and call `Client.load_conversation`.
        """
        self.members: dict[int, dict[int, MemberView]] = {}
        """By group, then by user: those loaded by `add_members`, and those that events have reported."""
        self._member_versions: dict[int, dict[int, int]] = {}
        """By group, then by user: the version of the latest event about a member."""
        self.notices: dict[int, dict[UUID, NoticeView]] = {}
        """By group, then by id."""
        self.invitations: dict[int, InvitationView] = {}
        """By group. An invitation that lapses ends without an event."""
        self.requests: dict[int, dict[int, RequestView]] = {}
        """By group, then by user: requests to join, in groups that you moderate."""
        self.pending: dict[int, int] = {}
        """How many requests to join a group wait, as the latest event says."""
