"""The random operations of a device: a step each, drawn by weight."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

from PIL import Image

from messenger.schemas.messages import MessageView
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from tests.model._group_operations import GROUP_OPERATIONS
from tests.model._walk import MOST_DEVICES, Walk
from tests.support.device import Device

Operation = Callable[[Walk, Device, Random], Awaitable[object]]

_AUDIENCES = ("everyone", "contacts", "nobody")
_STATUSES = ("online", "away", "busy", "invisible")


def _body(chance: Random) -> str:
    """Short most of the time, sometimes larger than a socket's buffers."""
    return f"{chance.getrandbits(64):x} " * chance.choice((1, 1, 1, 1, 8, 60, 1000))


def _picked(device: Device, chance: Random, *, own: bool) -> MessageView | None:
    messages = [each for found in device.state.messages.values() for each in found.values()]
    messages = [each for each in messages if not own or each.sender_id == device.user_id]
    return chance.choice(messages) if messages else None


def _target(walk: Walk, device: Device, chance: Random) -> int:
    """The partner, or a group that the device believes its user to be in."""
    groups = list(device.state.groups)
    return chance.choice(groups) if groups and chance.random() < 0.5 else walk.member(device).partner.id


# --- messages -------------------------------------------------------------------------------------


async def send(walk: Walk, device: Device, chance: Random) -> None:
    """Send one message, once or several times at once."""
    answered = _picked(device, chance, own=False) if chance.random() < 0.2 else None
    target_id = _target(walk, device, chance)
    if answered is not None and answered.target_id != target_id:
        answered = None
    reply_to = answered.id if answered else None
    draft = walk.draft(walk.member(device), _body(chance), reply_to=reply_to, target_id=target_id)
    times = chance.choice((1, 1, 1, 1, 2, 3))
    await asyncio.gather(*(walk.send(device, draft, within=chance.choice((0.0, 2.0))) for _ in range(times)))


async def flood(walk: Walk, device: Device, chance: Random) -> None:
    """Send more at once than a queue may hold."""
    target_id = _target(walk, device, chance)
    drafts = [walk.draft(walk.member(device), "flood " * 300, target_id=target_id) for _ in range(10)]
    await asyncio.gather(*(walk.send(device, draft, within=1.0) for draft in drafts))


async def edit(_: Walk, device: Device, chance: Random) -> None:
    message = _picked(device, chance, own=True)
    if message is not None:
        await device.client.edit(message.id, _body(chance))


async def delete(_: Walk, device: Device, chance: Random) -> None:
    who = chance.choice(("everyone", "me"))
    message = _picked(device, chance, own=who == "everyone")
    if message is not None:
        await device.client.delete(message.id, who=who)  # type: ignore[arg-type]


async def read(walk: Walk, device: Device, chance: Random) -> None:
    target_id = _target(walk, device, chance)
    known = device.state.conversations.get(target_id)
    if known is not None and known.last_seq:
        await device.client.mark(target_id, read_seq=chance.randint(1, known.last_seq))


async def receive(walk: Walk, device: Device, chance: Random) -> None:
    target_id = _target(walk, device, chance)
    known = device.state.conversations.get(target_id)
    if known is not None and known.last_seq:
        await device.client.set_receipt(target_id, delivered_seq=chance.randint(1, known.last_seq))


async def settings(walk: Walk, device: Device, chance: Random) -> None:
    until = chance.choice((None, datetime.now(UTC) + timedelta(hours=chance.randint(1, 99))))
    given: dict[str, Any] = {
        "muted_until": until,
        "pinned": chance.random() < 0.5,
        "archived": chance.random() < 0.5,
        # A second is short enough to expire on the way.
        "expire_after": chance.choice((None, None, 1, 3600)),
    }
    chosen = chance.sample(sorted(given), chance.randint(1, len(given)))
    await device.client.update_conversation(_target(walk, device, chance), **{name: given[name] for name in chosen})


# --- oneself --------------------------------------------------------------------------------------


