"""Logging as text or JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from messenger.schemas.types import timestamp


class JsonFormatter(logging.Formatter):
    """Formats each record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()

    def formatException(self, ei: Any) -> str:
        """The traceback without PostgreSQL's DETAIL, which quotes users' data."""
        _remove_details(ei[1], set())
        return super().formatException(ei)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return timestamp(datetime.fromtimestamp(record.created, UTC))


class TextFormatter(JsonFormatter):
    """Formats records as text; further lines are indented, so that they cannot be mistaken for records."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{self.formatTime(record)} {record.levelname.lower():7} {record.name}: {record.getMessage().rstrip()}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return text.replace("\r", "\\r").replace("\n", "\n    ")


def _remove_details(error: BaseException | None, seen: set[int]) -> None:
    """Remove the detail of database errors, which have a SQLSTATE, from the error and its causes."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    if hasattr(error, "sqlstate") and getattr(error, "detail", None):
        error.detail = None  # type: ignore[attr-defined]
    for each in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        _remove_details(each, seen)


def configure_logging(level: str, how: Literal["text", "json"]) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if how == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for quiet in ("alembic", "uvicorn.error", "asyncio", "PIL"):
        logging.getLogger(quiet).setLevel(max(logging.WARNING, root.level))
