"""How migrations run: on asyncpg, under an advisory lock, never waiting long for a table's lock."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from messenger.database.connection import Connector
from messenger.database.engine import DIALECT
from messenger.models import Base

CONNECT_SECONDS = 10.0
LOCK_KEY = 7_273_112_905
# A statement that waits for a table's lock holds up all that come after it, and requests are refused after 2 s; better
# to fail, and to be tried again (`messenger.migrations`).
LOCK_TIMEOUT = os.environ.get("MESSENGER_MIGRATION_LOCK_TIMEOUT", "1s")


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": LOCK_TIMEOUT})
    connection.commit()
    try:
        with context.begin_transaction():
            context.run_migrations()
        tell_who_can_run(connection)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
        connection.commit()


def tell_who_can_run(connection: Connection) -> None:
    """Write down which releases can run on this schema; those that know nothing of its newest migrations read it.

    A migration that takes away what older releases still use says so by `oldest_release`, the head of the first release
    that doesn't use it any more. Most only add, and say nothing.
    """
    revision = context.get_context().get_current_revision()
    if revision is None:
        return
    applied = context.script.iterate_revisions(revision, "base")
    oldest = max((getattr(each.module, "oldest_release", "0001") for each in applied), default="0001")
    told = f"Releases from migration {oldest} on can run on this schema."
    connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{told}'"))


async def main() -> None:
    connector = Connector(context.config.attributes["url"], timeout=CONNECT_SECONDS)
    engine = create_async_engine(DIALECT, async_creator=connector.connect, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("migrations need a database: there is no offline mode")
asyncio.run(main())
