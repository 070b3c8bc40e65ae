"""The methods of a socket: each decodes a draft, calls one service, and returns the same view as over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from messenger.actor import Actor
from messenger.errors import FieldError, PayloadTooLarge, UnknownMethod, ValidationFailed
from messenger.realtime.hub import Hub
from messenger.realtime.receipt_signals import ReceiptSignals
from messenger.realtime.socket import Socket
from messenger.realtime.typing_signals import TypingSignals
from messenger.schemas.messages import MessageDraft, MessageView, ReceiptDraft
from messenger.schemas.realtime import (
    MAX_SIGNAL_BYTES,
    CallSignalDraft,
    CallSignalView,
    NoData,
    PresencePatch,
    TypingDraft,
    WatchDraft,
)
from messenger.schemas.users import ProfileView
from messenger.services import Services
from messenger.web.request import decoders_of


class Session(msgspec.Struct, frozen=True):
    """The caller of a socket's requests, and the services for them."""

    socket: Socket
    actor: Actor
    services: Services
    hub: Hub
    typing: TypingSignals
    receipts: ReceiptSignals


class Method:
    """A method: the decoders of its data, and the function that runs it."""

    def __init__(self, draft: Any, run: Callable[[Session, Any], Awaitable[Any]]) -> None:
        self.json, self.msgpack = decoders_of(draft)
        self.run = run


async def _send_message(session: Session, draft: MessageDraft) -> MessageView:
    message, _ = await session.services.messages.send(session.actor, draft)
    # A user who has sent the message has stopped typing.
    session.typing.stop(draft.target_id)
    return message


async def _set_receipt(session: Session, draft: ReceiptDraft) -> None:
    await session.services.conversations.receipt(session.actor, draft)


async def _typing(session: Session, draft: TypingDraft) -> None:
    if not draft.typing:
        await stop_typing(session, draft.target_id)
    elif not session.typing.was_sent_recently(draft.target_id):
        audience = await session.services.signals.typing_audience(session.actor, draft.target_id)
        session.typing.start(draft.target_id, audience)


async def stop_typing(session: Session, target_id: int | None = None) -> None:
    """Stop the typing signal in one conversation, or in all. If the user has become invisible, it times out instead,
    since a signal would reveal that they are connected.
    """
    typing = session.typing
    if typing.is_shown(target_id) and await session.services.signals.is_hidden(session.actor):
        return
    if target_id is None:
        typing.stop_all()
    else:
        typing.stop(target_id)


async def _set_presence(session: Session, patch: PresencePatch) -> ProfileView:
    return await session.services.profiles.set_presence(session.actor, patch)


async def _signal_call(session: Session, draft: CallSignalDraft) -> None:
    if _size(draft.payload) > MAX_SIGNAL_BYTES:
        raise PayloadTooLarge("payload is limited to 64 KiB")
    audience = await session.services.signals.call_audience(session.actor, draft.target_id)
    me = session.actor
    for target_id, users in audience.items():
        view = CallSignalView(target_id, me.user_id, me.device_id, draft.call_id, draft.payload)
        session.hub.signal(users, "call.signal", view)


def _size(payload: dict[str, Any]) -> int:
    """The size of a payload as JSON in bytes. Raises `ValidationFailed` if JSON or MessagePack cannot represent it.

    Receivers choose their encoding: JSON has no extension types, MessagePack has no integers over 64 bits.
    """
    try:
        msgspec.msgpack.encode(payload)
        return len(msgspec.json.encode(payload))
    except (TypeError, ValueError, OverflowError, RecursionError):
        fault = FieldError("payload", "invalid", "must be representable in both JSON and MessagePack")
        raise ValidationFailed(f"payload: {fault.message}", errors=(fault,)) from None


async def _ping(_: Session, __: NoData) -> None:
    """For clients that cannot observe WebSocket pings: the reply proves that the connection is alive."""


async def _watch(session: Session, draft: WatchDraft) -> None:
    """No membership is checked: signals are sent to members only."""
    session.receipts.watch(session.socket, draft.target_ids)


METHODS = {
    "message.send": Method(MessageDraft, _send_message),
    "receipt.set": Method(ReceiptDraft, _set_receipt),
    "typing": Method(TypingDraft, _typing),
    "presence.set": Method(PresencePatch, _set_presence),
    "watch": Method(WatchDraft, _watch),
    "call.signal": Method(CallSignalDraft, _signal_call),
    "ping": Method(NoData, _ping),
}


def method(name: str) -> Method:
    """The method of this name. Raises `UnknownMethod`."""
    found = METHODS.get(name)
    if found is None:
        raise UnknownMethod(f"supported methods: {', '.join(METHODS)}")
    return found
