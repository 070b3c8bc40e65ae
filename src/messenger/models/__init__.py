"""The tables, as mapped classes; importing this package loads them all."""

from messenger.models.base import Base
from messenger.models.connection import Connection, Ticket, Worker
from messenger.models.contact import Contact, ContactState, Edges
from messenger.models.conversation import Conversation, Member
from messenger.models.device import Device, RefreshToken
from messenger.models.event import Event, Stream, StreamEpoch
from messenger.models.fan_out import FanOut
from messenger.models.group import (
    FormerMember,
    Group,
    GroupBan,
    GroupDecline,
    GroupInvitation,
    GroupLink,
    GroupNotice,
    GroupRequest,
    MessagePurge,
)
from messenger.models.guard import FamiliarAddress, IdempotencyRecord, RateBucket
from messenger.models.message import HiddenMessage, Message
from messenger.models.peer import Audience, AutoJoin, Avatar, Peer, ReleasedUsername, Status, User
from messenger.models.secret import Secret

__all__ = [
    "Audience",
    "AutoJoin",
    "Avatar",
    "Base",
    "Connection",
    "Contact",
    "ContactState",
    "Conversation",
    "Device",
    "Edges",
    "Event",
    "FamiliarAddress",
    "FanOut",
    "FormerMember",
    "Group",
    "GroupBan",
    "GroupDecline",
    "GroupInvitation",
    "GroupLink",
    "GroupNotice",
    "GroupRequest",
    "HiddenMessage",
    "IdempotencyRecord",
    "Member",
    "Message",
    "MessagePurge",
    "Peer",
    "RateBucket",
    "RefreshToken",
    "ReleasedUsername",
    "Secret",
    "Status",
    "Stream",
    "StreamEpoch",
    "Ticket",
    "User",
    "Worker",
]
