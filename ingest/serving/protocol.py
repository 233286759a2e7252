"""HTTP connections: uvicorn's, with limits of size and time, and without offers to upgrade the protocol.

uvicorn bounds neither the head of a request nor the time that it takes. Here each connection has its limits
(`ingest.serving.limits`), and what exceeds them is refused with a response like every other refusal.

An offer to upgrade is ignored, as RFC 9110 section 7.8 allows. `curl --http2` and the HTTP client of the JDK offer
HTTP/2 with every request. llhttp takes such an offer for the end of HTTP and does not read the body. The endpoint knows
no other protocol, WebSocket included.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ingest import responses
from ingest.counters import Counters
from ingest.errors import Refusal
from ingest.serving.connections import TOO_MANY_BYTES, Connections, Phase
from ingest.serving.limits import MAX_HEAD_BYTES

_HEAD_TOO_LARGE = Refusal(
    431, f"the head of the request must have at most {MAX_HEAD_BYTES:,} bytes", code="head_too_large"
)


class Flow(FlowControl):
    """uvicorn's control of reading, which reads nothing while there is something to parse."""

    is_behind = False

    def resume_reading(self) -> None:
        """Read from the client, unless something that was read is not parsed yet."""
        if not self.is_behind:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's connection, one of those of `connections`. The other arguments are uvicorn's.

    The parser stops behind the head of a request that offers an upgrade. Another one gets the head without the offer,
    and what follows.
    """

    flow: Flow

    def __init__(self, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections
        self._counters: Counters | None = self.app_state.get("counters")
        self._phase: Phase | None = None
        self._part: Phase | None = None  # the head or the body of a request that is not complete
        self._unfinished_bytes = 0  # of this request
        self._unparsed = b""
        self._queued_requests = 0
        self._running: RequestResponseCycle | None = None  # the request whose response is next
        self._is_refused = False

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse the connection because there are too many."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        refusal = self._connections.accept(self, self._address)
        if refusal is None:
            self._wait()
        else:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and the request that is not complete."""
        super().connection_lost(exc)
        if self._running is not None:  # uvicorn tells the request that was received last only
            self._running.disconnected = True
            self._running.message_event.set()
        self._is_refused = True
        self._unparsed = b""
        self.pipeline.clear()
        self._is_queue_full()
        self._begin_count()
        self._enter(None)
        self._connections.forget(self)

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent; start the requests that are complete so far."""
        if self._unparsed or self.pipeline or len(data) > self._connections.piece_bytes:
            self._unparsed += data
            self._parse_pieces()
        else:
            self._parse(data)
        self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read its responses."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """End the wait for the client."""
        super().resume_writing()
        self._wait()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a request."""
        super().on_message_begin()
        if self._unfinished_bytes:
            self._begin_count()
        self._part = self._connections.head

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. What comes behind the body is none (RFC 9110, section 6.5.1), and may be a million fields."""
        if self._part is not self._connections.body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless its head comes again."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._part = self._connections.body

    def on_message_complete(self) -> None:
        """End the body of the request, unless its head comes again."""
        if not self.parser.should_upgrade():
            self._part = None
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # What the request calls

    def on_response_complete(self) -> None:
        """Start the next request, or wait for one. Without uvicorn's timer: `connections` has the deadlines."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._unparsed = b""
        elif self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            self._is_queue_full()
        elif self._unparsed:
            self._parse_pieces()
        else:
            self.flow.resume_reading()
        self._wait()

    # What `connections` calls

    def expire(self) -> None:
        """Refuse the request that the client has not completed, or end the connection that it does not use."""
        phase, closes = self._phase, self._connections
        self._enter(None)
        if phase is closes.unread or phase is closes.closing:
            if phase is closes.unread:
                closes.refused.add("response_timeout", self._address)
            closes.forget(self)
            self.transport.abort()
        elif phase is not None and phase.refusal is not None:
            self._refuse(phase.refusal)
        else:
            self._close()

    def evict(self, refusal: Refusal) -> None:
        """Close the connection in favour of others, with the refusal if a request has begun."""
        self._connections.forget(self)
        if self._part is None:
            self._connections.refused.add(refusal.code, self._address)
            self._close()
        else:
            self._refuse(refusal)

    # Parsing

    def _parse_pieces(self) -> None:
        """Parse what was read, until a request waits for the response to the one before."""
        data, parsed = self._unparsed, 0
        while parsed < len(data) and not self.pipeline and not self._has_ended:
            size = self._connections.piece_bytes
            self._parse(data[parsed : parsed + size])
            parsed += size
        self._unparsed = b"" if self._has_ended else data[parsed:]
        self.flow.is_behind = bool(self._unparsed)
        if self._unparsed:
            self.flow.pause_reading()
        elif data and not self.pipeline and not self._has_ended:
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        if self._is_refused:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(Refusal(400, f"the request is not valid HTTP/1.1: {error}"))
            return
        if self.pipeline and self._is_queue_full():
            self._refuse(TOO_MANY_BYTES)
        elif self._part is not None:
            self._count(len(data))

    def _feed(self, data: bytes) -> None:
        """Give the data to the parser. Raises httptools.HttpParserError."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":  # it offers nothing and cannot be served
                    raise httptools.HttpParserInvalidMethodError("CONNECT is not supported") from None
                data = self._head() + data[offer.args[0] :]
                self._begin_anew()

    def _head(self) -> bytes:
        """Return the head of the current request without the offer. Without `Upgrade`, `Connection` offers nothing."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _begin_anew(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn's own constructor

    # Limits

    @property
    def _has_ended(self) -> bool:
        return self._is_refused or self.transport.is_closing()

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _is_queue_full(self) -> bool:
        change = len(self.pipeline) - self._queued_requests
        self._queued_requests += change
        return self._connections.queue(change)

    def _begin_count(self) -> None:
        if self._unfinished_bytes:
            self._connections.keep(-self._unfinished_bytes)
            self._unfinished_bytes = 0

    def _count(self, size: int) -> None:
        """Count bytes of a request that is not complete; refuse it when it is too large."""
        self._unfinished_bytes += size
        self._connections.keep(size)
        if self._part is self._connections.head and self._unfinished_bytes > MAX_HEAD_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._unfinished_bytes > self._connections.request_bytes:
            most = self._connections.request_bytes
            self._refuse(Refusal(413, f"the request must have at most {most:,} bytes"))

    def _wait(self) -> None:
        """Enter the phase that follows from what the client has sent and read."""
        if self.transport.is_closing():
            self._enter(self._connections.closing)
        elif self.flow.write_paused:
            self._enter(self._connections.unread)
        elif self._part is not None:
            self._enter(self._part)
        elif self.cycle is None or self.cycle.response_complete:
            self._enter(self._connections.idle)
        else:
            self._enter(None)

    def _enter(self, phase: Phase | None) -> None:
        if phase is not self._phase:
            if self._phase is not None:
                self._phase.remove(self)
            if phase is not None:
                phase.add(self, self.loop.time())
            self._phase = phase

    def _refuse(self, refusal: Refusal) -> None:
        """Send the refusal and close the connection. Requests that were complete get their responses instead."""
        self._connections.refused.add(refusal.code, self._address)
        self._is_refused = True
        is_body, self._part = self._part is self._connections.body, None
        self._begin_count()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if not is_body:  # else the request has its response
                self._send(refusal)
        elif not is_body:
            cycle.keep_alive = False  # the connection closes behind the responses that are under way
            self.flow.is_behind = True
            self.flow.pause_reading()
            return
        else:
            if not cycle.response_started and not self.pipeline:
                self._send(refusal)
            cycle.disconnected = True
            cycle.message_event.set()
        self._close()

    def _send(self, refusal: Refusal) -> None:
        if self._counters is not None:
            self._counters.refuse(refusal.copy())
        response = responses.refused(refusal)
        headers = [*self.server_state.default_headers, *responses.headers(response), (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[response.status], *lines, b"\r\n", response.body]))

    def _close(self) -> None:
        self.transport.close()
        self._connections.forget(self)
        self._enter(self._connections.closing)
