"""Deleting the messages of a removed member after the removal was committed, some at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from messenger.events import MessageDeleted
from messenger.repositories.group_locks import LockedGroup
from messenger.repositories.purges import AT_ONCE, WINDOW
from messenger.services._gone import record_gone
from messenger.unit_of_work import UnitOfWork

Purged = Literal["none", "day", "all"]
_DAY = timedelta(days=1)


async def request_purge(uow: UnitOfWork, group: LockedGroup, user_id: int, messages: Purged) -> None:
    """Delete the user's messages of the last day, or all, soon after the commit."""
    if messages == "none":
        return
    since = uow.now - _DAY if messages == "day" else None
    await uow.purges.request(group, user_id, by_id=uow.actor.user_id, since=since)
    uow.start_fan_outs()


async def purge_step(uow: UnitOfWork) -> bool:
    """Delete the next messages of a purge; False if there is none."""
    purge = await uow.purges.claim()
    if purge is None:
        return False
    found = await uow.purges.find(purge)
    for message in found:
        locked = await uow.messages.lock(message.id, purge.by_id)
        erased = await uow.messages.erase(message.id, moderator_id=purge.by_id)
        if erased is not None:
            uow.record(MessageDeleted(message.id), locked.members)
            record_gone(uow, erased)
    await uow.purges.advance(purge, found[-1].seq if len(found) == AT_ONCE else purge.next_seq - WINDOW)
    return True