async def profile(_: Walk, device: Device, chance: Random) -> None:
    word = f"{chance.getrandbits(32):x}"
    patch = chance.choice(
        (
            ProfilePatch(name=f"Name {word}"),
            ProfilePatch(about=f"About {word}"),
            ProfilePatch(status=chance.choice(_STATUSES), status_text=word),  # type: ignore[arg-type]
            ProfilePatch(username=f"u{word}{device.user_id}"),
            ProfilePatch(
                privacy=PrivacyPatch(
                    last_seen=chance.choice(_AUDIENCES),  # type: ignore[arg-type]
                    avatar=chance.choice(_AUDIENCES),  # type: ignore[arg-type]
                    messages_from=chance.choice(("everyone", "contacts")),
                )
            ),
        )
    )
    await device.client.update_profile(patch)


async def presence(_: Walk, device: Device, chance: Random) -> None:
    await device.client.set_presence(
        status=chance.choice(_STATUSES),  # type: ignore[arg-type]
        status_text=f"{chance.getrandbits(16):x}",
    )


async def avatar(_: Walk, device: Device, chance: Random) -> None:
    if chance.random() < 0.4:
        await device.client.remove_avatar()
        return
    image = io.BytesIO()
    Image.new("RGB", (8, 8), chance.choice(("red", "green", "blue"))).save(image, "PNG")
    await device.client.upload_avatar(image.getvalue())


async def refresh(_: Walk, device: Device, chance: Random) -> None:
    await device.client.refresh()


async def typing(walk: Walk, device: Device, chance: Random) -> None:
    await device.client.typing(_target(walk, device, chance), typing=chance.random() < 0.7)


async def call(walk: Walk, device: Device, chance: Random) -> None:
    payload = {"sdp": "v=0 " * chance.choice((1, 1000))}
    await device.client.signal_call(walk.member(device).partner.id, uuid4(), payload)


# --- who knows whom -------------------------------------------------------------------------------


async def estrange(walk: Walk, device: Device, chance: Random) -> None:
    """End the contact in some way, or renew it."""
    if walk.stay_contacts:
        return
    client, target_id = device.client, walk.member(device).partner.id
    how = chance.choice(("subscribe", "confirm", "decline", "unsubscribe", "block", "unblock"))
    if how in {"confirm", "decline"}:
        await client.confirm(target_id, accept=how == "confirm")
    else:
        await getattr(client, how)(target_id)


async def make_up(walk: Walk, device: Device, chance: Random) -> None:
    """Become contacts again, from any state."""
    other = walk.member(device).partner
    friend = chance.choice([each for each in other.signed_in if not each.proxy.is_sick] or other.signed_in)
    for one, target_id in ((device, other.id), (friend, device.user_id)):
        for step in (one.client.unblock, one.client.subscribe):
            await walk.attempt(one, step.__name__, step(target_id))


async def alias(walk: Walk, device: Device, chance: Random) -> None:
    name = chance.choice((None, f"Alias {chance.getrandbits(16):x}"))
    await device.client.set_alias(walk.member(device).partner.id, name)


# --- devices --------------------------------------------------------------------------------------


async def sign_in(walk: Walk, device: Device, chance: Random) -> None:
    """Another device of the same user."""
    member = walk.member(device)
    if len(member.devices) < MOST_DEVICES:
        await walk.join(member, chance)


async def sign_out(walk: Walk, device: Device, chance: Random) -> None:
    """Sign out a device of the same user, by itself or by this one; never the last one."""
    going = walk.expendable(walk.member(device))
    if going is None:
        return
    if going is device:
        await device.client.logout()
    else:
        await device.client.sign_out_device(going.id)


OPERATIONS: tuple[tuple[int, Operation], ...] = (
    (40, send),
    (2, flood),
    (8, edit),
    (7, delete),
    (10, read),
    (3, receive),
    (7, settings),
    (6, profile),
    (3, presence),
    (1, refresh),
    (4, typing),
    (2, call),
    (5, estrange),
    (9, make_up),
    (3, alias),
    (2, sign_in),
    (2, sign_out),
    *GROUP_OPERATIONS,
)
SLOW: tuple[tuple[int, Operation], ...] = ((2, avatar),)
