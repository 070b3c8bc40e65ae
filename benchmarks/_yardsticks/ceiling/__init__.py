"""The ceiling: a bare ASGI application over hand-written asyncpg, which does the same job for seven of our endpoints.

No framework, one statement a request with the caller looked up inside, a stamp only where one is due, structs straight
into JSON: as fast as one request after the other gets on this schema. It refuses what we refuse, in fewer words.
What it leaves out: MessagePack, metrics, the wake-ups of sockets, receipts that `GET /sync` proves; groups, except in
the list of conversations; the effect of deleted messages on counts.
"""

from _yardsticks.ceiling.application import Ceiling, app

__all__ = ["Ceiling", "app"]
