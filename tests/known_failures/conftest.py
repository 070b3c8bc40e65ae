"""Two servers: an application in this event loop, and a server on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from litestar import Litestar

from messenger.testing import Factory, Person
from tests.support.fixtures import app, clock, container, hosted, people, realtime
from tests.support.http import client_of
from tests.support.sockets import Realtime

__all__ = ["app", "clock", "container", "hosted", "people", "realtime"]


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this event loop."""
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def http(realtime: Realtime) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server on a real port."""
    async with httpx.AsyncClient(base_url=realtime.http, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def ada(make: Factory) -> Person:
    """A signed-in user."""
    return await make.person()
