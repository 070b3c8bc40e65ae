"""`messenger doctor`: checks what the server needs, and gives advice about what is missing."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime

import asyncpg
import msgspec

from messenger.bus.bus import transport_of
from messenger.config import Settings, SettingsError, environment, load_secret, unknown_settings
from messenger.database.connection import TRANSACTION_POOLER, UNREACHABLE, connect, is_pooled_by_transaction
from messenger.embedded.local import database_url, is_outside_data_dir, location, make_data_dir
from messenger.embedded.postgres import EmbeddedPostgresError
from messenger.errors import MessengerError
from messenger.insecure_settings import risks_of
from messenger.migrations import head_revision, schema_of
from messenger.security.relay_check import RelayError, address_of, check_relay
from messenger.storage.object_store import ObjectStore

_CLOCK_TOLERANCE = 5.0


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    part: str
    ok: bool
    finding: str
    advice: str | None = None


def examine(settings: Settings) -> list[Finding]:
    """Run all checks. The schema is neither created nor migrated."""
    findings = [Finding("limits", False, each.what, each.advice) for each in risks_of(settings)]
    try:
        make_data_dir(settings)
        with database_url(settings) as url:
            findings += asyncio.run(_database(url, settings))
            findings.append(asyncio.run(_bus(settings.bus_url or "postgres:", url)))
    except (EmbeddedPostgresError, SettingsError) as error:
        findings.append(Finding("database", False, str(error), "See MESSENGER_POSTGRES_BIN and MESSENGER_DATA_DIR."))
    # After the database: a secret without a database means that the database is missing.
    findings.insert(0, _settings(settings))
    findings.append(asyncio.run(_storage(settings)))
    findings += [_relay(url, settings.turn_secret) for url in (*settings.stun_urls, *settings.turn_urls)]
    if not settings.turn_urls:
        findings.append(Finding("turn", True, "no TURN server is configured; calls behind strict NATs will fail"))
    return findings


def _settings(settings: Settings) -> Finding:
    unknown = unknown_settings(environment())
    if unknown:
        return Finding("settings", False, f"{', '.join(unknown)}: unknown", "See docs/configuration.md.")
    try:
        load_secret(settings)
    except (SettingsError, OSError) as error:
        return Finding("settings", False, str(error), "The data folder must be writable.")
    return Finding("settings", True, "all settings are valid")


async def _database(url: str, settings: Settings) -> list[Finding]:
    try:
        if await is_pooled_by_transaction(url, timeout=5):
            return [Finding("database", False, TRANSACTION_POOLER, "Check MESSENGER_DATABASE_URL.")]
        connection = await connect(url, timeout=5)
    except (*UNREACHABLE, ValueError) as error:
        return [Finding("database", False, f"cannot be reached: {error}", "Check MESSENGER_DATABASE_URL.")]
    try:
        return [
            await _version(connection, settings),
            await _durability(connection),
            await _locale(connection),
            await _migrations(connection),
            await _clock(connection),
        ]
    finally:
        await connection.close()


async def _version(connection: asyncpg.Connection, settings: Settings) -> Finding:
    version = (await connection.fetchval("SHOW server_version")).split()[0]
    text = f"PostgreSQL {version}{location(settings)}"
    if connection.get_server_version().major < 15:
        return Finding("database", False, text, "PostgreSQL 15 or newer is required.")
    if is_outside_data_dir(settings):
        return Finding("database", True, text, f"Its files are outside of {settings.data_dir.resolve()}: back up both.")
    return Finding("database", True, text)


async def _durability(connection: asyncpg.Connection) -> Finding:
    rows = await connection.fetch(
        "SELECT name FROM pg_settings WHERE setting = 'off'"
        " AND name IN ('fsync', 'synchronous_commit', 'full_page_writes') ORDER BY name"
    )
    off = ", ".join(row["name"] for row in rows)
    if off:
        return Finding("durability", False, f"{off} is off", "Turn it on: acknowledged messages can be lost.")
    return Finding("durability", True, "acknowledged messages survive a crash")


async def _locale(connection: asyncpg.Connection) -> Finding:
    if await connection.fetchval("SELECT lower('ПРИВЕТ') = 'привет'"):
        return Finding("locale", True, "lower case works for all scripts")
    return Finding("locale", False, "lower case works for ASCII only", "Create the database with the ctype C.UTF-8.")


async def _migrations(connection: asyncpg.Connection) -> Finding:
    schema, head = await schema_of(connection), head_revision()
    at = f"the schema is at {schema.revision if schema else None}"
    if schema is not None and schema.serves(head):
        return Finding("migrations", True, at)
    too_new = schema is not None and schema.revision > head
    advice = "Start the release that the schema belongs to." if too_new else "Run `messenger db upgrade`."
    return Finding("migrations", False, f"{at}, not at {head}", advice)


async def _clock(connection: asyncpg.Connection) -> Finding:
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    off = abs((datetime.now(UTC) - theirs).total_seconds())
    ok = off <= _CLOCK_TOLERANCE
    return Finding("clock", ok, f"{off:.1f} s off the database's", None if ok else "Synchronize both by NTP.")


async def _bus(bus_url: str, url: str) -> Finding:
    scheme = bus_url.partition(":")[0]
    try:
        transport = transport_of(bus_url, database_url=url, namespace="doctor")
        if transport is None:
            return Finding("bus", True, "local: works within one process only")
        if "://" in bus_url and scheme.startswith("postgres") and await is_pooled_by_transaction(bus_url, timeout=5):
            return Finding("bus", False, TRANSACTION_POOLER, "Check MESSENGER_BUS_URL.")
        async with asyncio.timeout(5), transport.connect():
            return Finding("bus", True, f"{scheme} accepts connections")
    except (*UNREACHABLE, ValueError) as error:
        return Finding("bus", False, f"{scheme} cannot be reached: {error}", "Check MESSENGER_BUS_URL.")


async def _storage(settings: Settings) -> Finding:
    try:
        await ObjectStore.from_url(settings.effective_storage_url).check()
    except (MessengerError, ValueError) as error:
        cause = str(error.__cause__ or "").strip().splitlines()
        what = f"{error} ({cause[0][:200]})" if cause else str(error)
        return Finding("storage", False, what, _storage_advice(settings.effective_storage_url))
    return Finding("storage", True, "can be read and written")


_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}


def _storage_advice(url: str) -> str:
    scheme = url.partition(":")[0].lower()
    missing = [name for name in _CREDENTIALS.get(scheme, ()) if not os.environ.get(name)]
    if missing:
        return f"{' and '.join(missing)} not set: without them, {scheme}:// asks the cloud's metadata service."
    return "Check MESSENGER_STORAGE_URL, and the owner of the folder or the permissions of the bucket."


def _relay(url: str, secret: str) -> Finding:
    """Request what a client would request: a STUN binding, a TURN allocation."""
    part = url.partition(":")[0]
    try:
        return Finding(part, True, f"{url} {check_relay(address_of(url), secret)}")
    except ValueError as error:
        return Finding(part, False, str(error), "See RFC 7064 and RFC 7065.")
    except RelayError as error:
        return Finding(part, False, f"{url} {error}", error.advice)
    except ssl.SSLError as error:
        return Finding(part, False, f"{url} fails at TLS: {error.reason}", "Use a certificate that clients trust.")
    except OSError as error:
        return Finding(part, False, f"{url} cannot be reached: {error}", "Check that it is running and reachable.")
