"""`messenger serve`: start the database, migrate the schema, and run one worker in this process or several others."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from socket import socket
from types import FrameType

import msgspec
import uvicorn

from messenger import migrations
from messenger.bus.bus import transport_of
from messenger.config import Settings, SettingsError, environment, load_secret, unknown_settings
from messenger.database import stream_epoch
from messenger.database.connection import TRANSACTION_POOLER, UNREACHABLE, connect, is_pooled_by_transaction
from messenger.embedded.local import embedded, make_data_dir, published
from messenger.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from messenger.errors import MessengerError
from messenger.insecure_settings import risks_of
from messenger.observability.logs import configure_logging
from messenger.repositories.health import SchemaRow
from messenger.security.turn import check_ice_url
from messenger.server.http_protocol import ProtocolFactory
from messenger.server.listening import listening_on, url_of
from messenger.server.timeouts import ClientTimeouts
from messenger.server.websocket_protocol import MAX_FRAME_BYTES, UvicornConnection
from messenger.storage.object_store import ObjectStore

logger = logging.getLogger(__name__)

GRACE_SECONDS = 12
_MIB = 1024 * 1024
_WATCH_SECONDS = 0.5
_PARENT = "MESSENGER_PARENT_PID"


def serve(settings: Settings) -> None:
    """Run the server until a signal stops it. Raises `SettingsError`, `EmbeddedPostgresError`."""
    configure_logging(settings.log_level, settings.log_format)
    _on_signals(_leave)
    for name in unknown_settings(environment()):
        logger.warning("%s is not a setting of this server; see docs/configuration.md", name)
    for risk in risks_of(settings):
        logger.warning("%s. %s", risk.what, risk.advice)
    make_data_dir(settings)
    _check_gateways(settings)
    _raise_file_limit()
    with listening_on(settings.host, settings.port) as listening, _database(settings) as (settings, postgres):
        # After the database: a secret without a database means that the database is missing.
        load_secret(settings)
        schema = asyncio.run(_examine_database(settings))
        migrations.bring_up(settings.database_url, schema, may_upgrade=settings.auto_migrate == "on")
        asyncio.run(stream_epoch.check_at(settings.database_url, postgres.copy_mark if postgres else None))
        logger.info("listening on %s, starting %d worker(s)", " and ".join(map(url_of, listening)), settings.workers)
        logger.info("the API reference is at /docs%s", ", the demo at /demo" if settings.serves_demo else "")
        if settings.workers == 1:
            _serve_here(settings, postgres, listening)
        else:
            _serve_beside(settings, postgres, listening)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
    # nohup ignores SIGHUP, so keep it ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def _leave(number: int, _: FrameType | None) -> None:
    """Exit during the start; context managers clean up."""
    raise SystemExit(0)


def _ignore(number: int, _: FrameType | None) -> None:
    """uvicorn raises a signal again after draining: nothing is left to do."""


def _hang_up(number: int, frame: FrameType | None) -> None:
    logger.info("SIGHUP: shutting down (only one of several workers can be replaced while the others serve)")
    signal.raise_signal(signal.SIGTERM)


def _raise_file_limit() -> None:
    """Raise the limit of open files to its maximum: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS reports "no limit", but does not accept it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_gateways(settings: Settings) -> None:
    """Refuse invalid URLs before anything is started."""
    try:
        ObjectStore.from_url(settings.effective_storage_url)
    except (ValueError, MessengerError) as error:
        raise SettingsError(f"MESSENGER_STORAGE_URL is wrong: {error}") from None
    try:
        transport_of(settings.bus_url or "local:", database_url="", namespace="")
    except ValueError as error:
        raise SettingsError(f"MESSENGER_BUS_URL is wrong: {error}") from None
    for name, urls, schemes in (
        ("STUN", settings.stun_urls, ("stun", "stuns")),
        ("TURN", settings.turn_urls, ("turn", "turns")),
    ):
        for url in urls:
            try:
                check_ice_url(url, schemes)
            except ValueError as error:
                raise SettingsError(f"MESSENGER_{name}_URLS is wrong: {error}") from None


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[tuple[Settings, EmbeddedPostgres | None]]:
    if settings.database_url:
        yield settings, None
        return
    with embedded(settings) as postgres:
        url = postgres.start()
        with published(settings, url):
            yield msgspec.structs.replace(settings, database_url=url), postgres


