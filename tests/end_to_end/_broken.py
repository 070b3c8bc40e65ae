"""An application that cannot start."""

from __future__ import annotations

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Fail at the first event of the server program."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "it can't"})
