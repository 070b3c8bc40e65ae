"""Responses in JSON, or in MessagePack if the client prefers it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Response
from litestar.enums import MediaType
from litestar.response.base import ASGIResponse

from messenger.web.negotiation import MSGPACK, wants_msgpack

Content = TypeVar("Content")


class WireResponse(Response[Content]):
    """A response in MessagePack if the client prefers it, and in JSON otherwise."""

    def __init__(
        self, content: Content, *, status_code: int | None = None, headers: Any = None, **options: Any
    ) -> None:
        if options or not (headers is None or isinstance(headers, dict)):
            super().__init__(content, status_code=status_code, headers=headers, **options)
            return
        # Equivalent to the framework's constructor for these arguments, but cheaper.
        self.content = content
        self.status_code = status_code
        self.headers = headers or {}
        self.background = self.media_type = None
        self.cookies = []
        self.encoding = "utf-8"
        self.response_type_encoders = {}

    def to_asgi_response(self, app: Any, request: Any, **options: Any) -> ASGIResponse:
        if self.media_type in {None, MediaType.JSON} and wants_msgpack(request.scope):
            self.media_type = MSGPACK
        return super().to_asgi_response(app, request, **options)

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        # Litestar has another media type for MessagePack.
        if media_type == MSGPACK:
            # A response without content (204) is empty in MessagePack as well.
            return b"" if content is None else msgspec.msgpack.encode(content)
        return super().render(content, media_type, enc_hook)
