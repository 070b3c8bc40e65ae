"""A real server program on a real port, in this loop, over this test's container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.server.websocket_protocol import MAX_FRAME_BYTES, UvicornConnection
from messenger.testing import Factory
from tests.support.served import start
from tests.support.sockets import Realtime


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(settings: Settings, engine: AsyncEngine) -> AsyncIterator[Container]:
    """Services by the real clock, with their realtime loops; stamps are not what is tested here."""
    container = Container(msgspec.structs.replace(settings, activity_resolution=3600.0), engine=engine)
    async with container.realtime.running():
        yield container
    await container.close()


async def serve(container: Container) -> tuple[uvicorn.Server, asyncio.Task[None], int]:
    """Start a server program over a container; its port."""
    return await start(
        create_app(container),
        ws=UvicornConnection,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=5,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def realtime(hosted: Container) -> AsyncIterator[Realtime]:
    """The server, and a way in."""
    server, task, port = await serve(hosted)
    yield Realtime(port, hosted.realtime.presence._pass)
    server.should_exit = True
    await task


@pytest_asyncio.fixture(loop_scope="session")
async def people(hosted: Container) -> Factory:
    """People of the hosted container: what they do is announced to its sockets."""
    return Factory(hosted)
