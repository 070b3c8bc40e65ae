"""The random operations of a device on groups, which are recorded: a refusal can follow an attempt without a response,
so everything that is not acknowledged has an unknown outcome.
"""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Any, TypeVar

from messenger.schemas.groups import GroupPatch, GroupSettingsPatch
from tests.model._walk import Walk
from tests.support.device import Device
from tests.support.group_changes import Kind
from tests.support.stored_groups import RANKS

T = TypeVar("T")

MOST_GROUPS = 3


async def _recorded(walk: Walk, kind: Kind, group_id: int, user_id: int, doing: Awaitable[T], *, name: str = "") -> T:
    change = walk.changes.begin(kind, group_id, user_id, name=name)
    done = await doing
    walk.changes.end(change, "ok")
    return done


def _mine(device: Device, chance: Random) -> int | None:
    """A group that the device believes its user to be in."""
    return chance.choice(list(device.state.groups)) if device.state.groups else None


async def create(walk: Walk, device: Device, chance: Random) -> None:
    if len(walk.groups) >= MOST_GROUPS:
        return
    settings = GroupSettingsPatch(history=chance.choice(("none", "recent", "all")))
    invited = [walk.member(device).partner.id] if chance.random() < 0.5 else []
    name = f"Group {chance.getrandbits(32):x}"
    made = (await device.client.create_group(name, settings=settings, invite=invited)).group
    walk.groups.append(made.id)
    await _recorded(walk, "create", made.id, device.user_id, _nothing())


async def _nothing() -> None:
    """What was done already."""


async def invite(walk: Walk, device: Device, chance: Random) -> None:
    group_id = _mine(device, chance)
    if group_id is not None:
        await device.client.invite(group_id, [walk.member(device).partner.id])


async def link(walk: Walk, device: Device, chance: Random) -> None:
    group_id = _mine(device, chance)
    if group_id is not None:
        uses = chance.randint(1, 3)
        made = await device.client.create_link(group_id, max_uses=uses)
        walk.changes.links[group_id][str(made.id)] = uses
        walk.tokens.setdefault(group_id, []).append(made.token)


async def join(walk: Walk, device: Device, chance: Random) -> None:
    """By an invitation, which there may be, or by a link."""
    if not walk.groups:
        return
    group_id = chance.choice(walk.groups)
    tokens = walk.tokens.get(group_id, [])
    doing: Awaitable[Any] = (
        device.client.join_by_link(chance.choice(tokens))
        if tokens and chance.random() < 0.5
        else device.client.accept_invitation(group_id)
    )
    await _recorded(walk, "join", group_id, device.user_id, doing)


async def leave(walk: Walk, device: Device, chance: Random) -> None:
    """The last one to leave deletes the group."""
    group_id = _mine(device, chance)
    if group_id is not None:
        await _recorded(walk, "leave", group_id, device.user_id, device.client.leave_group(group_id))


async def remove(walk: Walk, device: Device, chance: Random) -> None:
    group_id, target_id = _mine(device, chance), walk.member(device).partner.id
    if group_id is not None:
        await _recorded(walk, "remove", group_id, target_id, device.client.remove_member(group_id, target_id))


async def ban(walk: Walk, device: Device, chance: Random) -> None:
    group_id, target_id = _mine(device, chance), walk.member(device).partner.id
    if group_id is not None:
        messages: Any = chance.choice(("none", "none", "all"))
        doing = device.client.ban(group_id, target_id, messages=messages)
        await _recorded(walk, "ban", group_id, target_id, doing)


async def unban(walk: Walk, device: Device, chance: Random) -> None:
    group_id, target_id = _mine(device, chance), walk.member(device).partner.id
    if group_id is not None:
        await _recorded(walk, "unban", group_id, target_id, device.client.unban(group_id, target_id))


async def change_rank(walk: Walk, device: Device, chance: Random) -> None:
    group_id, target_id = _mine(device, chance), walk.member(device).partner.id
    if group_id is not None:
        role: Any = chance.choice(RANKS[:-1])
        await device.client.update_member(group_id, target_id, role=role)


async def rename(walk: Walk, device: Device, chance: Random) -> None:
    group_id = _mine(device, chance)
    if group_id is not None:
        name = f"Name {chance.getrandbits(48):x}"
        doing = device.client.update_group(group_id, GroupPatch(name=name))
        changed = await _recorded(walk, "rename", group_id, device.user_id, doing, name=name)
        walk.changes.acknowledge(group_id, changed.version)


GROUP_OPERATIONS = (
    (5, create),
    (3, invite),
    (2, link),
    (8, join),
    (3, leave),
    (1, remove),
    (1, ban),
    (3, unban),
    (2, change_rank),
    (2, rename),
)
