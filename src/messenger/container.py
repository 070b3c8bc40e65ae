"""The container: builds what a process needs, once, by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.bus.bus import Bus, transport_of
from messenger.clock import Clock, SharedClock
from messenger.config import Settings, load_secret
from messenger.database.engine import create_engine
from messenger.media.processor import ImageProcessor
from messenger.migrations import head_revision
from messenger.observability.metrics import Metrics
from messenger.realtime.bounded_streams import BoundedStreams
from messenger.realtime.delivery_acks import DeliveryAcks
from messenger.realtime.hub import Hub
from messenger.realtime.presence import PresenceTracker
from messenger.realtime.runtime import Realtime
from messenger.schemas.address import ADDRESS
from messenger.security.passwords import PasswordHasher, common_passwords
from messenger.security.tokens import TokenMint
from messenger.server.gc_tuning import rarely_collected
from messenger.services import Services
from messenger.services._tokens import TokenIssuer
from messenger.services._unreadable import Unreadable
from messenger.services._usernames import UsernameDigests
from messenger.services.accounts import AccountService
from messenger.services.administration import AdministrationService
from messenger.services.avatars import AvatarService
from messenger.services.calls import CallService
from messenger.services.contacts import ContactService
from messenger.services.conversations import ConversationService
from messenger.services.devices import DeviceService
from messenger.services.exports import ExportService
from messenger.services.fan_out import FanOutService
from messenger.services.health import HealthService
from messenger.services.maintenance import MaintenanceService
from messenger.services.messages import MessageService
from messenger.services.presence import PresenceService
from messenger.services.profiles import ProfileService
from messenger.services.rate_limits import RateLimiter
from messenger.services.safe import SafeService
from messenger.services.signals import SignalService
from messenger.services.streams import StreamService
from messenger.services.sync import SyncService
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import Announcer, UnitOfWorkFactory


class Container:
    """Everything with a life of its own, and the services over it. What is given replaces what would be built."""

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
        secret = load_secret(settings)
        self.bus = self._bus(secret)
        self.hub = Hub(self.bus)
        self._owns_engine = engine is None
        self.engine = engine or create_engine(settings.database_url, settings)
        # Whether this process is well is asked most of all when every connection is busy: for that there is one more.
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
            self.engine,
            self.clock,
            announcer or self.hub,
            self.metrics,
            resolution=settings.activity_resolution,
        )
        unreadable = Unreadable(self.uow, self.metrics.unreadable)
        streams, presences = StreamService(self.uow, unreadable), PresenceService(self.uow, self.clock)
        acks = DeliveryAcks(streams)
        self.realtime = self._realtime(streams, presences, acks)
        usernames = UsernameDigests(_derive(secret, "usernames"))
        self.services = self._services(secret, usernames, unreadable, streams, presences, acks)
        self.administration = AdministrationService(
            self.uow, self.clock, self.hasher, usernames, password_min_length=settings.password_min_length
        )
        # Read here, so that the first registration doesn't wait for a list of words.
        common_passwords()

    def _bus(self, secret: bytes) -> Bus:
        """Silent where this one worker is all there is: but a command line beside it is heard."""
        settings = self.settings
        transport = transport_of(
            settings.bus_url or "postgres:",
            database_url=settings.database_url,
            namespace=_derive(secret, "bus").hex()[:16],
        )
        return Bus(uuid4(), transport, publishes=bool(settings.bus_url) or settings.workers > 1)

    def _realtime(self, streams: StreamService, presences: PresenceService, acks: DeliveryAcks) -> Realtime:
        settings = self.settings
        return Realtime(
            self.bus.origin,
            self.clock,
            self.bus,
            self.hub,
            PresenceTracker(self.bus.origin, presences, self.hub.signal),
            # Half of the pool is for requests, whatever the sockets want.
            BoundedStreams(streams, max(1, settings.pool_size // 2)),
            acks,
            socket_timeout=settings.socket_timeout,
            limited=settings.rate_limits == "on",
        )

    def _services(
        self,
        secret: bytes,
        usernames: UsernameDigests,
        unreadable: Unreadable,
        streams: StreamService,
        presences: PresenceService,
        acks: DeliveryAcks,
    ) -> Services:
        settings, uow, clock, store = self.settings, self.uow, self.clock, self.store
        presence = self.realtime.presence
        limiter = RateLimiter(uow, enabled=settings.rate_limits == "on")
        issuer = TokenIssuer(
            TokenMint(_derive(secret, "tokens")),
            access_ttl=settings.access_token_ttl,
            refresh_ttl=settings.refresh_token_ttl,
        )
        return Services(
            accounts=AccountService(
                uow,
                limiter,
                self.hasher,
                issuer,
                store,
                usernames,
                max_devices=settings.max_devices,
                password_min_length=settings.password_min_length,
            ),
            avatars=AvatarService(uow, limiter, self.images, store, key=_derive(secret, "avatars")),
            calls=CallService(
                uow,
                clock,
                limiter,
                stun_urls=settings.stun_urls,
                turn_urls=settings.turn_urls,
                turn_secret=settings.turn_secret,
                key=_derive(secret, "turn"),
                ttl=settings.ice_ttl,
            ),
            contacts=ContactService(uow, limiter, unreadable, presence),
            conversations=ConversationService(uow, limiter, unreadable),
            devices=DeviceService(uow, limiter, issuer),
            exports=ExportService(uow, limiter, store),
            fan_out=FanOutService(uow),
            health=HealthService(
                UnitOfWorkFactory(self._spare_engine, clock, self.hub, self.metrics),
                store,
                self.bus,
                head=head_revision(),
            ),
            maintenance=MaintenanceService(
                uow,
                clock,
                store,
                events_kept_for=timedelta(days=settings.event_retention),
                on_held=self.metrics.sweep_held,
            ),
            messages=MessageService(uow, limiter, unreadable, lanes=max(1, min(4, settings.pool_size // 2))),
            presence=presences,
            profiles=ProfileService(uow, limiter, presence, usernames),
            safe=SafeService(uow, limiter),
            signals=SignalService(uow, limiter),
            streams=streams,
            sync=SyncService(uow, unreadable, self.hub, acks),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Realtime, sweeps and counts in the background; at the end everything is given back."""
        work = (self.services.maintenance.run(), self.services.fan_out.run(), self.metrics.keep())
        chores = [asyncio.create_task(each) for each in work]
        try:
            async with self.realtime.running():
                with rarely_collected():
                    yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)
            await self.close()

    def drain(self) -> None:
        """Be not ready any more, and let waiting requests go; what was accepted is finished."""
        self.services.health.draining = True
        self.hub.close()

    async def close(self) -> None:
        """Give back connections, threads and processes; what other processes must hear is said first."""
        await self.bus.flush()
        await self.realtime.acks.finish()
        await self.images.close()
        self.hasher.close()
        self.metrics.count()
        if self._owns_engine:
            await self.engine.dispose()
            await self._spare_engine.dispose()


def _derive(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return hashlib.blake2b(purpose.encode(), key=secret[:64], digest_size=32).digest()
