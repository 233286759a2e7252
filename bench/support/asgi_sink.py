"""A receiver that answers every request with 200, and hands the bodies of requests to a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import uvicorn

from console.local import programs


def serve(port: int, take: Callable[[bytes], None], figures: Callable[[], Any]) -> None:
    """Listen on loopback until the process is stopped: `take` gets each body, and a GET returns `figures()` as JSON."""

    async def sink(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        answer = b"{}"
        if scope["method"] == "GET":
            answer = orjson.dumps(figures())
        else:
            take(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(sink, host=programs.LOOPBACK, port=port, access_log=False, log_level="warning", lifespan="off")