async def _examine_database(settings: Settings) -> SchemaRow | None:
    """Check the database, and return the state of its schema; None if it has no schema.

    Raises `SettingsError` if it could lose acknowledged messages in a crash, unless `allow_data_loss` is on.
    """
    await _refuse_transaction_poolers(settings)
    try:
        connection = await connect(settings.database_url, timeout=10)
    except UNREACHABLE as error:
        raise SettingsError(f"MESSENGER_DATABASE_URL: the database cannot be reached: {error}") from None
    try:
        version = connection.get_server_version()
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) AND setting = 'off'",
            ["fsync", "synchronous_commit", "full_page_writes"],
        )
        schema = await migrations.schema_of(connection)
    finally:
        await connection.close()
    if version.major < 15:
        raise SettingsError(f"MESSENGER_DATABASE_URL: PostgreSQL 15 or newer is required, this is {version.major}")
    off = ", ".join(sorted(row["name"] for row in rows))
    if off and settings.allow_data_loss == "off":
        raise SettingsError(
            f"MESSENGER_DATABASE_URL: {off} is off, which can lose messages; turn it on (MESSENGER_ALLOW_DATA_LOSS)"
        )
    if off:
        logger.warning("%s is off: acknowledged messages can be lost", off)
    return schema


async def _refuse_transaction_poolers(settings: Settings) -> None:
    for field, url in (("database_url", settings.database_url), ("bus_url", settings.bus_url)):
        if not url.startswith(("postgresql://", "postgres://")):
            continue
        try:
            is_pooled = await is_pooled_by_transaction(url, timeout=10)
        except UNREACHABLE as error:
            what = "database" if field == "database_url" else "bus"
            raise SettingsError(f"MESSENGER_{field.upper()}: the {what} cannot be reached: {error}") from None
        if is_pooled:
            raise SettingsError(f"MESSENGER_{field.upper()}: {TRANSACTION_POOLER}")


def _client_timeouts(settings: Settings) -> ClientTimeouts:
    return ClientTimeouts(
        connections=settings.max_connections,
        idle=settings.keep_alive_timeout,
        head=settings.head_timeout,
        body=settings.body_timeout,
        rate=settings.min_rate,
        body_bytes=settings.max_request_memory * _MIB,
        unsent_bytes=settings.max_answer_memory * _MIB,
    )


def _config(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=ProtocolFactory(_client_timeouts(settings)),  # type: ignore[arg-type]
        ws=UvicornConnection,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        # The application sends its own pings, to receive the pongs.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("strict-transport-security", "max-age=31536000")] if settings.sends_hsts else [],
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=2048,
    )


def _serve_here(settings: Settings, postgres: EmbeddedPostgres | None, listening: list[socket]) -> None:
    from messenger.app import create_app
    from messenger.container import Container

    server = uvicorn.Server(_config(settings, create_app(Container(settings))))
    _on_signals(_ignore)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)

    async def main() -> None:
        watch = asyncio.create_task(_watch(postgres)) if postgres else None
        try:
            await server.serve(listening)
        finally:
            if watch is not None:
                watch.cancel()

    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(main())
    if not server.started:
        sys.exit(3)


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


async def _watch(postgres: EmbeddedPostgres) -> None:
    """Restart the embedded PostgreSQL when it has ended."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        _revive(postgres)


def _revive(postgres: EmbeddedPostgres | None) -> None:
    # This blocks the main thread, which alone may start it; requests cannot be served without it anyway.
    if postgres is None or postgres.is_running:
        return
    logger.warning("PostgreSQL has ended unexpectedly; starting it again")
    try:
        postgres.start()
    except EmbeddedPostgresError:
        logger.exception("PostgreSQL cannot be started again")


def _serve_beside(settings: Settings, postgres: EmbeddedPostgres | None, listening: list[socket]) -> None:
    from messenger.server.workers import Workers, share_metrics

    share_metrics(settings.data_dir)
    os.environ["MESSENGER_DATABASE_URL"] = settings.database_url
    os.environ[_PARENT] = str(os.getpid())
    for each in listening:
        each.set_inheritable(True)
    Workers(_config(settings, "messenger.asgi:app"), listening, lambda: _revive(postgres)).run()


def end_with_parent() -> None:
    """Make the kernel end this worker when its supervisor ends, for whatever reason (Linux only)."""
    # A closing terminal sends SIGHUP to all processes; only the supervisor handles it, and it starts workers with the
    # signal blocked.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    parent = os.environ.pop(_PARENT, "")
    if not parent or sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
