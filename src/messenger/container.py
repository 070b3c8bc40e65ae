"""The container: builds what a process needs, once, by hand."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.bus.bus import Bus, transport_of
from messenger.clock import Clock, SharedClock
from messenger.config import Settings, load_secret
from messenger.database.engine import create_engine
from messenger.events import Announcer
from messenger.media.processor import ImageProcessor
from messenger.migrations import head_revision
from messenger.observability.metrics import Metrics
from messenger.realtime.bounded_streams import BoundedStreams
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import Presences, ReceiptCounts, Streams
from messenger.realtime.presence import PresenceTracker
from messenger.realtime.receipt_signals import ReceiptSignals
from messenger.realtime.runtime import Realtime
from messenger.schemas.address import ADDRESS
from messenger.security.passwords import PasswordHasher, common_passwords
from messenger.server.gc_tuning import tuned_gc
from messenger.services import Gateways, Services
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory


class Container:
    """The long-lived parts of a process, and the services over them. An argument replaces the part that the settings
    would build.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        engine: AsyncEngine | None = None,
        announcer: Announcer | None = None,
        store: ObjectStore | None = None,
    ) -> None:
        self.settings = settings
        ADDRESS.base = settings.public_base
        self.clock = clock or SharedClock()
        self.metrics = Metrics()
        self._key = functools.partial(_derive, load_secret(settings))
        self.bus = self._bus()
        self.hub = Hub(self.bus)
        self._owns_engine = engine is None
        self.engine = engine or create_engine(settings.database_url, settings)
        # The health check has a separate connection: it matters most when all others are busy.
        self._spare_engine = engine or create_engine(
            settings.database_url, msgspec.structs.replace(settings, pool_size=1)
        )
        self.store = store or ObjectStore.from_url(settings.effective_storage_url)
        self.images = ImageProcessor(workers=settings.image_workers)
        self.hasher = PasswordHasher(
            threads=settings.password_threads,
            time_cost=settings.password_time_cost,
            memory_cost=settings.password_memory_cost,
        )
        self.uow = UnitOfWorkFactory(
            self.engine, self.clock, announcer or self.hub, self.metrics, resolution=settings.activity_resolution
        )
        self.services = Services(self._gateways(), settings)
        self.realtime = self.services.realtime
        # Loaded here, so that the first registration does not wait for the list.
        common_passwords()

    def _bus(self) -> Bus:
        """A single worker does not publish, but receives what a command line on the same host publishes."""
        settings = self.settings
        transport = transport_of(
            settings.bus_url or "postgres:",
            database_url=settings.database_url,
            namespace=self._key("bus").hex()[:16],
        )
        return Bus(uuid4(), transport, publishes=bool(settings.bus_url) or settings.workers > 1)

    def _gateways(self) -> Gateways:
        return Gateways(
            uow=self.uow,
            spare=UnitOfWorkFactory(self._spare_engine, self.clock, self.hub, self.metrics),
            clock=self.clock,
            store=self.store,
            images=self.images,
            hasher=self.hasher,
            bus=self.bus,
            hub=self.hub,
            key=self._key,
            realtime=self._realtime,
            on_unreadable=self.metrics.unreadable,
            on_sweep_held=self.metrics.sweep_held,
            schema_head=head_revision(),
        )

    def _realtime(self, streams: Streams, presences: Presences, receipts: ReceiptCounts) -> Realtime:
        settings = self.settings
        return Realtime(
            self.bus.origin,
            self.clock,
            self.bus,
            self.hub,
            PresenceTracker(self.bus.origin, presences, self.hub.signal),
            # Sockets use at most half of the pool; the other half is for requests.
            BoundedStreams(streams, max(1, settings.pool_size // 2)),
            DeliveryAcks(streams),
            ReceiptSignals(receipts),
            socket_timeout=settings.socket_timeout,
            limited=settings.rate_limits == "on",
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run realtime, sweeps and metrics in the background; closes everything at the end."""
        work = (self.services.maintenance.run(), self.services.fan_out.run(), self.metrics.flush_regularly())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            async with self.realtime.running():
                with tuned_gc():
                    yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.close()

    def drain(self) -> None:
        """Report not ready and end waiting requests; accepted requests are finished."""
        self.services.health.draining = True
        self.hub.close()

    async def close(self) -> None:
        """Release connections, threads and processes, after the last messages to other workers are sent."""
        await self.bus.flush()
        await self.realtime.acks.finish()
        await self.images.close()
        self.hasher.close()
        self.metrics.flush()
        if self._owns_engine:
            await self.engine.dispose()
            await self._spare_engine.dispose()


def _derive(secret: bytes, purpose: str) -> bytes:
    """A separate key for each purpose."""
    return hashlib.blake2b(purpose.encode(), key=secret[:64], digest_size=32).digest()
