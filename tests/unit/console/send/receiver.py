"""An HTTP server in place of ingest: it records the events, and answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

Events = list[dict[str, Any]]


class Reply(NamedTuple):
    """A response: status, body and headers."""

    status: int = 200
    document: dict[str, Any] = {"success": True}  # noqa: RUF012
    headers: dict[str, str] = {}  # noqa: RUF012


TAKEN = Reply()


class Receiver:
    """Answers each request with `answer(events)`. `taken` has the events that were answered with 200."""

    def __init__(self) -> None:
        self.answer: Callable[[Events], Reply] = lambda _: TAKEN
        self.requests: list[tuple[str, str, int]] = []  # path, Authorization, bytes
        self.taken: Events = []

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                events = json.loads(body)["batch"]
                receiver.requests.append((self.path, self.headers.get("Authorization", ""), len(body)))
                status, document, headers = receiver.answer(events)
                refused = {each["index"] for each in document.get("rejected", ())}
                if status == 200:
                    receiver.taken += [event for index, event in enumerate(events) if index not in refused]
                text = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                """Write no log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
