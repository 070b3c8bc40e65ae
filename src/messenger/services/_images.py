"""The files of avatars: their keys, and their deletion, which uploads and sweeps share."""

from __future__ import annotations

import logging

from messenger.errors import MessengerError
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory

logger = logging.getLogger(__name__)


def image_path(key: str, *, thumb: bool = False) -> str:
    """Where the bytes of an avatar are in the store; folders of 256, so that none grows without bound."""
    return f"avatars/{key[:2]}/{key}{'_thumb' if thumb else ''}.webp"


async def discard_image(uow_factory: UnitOfWorkFactory, store: ObjectStore, key: str) -> bool:
    """Delete an unused avatar's files; returns whether it did. After a failure, the sweep deletes them."""
    try:
        async with uow_factory.command() as uow:
            unused = await uow.avatars.release(key)
        if not unused:
            return False
        # The row cannot be claimed any more, so the files are unused.
        await store.delete(image_path(key))
        await store.delete(image_path(key, thumb=True))
        async with uow_factory.command() as uow:
            await uow.avatars.forget(key)
    except MessengerError:
        logger.warning("the files of an avatar could not be deleted; the sweep will", exc_info=True)
        return False
    return True
