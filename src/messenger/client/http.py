"""HTTP calls: authentication, error responses and retries."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import httpx
import msgspec

from messenger.client.codec import JSON, JSON_TYPE, MSGPACK, MSGPACK_TYPE, Codec
from messenger.client.errors import ApiError, SignedOut, UnexpectedResponse, Unreachable, api_error
from messenger.client.retrying import Backoff, Sleeper, Timing, retry
from messenger.client.tokens import OnTokens, TokenKeeper, Tokens
from messenger.schemas.accounts import RefreshDraft, RefreshedView, TokensView

T = TypeVar("T")


class _Page(Protocol):
    @property
    def next(self) -> str | None: ...


P = TypeVar("P", bound=_Page)

# The server cannot have received the whole request.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One API call. `keyed`: send an `Idempotency-Key`, so that it can be retried although it creates something."""

    method: str
    path: str
    body: Any = None
    params: dict[str, Any] = {}
    headers: dict[str, str] = {}
    file: bytes | None = None
    public: bool = False
    keyed: bool = False
    repeatable: bool = True
    wait: float = 0.0
    """How long the server may wait before it responds, in seconds; added to the timeout."""


class Http:
    """HTTP access to the server, authenticated as one device of one account."""

    def __init__(
        self,
        base_url: str,
        *,
        codec: Codec,
        timing: Timing,
        sleeper: Sleeper,
        tokens: Tokens | None,
        on_tokens: OnTokens | None,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timing = timing
        self._codec = codec
        self._sleeper = sleeper
        self.keeper = TokenKeeper(tokens, on_tokens=on_tokens, refresh=self._refresh)
        # Enough for a busy bot that polls and sends concurrently.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=10)
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            transport=transport,
            timeout=httpx.Timeout(timing.answer, connect=timing.connect),
            limits=limits,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.keeper.settle()
        await self._client.aclose()

    async def call(self, request: Request, want: type[T]) -> T:
        """Send a request, with retries, and decode the response. Raises `ClientError`."""
        return self.read(await self.response(request, {"Accept": self._codec.media_type}), want)

    async def pages(self, path: str, want: type[P], params: Mapping[str, Any] = {}) -> AsyncIterator[P]:
        """Iterate over the pages of a list, loading each on demand. Raises `ClientError`."""
        cursor: str | None = None
        while True:
            bounds = {"limit": 200, **params, **({"cursor": cursor} if cursor else {})}
            page = await self.call(Request(method="GET", path=path, params=bounds), want)
            yield page
            cursor = page.next
            if cursor is None:
                return

    async def response(self, request: Request, headers: Mapping[str, str] = {}) -> httpx.Response:
        """Send a request and return the successful response, retrying if it is repeatable. Raises `ClientError`."""
        key = {**headers, "Idempotency-Key": str(uuid.uuid4())} if request.keyed else headers

        async def attempt() -> httpx.Response:
            return await self.once(request, key)

        within = self.timing.patience if request.repeatable else 0.0
        return await retry(attempt, within=within, backoff=Backoff(self.timing), sleeper=self._sleeper)

    async def call_once(self, request: Request, want: type[T]) -> T:
        """Send a request without retries and decode the response. Raises `ClientError`."""
        return self.read(await self.once(request, {"Accept": self._codec.media_type}), want)

    async def once(self, request: Request, headers: Mapping[str, str] = {}) -> httpx.Response:
        """Send a request once, or twice if the token had to be refreshed. Raises `ClientError`."""
        if request.public:
            return await self._exchange(request, headers, None)
        token = await self.keeper.access()
        try:
            return await self._exchange(request, headers, token)
        except SignedOut:
            token = await self.keeper.renew(token)
            return await self._exchange(request, headers, token)

    def read(self, response: httpx.Response, want: type[T]) -> T:
        """Decode the body of a successful response. Raises `UnexpectedResponse`."""
        codec = _codec_of(response)
        if codec is None:
            url = response.request.url.path
            raise UnexpectedResponse(f"{response.request.method} {url}: the response is neither JSON nor MessagePack")
        answer: T = codec.decode(response.content, want)
        return answer

    async def _exchange(self, request: Request, headers: Mapping[str, str], token: str | None) -> httpx.Response:
        sent = {**request.headers, **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        content: bytes | None = None
        if request.body is not None:
            content, sent["Content-Type"] = self._codec.encode(request.body), self._codec.media_type
        timeout = httpx.Timeout(self.timing.answer + request.wait, connect=self.timing.connect)
        try:
            response = await self._client.request(
                request.method,
                request.path,
                params=request.params or None,
                headers=sent,
                content=content,
                files={"file": ("file", request.file)} if request.file is not None else None,
                timeout=timeout,
            )
        except httpx.HTTPError as error:
            detail = f"{request.method} {request.path}: {type(error).__name__} {error}".rstrip()
            raise Unreachable(detail, may_have_happened=not isinstance(error, _NOT_SENT)) from error
        if response.is_success:
            return response
        raise _error_of(response)

    async def _refresh(self, refresh_token: str) -> TokensView:
        """Exchange the refresh token. The server accepts it again for a minute if the response was lost."""
        request = Request(
            method="POST", path="/token/refresh", body=RefreshDraft(refresh_token=refresh_token), public=True
        )
        return (await self.call(request, RefreshedView)).tokens


def _codec_of(response: httpx.Response) -> Codec | None:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MSGPACK_TYPE:
        return MSGPACK
    return JSON if media_type == JSON_TYPE or media_type.endswith("+json") else None


def _error_of(response: httpx.Response) -> ApiError:
    return problem_error(
        response.status_code,
        response.headers.get("content-type", ""),
        response.content,
        response.headers.get("retry-after"),
    )


def problem_error(status: int, content_type: str, content: bytes, retry_after: str | None) -> ApiError:
    """Convert an error response of the API, or of a proxy, to an exception."""
    codec = MSGPACK if MSGPACK_TYPE in content_type else JSON
    try:
        document = codec.decode(content, dict[str, Any])
    except UnexpectedResponse:
        document = {}
    return api_error(document, status=status, retry_after=retry_seconds(retry_after))


def retry_seconds(header: str | None) -> float | None:
    """`Retry-After` (RFC 9110 section 10.2.3) in seconds from now; None if it is absent or invalid."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
