"""Services: one an area; every public method is one use case."""

from __future__ import annotations

import msgspec

from messenger.services.accounts import AccountService
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
from messenger.services.safe import SafeService
from messenger.services.signals import SignalService
from messenger.services.streams import StreamService
from messenger.services.sync import SyncService


class Services(msgspec.Struct, frozen=True):
    """All of them, made once by the container."""

    accounts: AccountService
    avatars: AvatarService
    calls: CallService
    contacts: ContactService
    conversations: ConversationService
    devices: DeviceService
    exports: ExportService
    fan_out: FanOutService
    health: HealthService
    maintenance: MaintenanceService
    messages: MessageService
    presence: PresenceService
    profiles: ProfileService
    safe: SafeService
    signals: SignalService
    streams: StreamService
    sync: SyncService
