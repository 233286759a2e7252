"""HTTP connections: an offer to upgrade the protocol is ignored, as RFC 9110 section 7.8 allows.

`curl --http2` and the HTTP client of the JDK offer HTTP/2 with every request. llhttp takes such an offer for the end of
HTTP and does not read the body. The endpoint knows no other protocol, WebSocket included.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """uvicorn's connection, for requests that offer an upgrade too.

    The parser stops behind the head of such a request. Another one gets the head without the offer, and what follows.
    """

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent; start the requests that are complete so far."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":  # it offers nothing and cannot be served
                    self._refuse()
                    return
                data = self._head() + data[offer.args[0] :]
                self._begin_anew()
            except httptools.HttpParserError:
                self._refuse()
                return

    def on_headers_complete(self) -> None:
        """Start the request, unless its head comes again."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the body of the request, unless its head comes again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head(self) -> bytes:
        """Return the head of the current request without the offer. Without `Upgrade`, `Connection` offers nothing."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _begin_anew(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn's own constructor

    def _refuse(self) -> None:
        text = "Invalid HTTP request received."
        self.logger.warning(text)
        self.send_400_response(text)
