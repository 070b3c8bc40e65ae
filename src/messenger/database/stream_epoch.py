"""The stream epoch, which identifies the history of the database that a cursor belongs to.

A database that is restored from a backup, or fails over to a lagging standby, assigns positions again for which clients
already have cursors. A new epoch then begins, and cursors of earlier epochs expire. The epoch is stored in the
database, with the values that identified the database when the epoch began:

- `origin`, checked on each new connection: the cluster and its timeline, which change with point-in-time recovery and
  failover; the OIDs of the database and of the table `streams`, which change when a dump is restored.
- `folder`, for the server's own PostgreSQL, checked at each start: the inode change time of a file of the cluster that
  is written once. It differs in every copy of the folder.

Some restores change neither (a snapshot of a whole disk, a dump restored into emptied tables): after these, the
operator runs `messenger db new-epoch`.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import asyncpg

from messenger.database.connection import connect

_CONNECT_SECONDS = 10.0

logger = logging.getLogger(__name__)

_READ = """
    SELECT epoch, origin, folder, CASE WHEN pg_is_in_recovery() THEN origin ELSE concat_ws('/',
        (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
        (SELECT oid FROM pg_database WHERE datname = current_database()), 'streams'::regclass::oid::text) END AS here
    FROM stream_epoch
"""
# If several processes detect the change at the same time, the first one begins the epoch.
_BEGIN = """
    UPDATE stream_epoch SET epoch = $1, origin = $2, folder = $3, began_at = clock_timestamp()
    WHERE epoch = $4 AND origin IS NOT DISTINCT FROM $5 AND folder IS NOT DISTINCT FROM $6
"""


async def check_epoch(connection: Any, folder: str | None = None) -> None:
    """Begin a new epoch if the database is not the one served last, and store the values that identify it."""
    try:
        known = await connection.fetchrow(_READ)
        if known is None:
            return
        epoch = known["epoch"]
        if _differs(known["origin"], known["here"]) or _differs(known["folder"], folder):
            epoch = _new_epoch()
        values = (epoch, known["here"], folder or known["folder"])
        if values == (known["epoch"], known["origin"], known["folder"]):
            return
        tag = await connection.execute(_BEGIN, *values, known["epoch"], known["origin"], known["folder"])
    except asyncpg.UndefinedTableError:
        # The schema is older, or does not exist yet.
        return
    except asyncpg.PostgresError as error:
        logger.warning("could not check whether the database was restored: %s", error)
        return
    if epoch != known["epoch"] and tag.endswith(" 1"):
        logger.warning("the database was restored or failed over: cursors from before have expired (epoch %s)", epoch)


async def check_at(url: str, folder: str | None) -> None:
    """Run `check_epoch` on its own connection, before the pool opens any."""
    connection = await connect(url, timeout=_CONNECT_SECONDS)
    try:
        await check_epoch(connection, folder)
    finally:
        await connection.close()


async def begin_at(url: str) -> str:
    """Begin a new epoch in any case, and return it."""
    connection = await connect(url, timeout=_CONNECT_SECONDS)
    try:
        epoch: str = await connection.fetchval(
            "UPDATE stream_epoch SET epoch = $1, began_at = clock_timestamp() RETURNING epoch", _new_epoch()
        )
        return epoch
    finally:
        await connection.close()


def _differs(known: str | None, found: str | None) -> bool:
    return known is not None and found is not None and known != found


def _new_epoch() -> str:
    return secrets.token_hex(4)
