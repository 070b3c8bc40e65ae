"""A server program on a real port, in this event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from messenger.app import create_app
from messenger.container import Container
from messenger.server.http_protocol import HttpConnection
from messenger.server.websocket_protocol import MAX_FRAME_BYTES, UvicornConnection


class _Server(uvicorn.Server):
    """Reports when it listens. Without signal handlers: the process belongs to the test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


async def start(app: Any, **options: Any) -> tuple[uvicorn.Server, asyncio.Task[None], int]:
    """Start a server for an application; return its port. Takes uvicorn's options; without logs and lifespan."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    options.setdefault("http", HttpConnection)
    server = _Server(uvicorn.Config(app, lifespan="off", log_config=None, **options))
    task = asyncio.create_task(server._serve([listening]))
    async with asyncio.timeout(10):
        await server.listens.wait()
    return server, task, listening.getsockname()[1]


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[int]:
    """The port of a server that ends with the block."""
    server, task, port = await start(app, **options)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def serving(container: Container) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve a container until the end of the block: the server program and its port."""
    server, task, port = await start(
        create_app(container),
        ws=UvicornConnection,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=5,
    )
    try:
        yield server, port
    finally:
        server.should_exit = True
        await task
