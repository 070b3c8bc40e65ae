"""Forms with a file, read in bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar.datastructures import UploadFile
from litestar.utils.scope.state import ScopeState
from multipart import MultipartError, MultipartSegment, PushMultipartParser  # type: ignore[import-untyped]

from messenger.errors import UnsupportedMediaType, ValidationFailed
from messenger.web.negotiation import ensure_no_content_coding

_PARTS = 16
# Some clients write filenames in a local charset; this charset decodes every byte.
_HEADER_CHARSET = "latin-1"


async def read_form(connection: Any, _: Any) -> None:
    """A guard that reads the form, for the handler to find. Raises `UnsupportedMediaType`, `ValidationFailed`.

    The framework would decode each field with the charset that its part names: it fails for an unknown charset, and
    some, such as punycode, take hours for an upload of the allowed size.
    """
    media_type, options = connection.content_type
    if media_type != "multipart/form-data":
        raise UnsupportedMediaType("Send multipart/form-data")
    ensure_no_content_coding(connection.scope)
    try:
        parts = await _parse(connection.stream(), options.get("boundary", ""))
    except (MultipartError, UnicodeError):
        raise ValidationFailed("The form could not be parsed") from None
    form: dict[str, list[Any]] = {}
    for segment, content in parts:
        # A part is identified by its name; a filename is optional and has no meaning here (RFC 7578 section 4.2).
        form.setdefault(segment.name, []).append(_file(content))
    # The framework closes the files after every request.
    ScopeState.from_scope(connection.scope).form = {
        name: values[0] if len(values) == 1 else values for name, values in form.items()
    }


async def _parse(stream: AsyncIterator[bytes], boundary: str) -> list[tuple[MultipartSegment, bytes]]:
    """The parts. Raises `MultipartError`."""
    parts: list[tuple[MultipartSegment, bytes]] = []
    content = bytearray()
    segment: MultipartSegment | None = None
    parser = PushMultipartParser(boundary.encode(), max_segment_count=_PARTS, header_charset=_HEADER_CHARSET)
    is_empty = True
    async for chunk in stream:
        # An empty chunk would end the parser; data after the closing boundary is ignored (RFC 2046 section 5.1.1).
        if not chunk or parser.closed:
            continue
        is_empty = False
        for event in parser.parse(chunk):
            if isinstance(event, MultipartSegment):
                segment, content = event, bytearray()
            elif event:
                content += event
            elif segment is not None:
                parts.append((segment, bytes(content)))
    if not is_empty:
        parser.close()
    return parts


def _file(content: bytes) -> UploadFile:
    """A file in memory; the client's filename and content type are ignored."""
    return UploadFile("application/octet-stream", "file", content, max_spool_size=len(content) + 1)
