"""The container: builds what a process needs, once, by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.clock import Clock, SystemClock
from messenger.config import Settings, load_secret
from messenger.database import create_engine
from messenger.media.processor import ImageProcessor
from messenger.metrics import Metrics
from messenger.migrations import head_revision
from messenger.realtime.bus import LocalBus
from messenger.security.passwords import PasswordHasher, common_passwords
from messenger.security.tokens import TokenMint
from messenger.services import Services
from messenger.services._gate import Gate
from messenger.services._tokens import TokenIssuer
from messenger.services.accounts import AccountService
from messenger.services.administration import AdministrationService
from messenger.services.avatars import AvatarService
from messenger.services.calls import CallService
from messenger.services.contacts import ContactService
from messenger.services.conversations import ConversationService
from messenger.services.devices import DeviceService
from messenger.services.exports import ExportService
from messenger.services.health import HealthService
from messenger.services.maintenance import MaintenanceService
from messenger.services.messages import MessageService
from messenger.services.profiles import ProfileService
from messenger.services.safe import SafeService
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
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.bus = LocalBus()
        self._owns_engine = engine is None
        self.engine = engine or create_engine(settings.database_url, settings)
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
            announcer or self.bus,
            self.metrics,
            resolution=settings.activity_resolution,
        )
        self.services = self._services(load_secret(settings))
        self.administration = AdministrationService(
            self.uow, self.clock, self.hasher, password_min_length=settings.password_min_length
        )
        # Read here, so that the first registration doesn't wait for a list of words.
        common_passwords()

    def _services(self, secret: bytes) -> Services:
        settings, uow, clock, store = self.settings, self.uow, self.clock, self.store
        gate = Gate(uow, enabled=settings.rate_limits == "on")
        issuer = TokenIssuer(
            TokenMint(_derive(secret, "tokens")),
            access_ttl=settings.access_token_ttl,
            refresh_ttl=settings.refresh_token_ttl,
        )
        return Services(
            accounts=AccountService(
                uow,
                gate,
                self.hasher,
                issuer,
                store,
                max_devices=settings.max_devices,
                password_min_length=settings.password_min_length,
            ),
            avatars=AvatarService(uow, gate, self.images, store, key=_derive(secret, "avatars")),
            calls=CallService(
                uow,
                clock,
                gate,
                stun_urls=settings.stun_urls,
                turn_urls=settings.turn_urls,
                turn_secret=settings.turn_secret,
                key=_derive(secret, "turn"),
                ttl=settings.ice_ttl,
            ),
            contacts=ContactService(uow, clock, gate),
            conversations=ConversationService(uow),
            devices=DeviceService(uow, gate, issuer),
            exports=ExportService(uow, gate, store),
            health=HealthService(uow, store, head=head_revision()),
            maintenance=MaintenanceService(uow, clock, store),
            messages=MessageService(uow),
            profiles=ProfileService(uow, clock, gate),
            safe=SafeService(uow, gate),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweeps in the background; at the end everything is given back."""
        sweeping = asyncio.create_task(self.services.maintenance.run())
        try:
            yield
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping
            await self.close()

    async def close(self) -> None:
        """Give back connections, threads and processes."""
        await self.images.close()
        self.hasher.close()
        if self._owns_engine:
            await self.engine.dispose()


def _derive(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return hashlib.blake2b(purpose.encode(), key=secret[:64], digest_size=32).digest()
