"""Repositories: every SQL statement of the project. A unit of work has one of each, over its own connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from messenger.database.runner import Runner
from messenger.repositories.accounts import AccountRepository
from messenger.repositories.avatars import AvatarRepository
from messenger.repositories.connections import ConnectionRepository
from messenger.repositories.contacts import ContactRepository
from messenger.repositories.conversations import ConversationRepository
from messenger.repositories.devices import DeviceRepository
from messenger.repositories.events import EventRepository
from messenger.repositories.exports import ExportRepository
from messenger.repositories.fan_outs import FanOutRepository
from messenger.repositories.group_events import GroupEventRepository
from messenger.repositories.group_links import GroupLinkRepository, JoinRepository
from messenger.repositories.group_locks import GroupLockRepository
from messenger.repositories.group_records import GroupRecordRepository
from messenger.repositories.groups import GroupRepository, GroupSettingsRepository
from messenger.repositories.health import HealthRepository
from messenger.repositories.idempotency import IdempotencyRepository
from messenger.repositories.invitations import InvitationRepository
from messenger.repositories.limits import LimitRepository
from messenger.repositories.member_pages import MemberPageRepository
from messenger.repositories.memberships import MembershipRepository
from messenger.repositories.message_receipts import MessageReceiptRepository
from messenger.repositories.messages import MessageRepository
from messenger.repositories.purges import PurgeRepository
from messenger.repositories.secrets import SecretRepository
from messenger.repositories.statuses import StatusRepository
from messenger.repositories.streams import StreamRepository
from messenger.repositories.sweeps import SweepRepository
from messenger.repositories.usernames import UsernameRepository
from messenger.repositories.users import UserRepository

R = TypeVar("R")


class _Repository(Generic[R]):
    """An attribute that creates a repository of its unit of work at each access; repositories have no state."""

    def __init__(self, kind: Callable[[Runner], R]) -> None:
        self._kind = kind

    def __get__(self, uow: Repositories, owner: type[Any]) -> R:
        return self._kind(uow.statements)


class _MappedRepository(Generic[R]):
    """An attribute that creates a repository over the session of its unit of work; the first one opens it."""

    def __init__(self, kind: Callable[[AsyncSession], R]) -> None:
        self._kind = kind

    def __get__(self, uow: Repositories, owner: type[Any]) -> R:
        return self._kind(uow.session)


class Repositories(ABC):
    """The repositories of a unit of work."""

    statements: Runner

    @property
    @abstractmethod
    def session(self) -> AsyncSession:
        """The session of the mapped repositories."""

    accounts = _MappedRepository(AccountRepository)
    avatars = _Repository(AvatarRepository)
    connections = _Repository(ConnectionRepository)
    contacts = _Repository(ContactRepository)
    conversations = _Repository(ConversationRepository)
    devices = _Repository(DeviceRepository)
    events = _Repository(EventRepository)
    exports = _Repository(ExportRepository)
    fan_outs = _Repository(FanOutRepository)
    group_events = _Repository(GroupEventRepository)
    group_links = _MappedRepository(GroupLinkRepository)
    group_records = _Repository(GroupRecordRepository)
    group_settings = _MappedRepository(GroupSettingsRepository)
    groups = _Repository(GroupRepository)
    health = _Repository(HealthRepository)
    idempotency = _Repository(IdempotencyRepository)
    invitations = _Repository(InvitationRepository)
    joins = _Repository(JoinRepository)
    limits = _Repository(LimitRepository)
    member_pages = _Repository(MemberPageRepository)
    group_locks = _Repository(GroupLockRepository)
    memberships = _Repository(MembershipRepository)
    message_receipts = _Repository(MessageReceiptRepository)
    messages = _Repository(MessageRepository)
    purges = _Repository(PurgeRepository)
    secrets = _Repository(SecretRepository)
    statuses = _Repository(StatusRepository)
    streams = _Repository(StreamRepository)
    sweeps = _Repository(SweepRepository)
    usernames = _Repository(UsernameRepository)
    users = _Repository(UserRepository)
