"""The wire's own response: JSON, or MessagePack where the client asks for it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Response
from litestar.enums import MediaType
from litestar.response.base import ASGIResponse

from messenger.web.negotiation import MSGPACK, wants_msgpack

Content = TypeVar("Content")


class WireResponse(Response[Content]):
    """Answers in MessagePack where the client asks for it, and in JSON otherwise."""

    def __init__(
        self, content: Content, *, status_code: int | None = None, headers: Any = None, **options: Any
    ) -> None:
        if options or not (headers is None or isinstance(headers, dict)):
            super().__init__(content, status_code=status_code, headers=headers, **options)
            return
        # As the framework does it, without looking at what a handler doesn't give.
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
        # Litestar's own name for MessagePack is another one.
        if media_type == MSGPACK:
            # An answer without content (204) has none in MessagePack either.
            return b"" if content is None else msgspec.msgpack.encode(content)
        return super().render(content, media_type, enc_hook)
