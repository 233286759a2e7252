"""Requests by number: the seed and the number of a request determine it, but for the times that are near now."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from tests.differential.generator import EVENT_NAMES, Generator
from tests.fuzz.values import as_json, mutated, odd
from tests.secrets import WEBHOOK_SECRET

SOURCES = ("demo", "strict", "web")  # their write keys too
_TYPES = ("identify", "track", "page", "screen", "group", "alias", "delete")
_PATHS = (
    *(f"/v1/{kind}" for kind in _TYPES), *(f"/v1/{kind[0]}" for kind in _TYPES), "/api/s/track", "/api/s/s2s/identify",
)  # fmt: skip
_BATCHES = (
    "/v1/batch", "/v1/batch", "/v1/b", "/v1/import", "/api/s/s2s/batch", "//v1//batch/", "/segment/v1/batch",
    "/beacon/v1/batch",
)  # fmt: skip
_OTHERS = (
    "/", "", "/health", "/ready", "/v1/m", "/v1/projects/demo/settings", "/v1/projects/no/settings", "/v1/webhook/no",
    "/analytics.js/v1/demo/analytics.min.js", "/analytics-next/bundles/a.js", "/analytics-next/bundles/../a", "/v1/no",
    "/v1/projects//settings", "/v1", "/v1/batch/x", "/segment", "/segment/health", "/v1/pixel/", "/\x00/ü/🎉",
    "/v1/Track",
)  # fmt: skip
_LIBRARIES = ("analytics.js", "analytics-node", "analytics-python", "analytics-ios", "analytics-react-native")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "é")
_ENCODINGS = ("gzip", "deflate", "GZIP", " gzip ", "x-gzip", "identity", "br", "gzip, gzip", "ü", "")
_ODD_BYTES = (
    b"", b"\0", b"\xff\xfe", b"[", b'"', b"\\", b"Basic", b"Basic ====", b"Basic \xe9", b"Bearer ", b"%00%ff",
)  # fmt: skip

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Request:
    """A request as an ASGI server hands it over; the body in the pieces in which it arrives."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[Header, ...] = ()
    body: tuple[bytes, ...] = (b"",)
    is_complete: bool = True
    address: str = "203.0.113.7"


