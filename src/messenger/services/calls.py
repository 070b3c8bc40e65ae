"""Calls: the servers over which devices reach each other."""

from __future__ import annotations

from datetime import timedelta

from messenger.actor import Caller
from messenger.clock import Clock
from messenger.schemas.calls import IceServersView, IceServerView
from messenger.schemas.types import timestamp
from messenger.security.turn import ice_servers
from messenger.services.rate_limits import RateLimiter
from messenger.unit_of_work import UnitOfWorkFactory


class CallService:
    """Returns STUN and TURN servers, with temporary credentials."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        clock: Clock,
        limiter: RateLimiter,
        *,
        stun_urls: tuple[str, ...],
        turn_urls: tuple[str, ...],
        turn_secret: str,
        key: bytes,
        ttl: int,
    ) -> None:
        self._uow = uow
        self._clock = clock
        self._limiter = limiter
        self._stun_urls = stun_urls
        self._turn_urls = turn_urls
        self._turn_secret = turn_secret
        self._key = key
        self._ttl = timedelta(seconds=ttl)

    async def ice_servers(self, caller: Caller) -> IceServersView:
        """The configured servers. The TURN username is a daily pseudonym, which hides the user ID from the relay."""
        async with self._uow.read() as uow:
            actor = await uow.devices.authenticate(caller)
        await self._limiter.hit("ice", actor.user_id)
        servers, expires_at = ice_servers(
            stun_urls=self._stun_urls,
            turn_urls=self._turn_urls,
            turn_secret=self._turn_secret or None,
            key=self._key,
            user_id=actor.user_id,
            now=self._clock.now(),
            ttl=self._ttl,
        )
        seconds = int(self._ttl.total_seconds())
        return IceServersView(
            [IceServerView(list(server.urls), server.username, server.credential) for server in servers],
            seconds,
            seconds // 2,
            timestamp(expires_at),
        )
