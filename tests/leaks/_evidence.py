"""Everything that remains of the requests: logs in both formats, problems, metrics, every column of every table."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from messenger.observability.logs import JsonFormatter, TextFormatter, configure_logging

# Logs of the test's own clients, which run in this process too, and those that `messenger serve` disables.
_SILENT = ("httpx", "httpcore", "websockets.client", "uvicorn.access")


class Logs:
    """What the server logs at debug level, once for each format."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.json = io.StringIO()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """As `messenger serve` logs with MESSENGER_LOG_LEVEL=debug."""
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        loggers = {name: logging.getLogger(name) for name in (*_SILENT, "uvicorn.error", "alembic", "asyncio", "PIL")}
        levels = {name: logger.level for name, logger in loggers.items()}
        configure_logging("debug", "json")
        root.handlers[:] = [_handler(self.text, TextFormatter()), _handler(self.json, JsonFormatter())]
        for name in _SILENT:
            loggers[name].setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            for name, logger in loggers.items():
                logger.setLevel(levels[name])


def _handler(stream: io.StringIO, formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    return handler


class Problems:
    """Every refusal that a client received: its headers and its body."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.statuses: set[int] = set()

    async def see(self, response: httpx.Response) -> None:
        """An event hook of httpx."""
        await response.aread()
        self.statuses.add(response.status_code)
        if response.status_code >= 400:
            self.texts.append(f"{response.headers}\n{response.text}")

    def see_reply(self, frame: dict[str, Any]) -> None:
        """A reply over a socket."""
        if "error" in frame:
            self.texts.append(msgspec.json.encode(frame["error"]).decode())


async def dump(connection: Any) -> dict[str, str]:
    """Everything in the database, by `table.column`, as text; bytes unchanged, and in hexadecimal."""
    found = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    return {
        f"{table}.{column}": "\n".join(
            _text(row[0]) for row in await connection.fetch(f'SELECT "{column}" FROM "{table}"')
        )
        for table, column in found
    }


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return f"{value.decode('utf-8', 'replace')} {value.hex()}"
    return str(value)