class Requests:
    """Makes requests."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._events = Generator(seed)

    def request(self, number: int) -> Request:
        """Return the request with this number."""
        dice = Random(f"{self._seed}:{number}")
        self._events.random = dice
        shape = dice.random()
        if shape < 0.45:
            return self._call(dice, dice.choice(_BATCHES), self._batch(dice))
        if shape < 0.75:
            return self._call(dice, dice.choice(_PATHS), self._event(dice))
        if shape < 0.85:
            return self._webhook(dice)
        if shape < 0.92:
            return self._pixel(dice)
        return self._other(dice)

    def _event(self, dice: Random) -> Any:
        """Return an event; half of them are changed in one to three places."""
        event = self._events.event() if dice.random() < 0.4 else _usual(dice)
        if "messageId" in event:
            event["messageId"] = f"m-{dice.getrandbits(64):x}"
        for _ in range(dice.choice((0, 0, 0, 1, 2, 3))):
            event = mutated(dice, event)
        return event

    def _batch(self, dice: Random) -> Any:
        count = dice.choice((0, 1, 1, 2, 3, 5, 8, 20))
        events = [self._event(dice) for _ in range(count)]
        if dice.random() < 0.002:
            events = [{"type": "track", "event": "x", "userId": "many"}] * dice.choice((2500, 2501))
        batch: Any = {"batch": events}
        if dice.random() < 0.5:
            batch |= {"sentAt": _near_now(dice), "context": _context(dice)}
        if dice.random() < 0.1:
            batch[dice.choice(("context", "integrations", "sentAt", "writeKey"))] = odd(dice)
        return mutated(dice, batch) if dice.random() < 0.1 else batch

    def _call(self, dice: Random, path: str, content: Any) -> Request:
        headers: list[Header] = []
        key = dice.choice(SOURCES)
        shape = dice.random()
        if shape < 0.6:
            headers.append((b"authorization", b"Basic " + base64.b64encode(f"{key}:".encode())))
        elif shape < 0.7:
            headers.append((b"authorization", f"Bearer {key}".encode()))
        elif shape < 0.75:
            headers.append((b"x-write-key", key.encode()))
        elif shape < 0.78:
            return replace(_sent(dice, path, _body(dice, content), headers), query=b"writeKey=" + key.encode())
        elif shape < 0.93 and isinstance(content, dict):
            content = content | {"writeKey": key}
        else:
            headers.append((b"authorization", _odd_bytes(dice)))
        return _sent(dice, path, _body(dice, content), headers)

    def _webhook(self, dice: Random) -> Request:
        content = self._event(dice)
        if dice.random() < 0.5:
            content = [content, *(self._event(dice) for _ in range(dice.randint(0, 4)))]
        body = _body(dice, content)
        signature = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha1).hexdigest().encode()
        if dice.random() < 0.1:
            signature = _odd_bytes(dice)
        return _sent(dice, f"/v1/webhook/{dice.choice(SOURCES)}", body, [(b"x-signature", signature)])

    def _pixel(self, dice: Random) -> Request:
        event = self._event(dice)
        if isinstance(event, dict) and dice.random() < 0.9:
            event = event | {"writeKey": dice.choice(SOURCES)}
        encode = dice.choice((base64.b64encode, base64.urlsafe_b64encode))
        data = encode(_body(dice, event)).rstrip(dice.choice((b"", b"=")))
        if dice.random() < 0.05:
            data = _odd_bytes(dice)
        query = b"data=" + (quote_from_bytes(data).encode() if dice.random() < 0.5 else data)
        method, kind = "GET" if dice.random() < 0.9 else dice.choice(_METHODS), dice.choice((*_TYPES, "t", "x"))
        if dice.random() < 0.3:
            members = {"writeKey": dice.choice(SOURCES), "event": "x", "userId": "1", "properties.a.b": "1"}
            return Request(method, f"/pixel/v1/{kind}", urlencode(members).encode() + b"&context." + _odd_bytes(dice))
        return Request(method, f"/v1/pixel/{kind}", query)

    def _other(self, dice: Random) -> Request:
        path = dice.choice((*_OTHERS, *_PATHS, *_BATCHES))
        host = dice.choice((b"localhost", b"example.com:80", b"[::1", b"\xff", b"", b"[::1]:x", b"a" * 3000, b"//@:"))
        headers = ((b"host", host), (b"x-forwarded-proto", _odd_bytes(dice)))
        asked = ((b"access-control-request-headers", _odd_bytes(dice)),) if dice.random() < 0.5 else ()
        return Request(dice.choice(_METHODS), path, _odd_bytes(dice), headers + asked, (_odd_bytes(dice),))


def _usual(dice: Random) -> dict[str, Any]:
    """Return an event as a library sends it, of one of a few people."""
    kind = dice.choice(_TYPES)
    event: dict[str, Any] = {
        "type": kind,
        "messageId": "set later",
        "userId": f"u{dice.randrange(200)}",
        "anonymousId": f"a{dice.randrange(200)}",
        "timestamp": _near_now(dice),
        "context": _context(dice),
    }
    if dice.random() < 0.3:
        event["sentAt"] = _near_now(dice)
    match kind:
        case "track":
            return event | {"event": dice.choice(EVENT_NAMES), "properties": {"price": 5, "a": odd(dice)}}
        case "page" | "screen":
            return event | {"name": "Home", "properties": {"url": "https://example.com/"}}
        case "group":
            return event | {"groupId": f"g{dice.randrange(9)}", "traits": {"name": "Acme"}}
        case "alias":
            return event | {"previousId": f"u{dice.randrange(200)}"}
    return event | {"traits": {"email": f"e{dice.randrange(200)}@example.com", "plan": odd(dice)}}


def _context(dice: Random) -> dict[str, Any]:
    return {"library": {"name": dice.choice(_LIBRARIES), "version": "1"}, "device": {"token": "t", "type": "ios"}}


def _near_now(dice: Random) -> Any:
    time = datetime.now(UTC) - timedelta(milliseconds=dice.choice((0, 5, 300, 3_000, 70_000, -50, -5_000, 4_000_000)))
    return dice.choice((time.isoformat(), time.isoformat()[:23] + "Z", time.timestamp(), int(time.timestamp() * 1000)))


def _body(dice: Random, content: Any) -> bytes:
    """Return the JSON of a body, with some bytes wrong in one of ten bodies."""
    body = as_json(dice, content)
    if dice.random() < 0.9 or not body:
        return body
    at = dice.randrange(len(body))
    end = min(at + dice.choice((1, 1, 5, 50)), len(body))
    return dice.choice((
        body[:at], body[at:], body[:at] + body[end:], body[:at] + body[at:end] * 2 + body[end:],
        body[:at] + _odd_bytes(dice) + body[end:], b"\xef\xbb\xbf" + body, body + b"\0\0 ", body + body,
        body.decode().encode("utf-16"), body.decode().encode("latin-1", "replace"), body.replace(b'"', b"'"),
    ))  # fmt: skip


def _odd_bytes(dice: Random) -> bytes:
    return dice.choice((*_ODD_BYTES, dice.randbytes(dice.randrange(40))))


def _sent(dice: Random, path: str, body: bytes, headers: list[Header]) -> Request:
    """Return the request with its body encoded and in pieces."""
    if dice.random() < 0.2:
        encoded = dice.choice((_gzip, _two_members, zlib.compress, _deflated))(body)
        stated = b"deflate" if encoded[:2] != b"\x1f\x8b" else b"gzip"
        shape = dice.random()
        if shape < 0.1:
            encoded = encoded[: dice.randrange(len(encoded))]
        elif shape < 0.2:
            encoded += _odd_bytes(dice)
        elif shape < 0.3:
            stated = dice.choice(_ENCODINGS).encode("latin-1")
        headers, body = [*headers, (b"content-encoding", stated)], encoded
    at = dice.randrange(len(body) + 1)
    pieces = (body[:at], body[at:]) if dice.random() < 0.2 else (body,)
    method = "POST" if dice.random() < 0.98 else dice.choice(_METHODS)
    address = dice.choice(("203.0.113.7", "2001:db8::1", ""))
    return Request(method, path, b"", tuple(headers), pieces, dice.random() < 0.99, address)


def _gzip(plain: bytes) -> bytes:
    return gzip.compress(plain, 1, mtime=0)


def _two_members(plain: bytes) -> bytes:
    return _gzip(plain[:9]) + _gzip(plain[9:])


def _deflated(plain: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    return compressor.compress(plain) + compressor.flush()
