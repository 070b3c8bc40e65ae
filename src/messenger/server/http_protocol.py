"""uvicorn's HTTP protocol with limits, and with the head and body of a response in one system call."""

from __future__ import annotations

import asyncio
from operator import methodcaller
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from messenger.server.error_responses import error_response
from messenger.server.heads import fault_of, is_handshake, without_upgrade
from messenger.server.http_holder import Holder
from messenger.server.memory import SMALL, Budget
from messenger.server.timeouts import ClientTimeouts, Progress, TimeoutWheel
from messenger.server.writes import FULL_RESPONSE, CoalescedWrites, DefaultHeaders

MAX_HEAD_BYTES = 32 * 1024
MAX_URL_BYTES = 8 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 16
"""Pipelined requests that may wait for the response to an earlier one."""

# Bytes of a header line besides the name and the value: a colon, a space, and CRLF.
_BETWEEN = 4
# The maximum of bytes read per byte of the body, and the minimum mean size of chunks if there are many.
_FRAMING = 8
_MANY_CHUNKS, _CHUNK_BYTES = 4096, 128

# What the server is waiting for from a client.
_HEAD, _BODY, _NEXT, _ANSWER_READ, _NOTHING = "head", "body", "next", "answer read", "nothing"


class HttpConnection(Holder):
    """uvicorn's protocol with limits on the size and duration of requests.

    The connection, its parser and its extension refer to each other; these cycles are broken when it ends. The parser
    has no limits: it would buffer a head, a trailer or a chunk extension of any length.
    """

    # Body bytes read since the last complete request.
    _body_bytes = _pieces = 0
    _fault = 400
    # The head of a request whose `Upgrade` is ignored, to be parsed again without it.
    _plain_head = b""

    def __init__(self, *arguments: Any, connections: ProtocolFactory | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._all = connections or ProtocolFactory()
        self._progress = Progress()
        self._extensions = {FULL_RESPONSE: self.respond_full}

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=SMALL)
        self._all.watch.enter(self)
        if len(self.connections) > self._all.capacity:
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.watch.leave(self)
        self._all.unsent.change(self, 0)
        running = self._running
        if running is not None and not running.response_complete:
            # uvicorn only notifies the latest request; this one would fail when it writes its response.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)
        self._let_go()

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._fault)
        else:
            if self._read > MAX_HEAD_BYTES:
                self._check_excess()
            if self._read > SMALL or self._held > SMALL or self._is_counted:
                self._count()

    def _parse(self, data: bytes) -> None:
        """Feed the parser. It stops at an `Upgrade` and skips the body; a request whose `Upgrade` is ignored is parsed
        again by a new parser, as a plain request.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._plain_head:
                    self.handle_websocket_upgrade()
                    return
                data = self._plain_head + data[upgrade.args[0] :]
                self._plain_head = b""
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _check_excess(self) -> None:
        if self._is_in_head:
            self._refuse(431 if self.headers else 414)
        elif self._read > MAX_HEAD_BYTES + _FRAMING * self._body_bytes:
            self._refuse(400)

    # --- what the parser calls ---

    def on_header(self, name: bytes, value: bytes) -> None:
        # Counted on arrival: thousands of minimal requests fit into the byte limit, each with its own objects.
        if len(self.headers) >= MAX_HEADERS:
            self._fault = 431
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) > MAX_URL_BYTES:
            self._fault = 414
            raise ValueError
        if self._read > MAX_HEAD_BYTES and self._head_bytes > MAX_HEAD_BYTES:
            self._fault = 431
            raise ValueError
        version = self.parser.get_http_version()
        fault = fault_of(version, self.headers)
        if fault or len(self.pipeline) >= MAX_PIPELINED:
            self._fault = fault or 400
            raise ValueError
        if self.parser.should_upgrade() and not self._should_upgrade():
            method = self.parser.get_method()
            if method == b"CONNECT":
                raise ValueError
            self._plain_head = without_upgrade(method, self.url, version, self.headers)
            return
        self._body_bytes = self._pieces = 0
        super().on_headers_complete()
        # Trailer fields after a chunked body are appended to `self.headers`; the copy keeps them out of the request.
        self.headers = self.headers.copy()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._pieces += 1
        if self._pieces > _MANY_CHUNKS and self._body_bytes < _CHUNK_BYTES * self._pieces:
            # The event loop reads megabytes at once; in chunks of one byte they would block it for half a second.
            raise ValueError
        self._hold(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._plain_head:
            return
        self._read = 0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return is_handshake(self.parser.get_method(), self.parser.get_http_version(), self.headers)

    @property
    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + _BETWEEN for name, value in self.headers)

    # --- requests and responses ---

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self.flow.write_paused:
            # The client has not read the previous response: `resume_writing` starts this request.
            self.flow.pause_reading()
            self.pipeline.append((cycle, app))
            return
        self._running = cycle
        # A response to HEAD has no body, so there is nothing to combine.
        if cycle.scope["method"] != "HEAD":
            cycle.transport = CoalescedWrites(cycle.transport)
            cycle.scope["extensions"] = self._extensions
        super()._start_asgi_task(cycle, app)

    def respond_full(self, send: Any, status: int, fields: bytes, body: bytes) -> bool:
        """The extension `FULL_RESPONSE`."""
        cycle = self._running
        if (
            cycle is None
            or cycle.send != send
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or self.flow.write_paused
        ):
            return False
        defaults = self._all.default_headers.joined(cycle.default_headers)
        cycle.transport.write_all(b"%b%b%b\r\n%b" % (STATUS_LINE[status], defaults, fields, body))
        # The state in which uvicorn's cycle ends a response.
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        self.on_response_complete()
        return True

    def on_response_complete(self) -> None:
        """Like uvicorn's method, but without its timer: `look` detects idle connections."""
        self.server_state.total_requests += 1
        self._release()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def handle_websocket_upgrade(self) -> None:
        if self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete):
            # Pending responses would be written between frames; and behind an unread response, the socket would not be
            # notified that writing is paused.
            self._refuse(400)
            return
        self._all.watch.leave(self)
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]
        self._let_go()

    def _let_go(self) -> None:
        """Remove the references to this connection: pending requests, and the extension, to which scopes refer."""
        self.pipeline.clear()
        self._held = self._read = 0
        self._all.bodies.change(self, 0)
        self.cycle = self._running = None  # type: ignore[assignment]
        self._progress = Progress()
        self._extensions.clear()

    def _refuse(self, status: int) -> None:
        """Close with an error response, unless the client could mistake it for the response to another request."""
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if cycle is None or (cycle.response_complete and not cycle.more_body):
            self.transport.write(error_response(status))
        elif not cycle.more_body:
            # Complete requests before the invalid one are answered first.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        elif not cycle.response_started and not self.pipeline:
            self.transport.write(error_response(status))
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    # --- timeouts ---

    def look(self, now: float) -> None:
        timeouts, unsent = self._all.timeouts, self.transport.get_write_buffer_size()
        if self.flow.write_paused:
            self._all.unsent.change(self, unsent)
        waits_for = _ANSWER_READ if unsent else self._waits_for()
        amount = -unsent if unsent else self._body_bytes
        waited = self._progress.waited((waits_for, self.cycle), amount, now)
        if waits_for == _ANSWER_READ:
            if self._progress.is_slow(amount, now, timeouts):
                self.transport.abort()
        elif waits_for == _BODY:
            if waited >= timeouts.body or self._progress.is_slow(amount, now, timeouts):
                self._refuse(408)
        elif waits_for == _HEAD and waited >= timeouts.head and self._is_in_head:
            self._refuse(408)
        elif (waits_for == _HEAD and waited >= timeouts.head) or (waits_for == _NEXT and waited >= timeouts.idle):
            self.transport.close()

    def _waits_for(self) -> str:
        cycle = self.cycle
        if cycle is None:
            return _HEAD
        if cycle.response_complete:
            # If the response preceded the end of the body, the idle timeout applies, as for a silent client.
            return _HEAD if self._is_in_head else _NEXT
        is_asked = cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue
        return _BODY if is_asked else _NOTHING


class ProtocolFactory:
    """Creates the connections of one worker, for `uvicorn.Config(http=…)`, and bounds their time and memory."""

    def __init__(self, timeouts: ClientTimeouts | None = None) -> None:
        self.timeouts = timeouts or ClientTimeouts()
        self.watch = TimeoutWheel()
        self.default_headers = DefaultHeaders()
        self.capacity = self.timeouts.capacity
        self.bodies: Budget[Any] = Budget(self.timeouts.body_bytes, methodcaller("discard_request"))
        self.unsent: Budget[Any] = Budget(self.timeouts.unsent_bytes, methodcaller("discard_response"))

    def __call__(self, *arguments: Any, **options: Any) -> HttpConnection:
        return HttpConnection(*arguments, connections=self, **options)
