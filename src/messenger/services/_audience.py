"""Notify a user's contacts: a few in the transaction, many in batches after the commit."""

from __future__ import annotations

from messenger.events import ProfileUpdated
from messenger.unit_of_work import UnitOfWork

AT_ONCE = 256
"""Contacts that are notified in the transaction of the change, and in each batch of a larger audience.

Their streams stay locked until the commit: about ten milliseconds for 256.
"""


async def record_profile(uow: UnitOfWork, user_id: int, *, to_contacts: bool) -> None:
    """Record a profile change: for the user's devices, and for mutual contacts if they can see it."""
    event = ProfileUpdated(user_id)
    contacts = await uow.contacts.list_mutual(user_id, after=0, limit=AT_ONCE + 1) if to_contacts else []
    if len(contacts) > AT_ONCE:
        uow.record(event, [user_id])
        await uow.request_fan_out(event)
    else:
        uow.record(event, [user_id, *contacts])
