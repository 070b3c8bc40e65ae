"""A fake server and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from messenger.client import Client
from tests.client.fake import Fake, running


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Fake]:
    async with running() as fake:
        yield fake


@pytest_asyncio.fixture(loop_scope="session")
async def client(fake: Fake) -> AsyncIterator[Client]:
    async with fake.client() as client:
        yield client
