"""Upkeep of a worker's sockets: pings, timeouts, stalled peers, and periodic comparison with the tables."""

from __future__ import annotations

import asyncio
import logging
import random
from time import monotonic

from messenger.bus.bus import Bus
from messenger.errors import MessengerError
from messenger.realtime.frames import REPLACED, SIGNED_OUT, TIMED_OUT
from messenger.realtime.hub import Hub
from messenger.realtime.interfaces import SocketAudit, SocketRef, Streams
from messenger.realtime.presence import PresenceTracker
from messenger.realtime.socket import Socket

logger = logging.getLogger(__name__)

STALLED_SECONDS = 30.0
RECONCILE_SECONDS = 5.0
RECONCILE_SECONDS_WITHOUT_BUS = 1.0
RENEW_SECONDS = 10.0
_CHECK_SECONDS = 1.0
# A silent peer is sent a close frame, and has this long to respond; it did not respond to pings either.
_FAREWELL_SECONDS = 1.0
# A silent socket must be closed within the documented timeout, which includes the interval of checks and the farewell.
_MARGIN_SECONDS = _CHECK_SECONDS + _FAREWELL_SECONDS + 0.5
_BATCH = 1000


class Upkeep:
    """Detects what is not notified: dead peers, lost hints, devices signed out by a process without a bus."""

    def __init__(
        self, hub: Hub, presence: PresenceTracker, bus: Bus, streams: Streams, *, socket_timeout: float
    ) -> None:
        self.heartbeat = socket_timeout / 3
        self._hub = hub
        self._presence = presence
        self._bus = bus
        self._streams = streams
        self._timeout = max(socket_timeout - _MARGIN_SECONDS, socket_timeout / 2)
        self._suspects: set[int] = set()
        self._suspect_all = False
        self._wake = asyncio.Event()
        hub.on_suspect = self.suspect
        presence.on_registered = self._on_registered

    def suspect(self, user_id: int | None) -> None:
        """Compare this user's sockets with the tables now; None: all sockets."""
        if user_id is None:
            self._suspect_all = True
        else:
            self._suspects.add(user_id)
        self._wake.set()

    def _on_registered(self, ref: SocketRef) -> None:
        socket = self._hub.sockets.get(ref.actor.device_id)
        if socket is not None and socket.generation == ref.generation:
            socket.on_registered()
            self._hub.connected(socket)

    # --- pings, timeouts, stalled peers ---

    async def check_heartbeats(self) -> None:
        """Send pings and close dead sockets, until cancelled."""
        while True:
            now = monotonic()
            for socket in tuple(self._hub.sockets.values()):
                self._check_heartbeat(socket, now)
            await asyncio.sleep(_CHECK_SECONDS)

    def _check_heartbeat(self, socket: Socket, now: float) -> None:
        connection = socket.connection
        connection.check_progress(now)
        if connection.stalled_since is not None and now - connection.stalled_since >= STALLED_SECONDS:
            # The peer reads nothing, so it would not read a close frame either.
            connection.abort()
        elif socket.ping_at == 0.0:
            # A random delay spreads the pings of sockets that connected at the same time.
            socket.ping_at = now + self.heartbeat * random.random()  # noqa: S311
        elif now >= socket.ping_at:
            socket.ping_at = now + self.heartbeat
            if not connection.ping(b""):
                # Without pings an idle peer sends nothing, so its silence does not mean that it is dead.
                connection.last_received = now
        if now - connection.last_received >= self._timeout:
            socket.close(TIMED_OUT, "silent")
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, connection.abort)

    # --- the lease ---

    async def renew(self) -> None:
        """Renew this worker's lease, until cancelled."""
        while True:
            try:
                await self._presence.renew()
            except MessengerError as error:
                logger.warning("this worker's lease could not be renewed: %s", error.code)
            except Exception:
                logger.exception("this worker's lease could not be renewed")
            await asyncio.sleep(RENEW_SECONDS * random.uniform(0.8, 1))  # noqa: S311

    # --- comparison with the tables ---

    async def reconcile(self) -> None:
        """Compare all sockets with the tables every few seconds, and suspects at once, until cancelled."""
        reconciled_at = monotonic()
        while True:
            every = RECONCILE_SECONDS if self._bus.connected else RECONCILE_SECONDS_WITHOUT_BUS
            try:
                async with asyncio.timeout(max(0.0, reconciled_at + every - monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                self._suspect_all = True
            self._wake.clear()
            everyone, users = self._suspect_all, self._suspects
            self._suspect_all, self._suspects = False, set()
            if everyone:
                reconciled_at = monotonic()
            sockets = [each for each in self._hub.sockets.values() if everyone or each.actor.user_id in users]
            try:
                for start in range(0, len(sockets), _BATCH):
                    await self._reconcile(sockets[start : start + _BATCH], [])
                if everyone:
                    await self._reconcile([], list(self._hub.waiting_users()))
            except MessengerError:
                # The database is unavailable; the next comparison follows within seconds.
                continue
            except Exception:
                logger.exception("sockets could not be compared with the tables")

    async def _reconcile(self, sockets: list[Socket], waiting: list[int]) -> None:
        if not (sockets or waiting):
            return
        asked = [SocketRef(socket.actor, socket.generation) for socket in sockets]
        audit = await self._streams.reconcile(asked, waiting)
        for socket in sockets:
            self._compare(socket, audit)
        for user_id, position in audit.positions.items():
            self._hub.on_hint(user_id, position, audit.epoch)

    def _compare(self, socket: Socket, audit: SocketAudit) -> None:
        if self._hub.sockets.get(socket.actor.device_id) is not socket:
            # The socket ended, or was replaced, while the tables were read.
            return
        if socket.actor.device_id in audit.signed_out:
            socket.close(SIGNED_OUT, "signed out")
        elif socket.generation in audit.replaced:
            socket.close(REPLACED, "connected elsewhere")
        elif socket.generation in audit.unregistered:
            self._presence.connected(SocketRef(socket.actor, socket.generation))
