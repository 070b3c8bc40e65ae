"""Services: one for each area; every public method is one use case. Each is built here, and named nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec

from messenger.clock import Clock
from messenger.config import Settings
from messenger.media.processor import ImageProcessor
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import Presences, ReceiptCounts, Streams
from messenger.realtime.runtime import Realtime
from messenger.security.passwords import PasswordHasher
from messenger.security.tokens import TokenMint
from messenger.services._passwords import PasswordCheck
from messenger.services._tokens import TokenIssuer
from messenger.services._unreadable import Kind, Unreadable
from messenger.services._usernames import UsernameDigests
from messenger.services.accounts import AccountService
from messenger.services.administration import AdministrationService
from messenger.services.avatars import AvatarService
from messenger.services.bans import BanService
from messenger.services.calls import CallService
from messenger.services.contacts import ContactService
from messenger.services.conversations import ConversationService
from messenger.services.devices import DeviceService
from messenger.services.exports import ExportService
from messenger.services.fan_out import FanOutService
from messenger.services.group_links import GroupLinkService
from messenger.services.groups import GroupService
from messenger.services.health import BusStatus, HealthService
from messenger.services.invitations import InvitationService
from messenger.services.maintenance import MaintenanceService
from messenger.services.members import MemberService
from messenger.services.messages import MessageService
from messenger.services.ownership import OwnershipService
from messenger.services.presence import PresenceService
from messenger.services.profiles import ProfileService
from messenger.services.rate_limits import RateLimiter
from messenger.services.safe import SafeService
from messenger.services.settings import SettingsService
from messenger.services.signals import SignalService
from messenger.services.streams import StreamService
from messenger.services.sync import SyncService
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory


class Gateways(msgspec.Struct, frozen=True, kw_only=True):
    """What the services of a process share.

    `spare`: units of work for the health check, over a connection of its own. `key`: derives the key for a purpose.
    `realtime`: builds the realtime side over the services that it reads and writes through.
    """

    uow: UnitOfWorkFactory
    spare: UnitOfWorkFactory
    clock: Clock
    store: ObjectStore
    images: ImageProcessor
    hasher: PasswordHasher
    bus: BusStatus
    hub: Hub
    key: Callable[[str], bytes]
    realtime: Callable[[Streams, Presences, ReceiptCounts], Realtime]
    on_unreadable: Callable[[Kind], None]
    on_sweep_held: Callable[[str], None]
    schema_head: str


class Services:
    """The services of a process, built once by the container."""

    def __init__(self, gateways: Gateways, settings: Settings) -> None:
        uow, store, hasher, key = gateways.uow, gateways.store, gateways.hasher, gateways.key
        limiter = RateLimiter(uow, enabled=settings.rate_limits == "on")
        unreadable = Unreadable(uow, gateways.on_unreadable)
        usernames = UsernameDigests(key("usernames"))
        issuer = _issuer(gateways, settings)
        minimum = settings.password_min_length
        self.streams = StreamService(uow, unreadable)
        self.presence = PresenceService(uow, gateways.clock)
        self.realtime = gateways.realtime(self.streams, self.presence, self.streams)
        presence, acks = self.realtime.presence, self.realtime.acks
        self.accounts = AccountService(
            uow,
            limiter,
            hasher,
            issuer,
            store,
            usernames,
            max_devices=settings.max_devices,
            password_min_length=minimum,
        )
        self.administration = AdministrationService(uow, gateways.clock, hasher, usernames, password_min_length=minimum)
        self.avatars = AvatarService(uow, limiter, gateways.images, store, key=key("avatars"))
        self.calls = _calls(gateways, settings, limiter)
        self.contacts = ContactService(uow, limiter, unreadable, presence)
        self.conversations = ConversationService(uow, limiter, unreadable)
        self.devices = DeviceService(uow, limiter, issuer)
        self.exports = ExportService(uow, limiter, store)
        self.fan_out = FanOutService(uow)
        self.health = HealthService(gateways.spare, store, gateways.bus, head=gateways.schema_head)
        self.maintenance = _maintenance(gateways, settings)
        # Half of the pool, and at most four connections, are for sending; what waits shares the next statement.
        self.messages = MessageService(uow, limiter, unreadable, lanes=max(1, min(4, settings.pool_size // 2)))
        self.profiles = ProfileService(uow, limiter, presence, usernames)
        self.safe = SafeService(uow, limiter)
        self.settings = SettingsService(uow, limiter)
        self.signals = SignalService(uow, limiter)
        self.sync = SyncService(uow, unreadable, gateways.hub, acks)
        self._add_groups(uow, limiter, PasswordCheck(uow, limiter, hasher))

    def _add_groups(self, uow: UnitOfWorkFactory, limiter: RateLimiter, password: PasswordCheck) -> None:
        self.bans = BanService(uow, limiter)
        self.group_links = GroupLinkService(uow, limiter)
        self.groups = GroupService(uow, limiter)
        self.invitations = InvitationService(uow, limiter)
        self.members = MemberService(uow, limiter)
        self.ownership = OwnershipService(uow, limiter, password)


def _issuer(gateways: Gateways, settings: Settings) -> TokenIssuer:
    mint = TokenMint(gateways.key("tokens"))
    return TokenIssuer(mint, access_ttl=settings.access_token_ttl, refresh_ttl=settings.refresh_token_ttl)


def _calls(gateways: Gateways, settings: Settings, limiter: RateLimiter) -> CallService:
    return CallService(
        gateways.uow,
        gateways.clock,
        limiter,
        stun_urls=settings.stun_urls,
        turn_urls=settings.turn_urls,
        turn_secret=settings.turn_secret,
        key=gateways.key("turn"),
        ttl=settings.ice_ttl,
    )


def _maintenance(gateways: Gateways, settings: Settings) -> MaintenanceService:
    return MaintenanceService(
        gateways.uow,
        gateways.clock,
        gateways.store,
        events_kept_for=timedelta(days=settings.event_retention),
        on_held=gateways.on_sweep_held,
    )
