"""Events as they are delivered: rows of the stream in the API's representation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from messenger.actor import Actor, Caller
from messenger.realtime.interfaces import StreamEvent, StreamPage
from messenger.repositories.conversations import MembershipRow
from messenger.repositories.group_events import GroupEventRow
from messenger.repositories.group_rows import GroupRow
from messenger.repositories.streams import CorruptEvent, StreamRow
from messenger.repositories.user_rows import PersonRow, ProfileRow, UserRow
from messenger.schemas.accounts import DeviceView
from messenger.schemas.realtime import ContactChangeView, EventFrame, ReceiptView, RemovedDeviceView, stream_cursor
from messenger.schemas.types import PeerId, Seq, timestamp
from messenger.services import _group_events
from messenger.services._group_events import read_details
from messenger.services._unreadable import Unreadable
from messenger.services._views import conversation_view, message_view, person_view, profile_view, user_view
from messenger.unit_of_work import UnitOfWorkFactory


class _Receipt(msgspec.Struct, frozen=True):
    """The payload of a receipt's event. Only the reader's own event has `unread` and `version`."""

    target_id: PeerId
    user_id: PeerId
    read_seq: Seq
    delivered_seq: Seq
    unread: Seq | None = None
    version: Seq | None = None


class _Edge(msgspec.Struct, frozen=True):
    """The payload of a contact's event: the contact as its owner sees it."""

    state: str
    alias: str | None = None
    message: str | None = None
    since: str | None = None


class _AboutGroup(msgspec.Struct, frozen=True):
    """The group that a conversation is with, if it is one."""

    group: GroupRow | None = None


# Payloads are validated, so that clients only receive values that the API documents and both encodings can represent.
_decode_receipt = msgspec.json.Decoder(_Receipt).decode
_decode_edge = msgspec.json.Decoder(_Edge).decode
_decode_device = msgspec.json.Decoder(DeviceView).decode
_decode_removed = msgspec.json.Decoder(RemovedDeviceView).decode
_decode_user = msgspec.json.Decoder(UserRow).decode
_decode_person = msgspec.json.Decoder(PersonRow).decode
_decode_profile = msgspec.json.Decoder(ProfileRow).decode
_decode_about = msgspec.json.Decoder(_AboutGroup).decode
_decode_membership = msgspec.json.Decoder(MembershipRow).decode


async def read_page(
    uow_factory: UnitOfWorkFactory,
    unreadable: Unreadable,
    caller: Caller,
    after: int,
    limit: int,
    *,
    epoch: str | None = None,
    stamp: bool,
) -> tuple[Actor, StreamPage]:
    """The events after a position of this epoch (None: of any epoch), in one round trip.

    `stamp`: whether reading counts as activity.
    """
    async with uow_factory.read() as uow:
        rows = await uow.streams.read(caller, after=after, limit=limit)
        actor = uow.actor
        details = await read_details(uow, actor, rows)
        if not stamp:
            uow.skip_stamp()
    return actor, await _page(unreadable, actor, rows, details, after, epoch)


async def _page(
    unreadable: Unreadable,
    actor: Actor,
    rows: Sequence[StreamRow | CorruptEvent],
    details: dict[int, GroupEventRow],
    after: int,
    wanted: str | None,
) -> StreamPage:
    """The page of these rows; `lost` if events are missing.

    Positions have no gaps, so a gap means that the sweep has removed events. Positions of another epoch refer to other
    events. An event that cannot be shown is not a gap: `end` includes its position.
    """
    head, acked_position, epoch = (rows[0].head, rows[0].taken, rows[0].epoch) if rows else (0, 0, "")
    found = [row for row in rows if row.position is not None]
    if wanted not in {None, epoch}:
        return StreamPage([], head, head, acked_position, epoch, lost=True)
    if any(row.position != place for place, row in enumerate(found, start=after + 1)) or (not found and head != after):
        return StreamPage([], head, head, acked_position, epoch, lost=True)
    shown = await unreadable.shown("event", actor, partial(_event, actor, details), found)
    events = [event for event in shown if event is not None]
    return StreamPage(events, after + len(found), head, acked_position, epoch)


def _event(actor: Actor, details: dict[int, GroupEventRow], row: StreamRow) -> StreamEvent | None:
    """The event, or None if it is not delivered any more: the reader has left the group."""
    assert row.position is not None
    if row.has_left:
        return None
    detail = details.get(row.position) if details else None
    data = _SHOW[row.event](actor, row) if detail is None else _group_events.show(row.event, detail)
    if data is None:
        return None
    incoming = row.event == "message.created" and row.message is not None and row.message.sender_id != actor.user_id
    return StreamEvent(
        row.position, EventFrame(stream_cursor(row.position, row.epoch), row.event, timestamp(row.at), data), incoming
    )


def _message(_: Actor, row: StreamRow) -> object:
    if row.message is None:
        raise LookupError("there is no such message")
    return message_view(row.message)


def receipt_view(payload: str) -> ReceiptView:
    """The receipt in the payload of an event."""
    kept = _decode_receipt(payload)
    return ReceiptView(kept.target_id, kept.user_id, kept.read_seq, kept.delivered_seq, kept.unread, kept.version)


def _receipt(_: Actor, row: StreamRow) -> object:
    return receipt_view(row.payload or "")


def _conversation(_: Actor, row: StreamRow) -> object:
    peer = row.peer or ""
    return conversation_view(_decode_user(peer), _decode_membership(peer), row.message, _decode_about(peer).group)


def _contact(_: Actor, row: StreamRow) -> object:
    edge = _decode_edge(row.payload or "")
    user = user_view(_decode_user(row.peer or ""))
    return ContactChangeView(user.id, user, edge.state, edge.alias, edge.message, edge.since)


def _profile(actor: Actor, row: StreamRow) -> object:
    peer = row.peer or ""
    if row.peer_id == actor.user_id:
        return profile_view(_decode_profile(peer))
    return person_view(_decode_person(peer), is_self=False)


def _device(_: Actor, row: StreamRow) -> object:
    return _decode_device(row.payload or "")


def _removed_device(_: Actor, row: StreamRow) -> object:
    return _decode_removed(row.payload or "")


_SHOW = {
    "message.created": _message,
    "message.edited": _message,
    "message.deleted": _message,
    "receipt.updated": _receipt,
    "conversation.updated": _conversation,
    "contact.updated": _contact,
    "profile.updated": _profile,
    "device.added": _device,
    "device.removed": _removed_device,
}
