"""Repositories: every SQL statement of the project. A unit of work has one of each, over its own connection."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from messenger.database.runner import Runner
from messenger.repositories.accounts import AccountRepository
from messenger.repositories.avatars import AvatarRepository
from messenger.repositories.connections import ConnectionRepository
from messenger.repositories.contacts import ContactRepository
from messenger.repositories.conversations import ConversationRepository
from messenger.repositories.devices import DeviceRepository
from messenger.repositories.exports import ExportRepository
from messenger.repositories.fan_outs import FanOutRepository
from messenger.repositories.guards import IdempotencyRepository, LimitRepository
from messenger.repositories.messages import MessageRepository
from messenger.repositories.secrets import SecretRepository
from messenger.repositories.streams import StreamRepository
from messenger.repositories.sweeps import SweepRepository
from messenger.repositories.usernames import UsernameRepository
from messenger.repositories.users import UserRepository

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class Repositories:
    """What a unit of work offers. A repository holds nothing of its own, and is made when it is asked for."""

    statements: Runner

    @property
    def session(self) -> AsyncSession:
        """The mapped session, for the repositories that need one."""
        raise NotImplementedError

    @property
    def users(self) -> UserRepository:
        return UserRepository(self.statements)

    @property
    def usernames(self) -> UsernameRepository:
        return UsernameRepository(self.statements)

    @cached_property
    def accounts(self) -> AccountRepository:
        return AccountRepository(session=self.session, auto_refresh=False, wrap_exceptions=False)

    @property
    def devices(self) -> DeviceRepository:
        return DeviceRepository(self.statements)

    @property
    def contacts(self) -> ContactRepository:
        return ContactRepository(self.statements)

    @property
    def connections(self) -> ConnectionRepository:
        return ConnectionRepository(self.statements)

    @property
    def streams(self) -> StreamRepository:
        return StreamRepository(self.statements)

    @property
    def conversations(self) -> ConversationRepository:
        return ConversationRepository(self.statements)

    @property
    def messages(self) -> MessageRepository:
        return MessageRepository(self.statements)

    @property
    def avatars(self) -> AvatarRepository:
        return AvatarRepository(self.statements)

    @property
    def secrets(self) -> SecretRepository:
        return SecretRepository(self.statements)

    @property
    def idempotency(self) -> IdempotencyRepository:
        return IdempotencyRepository(self.statements)

    @property
    def fan_outs(self) -> FanOutRepository:
        return FanOutRepository(self.statements)

    @property
    def limits(self) -> LimitRepository:
        return LimitRepository(self.statements)

    @property
    def exports(self) -> ExportRepository:
        return ExportRepository(self.statements)

    @property
    def sweeps(self) -> SweepRepository:
        return SweepRepository(self.statements)
