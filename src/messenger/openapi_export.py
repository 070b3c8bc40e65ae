"""The OpenAPI document without a running server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from messenger.app import create_app
from messenger.config import Settings
from messenger.container import Container
from messenger.web.openapi.document import openapi_document


def openapi_json() -> str:
    """The document as indented JSON; nothing is connected to."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), secret="-" * 32, database_url="postgresql://nobody@127.0.0.1:1/none")
        document = openapi_document(create_app(Container(settings)))
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
