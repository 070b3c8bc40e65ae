"""An application that can't start."""

from __future__ import annotations

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Refuse at the first word of the server program."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "it can't"})
