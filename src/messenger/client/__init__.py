"""Python client, for bots, tests and benchmarks; also the reference implementation for other clients.

    async with Client("http://localhost:8000") as client:
        await client.login("ada", "…")
        loaded = await client.load_state()
        async for item in client.stream(loaded.cursor):
            if isinstance(item, Event):
                loaded.state.apply(item)

Requires the extra `client`. This package does not import the server.
"""

from messenger.client.client import Client
from messenger.client.codec import CaughtUp, Event, Resync, Signal
from messenger.client.errors import (
    ApiError,
    ClientError,
    ConnectedElsewhere,
    OutcomeUnknown,
    SignedOut,
    UnexpectedResponse,
    Unreachable,
)
from messenger.client.loading import Loaded
from messenger.client.outbox import Outbox, Outgoing
from messenger.client.retrying import Timing
from messenger.client.state import State
from messenger.client.stream import EventStream, Status
from messenger.client.tokens import Tokens

UnexpectedAnswer = UnexpectedResponse
"""The earlier name of `UnexpectedResponse`."""

__all__ = [
    "ApiError",
    "CaughtUp",
    "Client",
    "ClientError",
    "ConnectedElsewhere",
    "Event",
    "EventStream",
    "Loaded",
    "Outbox",
    "OutcomeUnknown",
    "Outgoing",
    "Resync",
    "Signal",
    "SignedOut",
    "State",
    "Status",
    "Timing",
    "Tokens",
    "UnexpectedAnswer",
    "UnexpectedResponse",
    "Unreachable",
]
