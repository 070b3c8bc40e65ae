"""Responses and their CPU time."""

from __future__ import annotations

from time import process_time
from typing import Any

import httpx

QUICK = 1.0
"""Seconds of processor time that an answer may cost: what was quadratic took many for these inputs."""


async def timed(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> tuple[httpx.Response, float]:
    """A response, and the seconds of CPU time that it took."""
    started = process_time()
    answer = await client.request(method, path, **more)
    return answer, process_time() - started
