"""Compressed bodies: gzip (RFC 1952), and deflate as zlib (RFC 1950) or raw (RFC 1951).

A stream may be followed by other bytes, which are ignored. A gzip body may have several members.
"""

from __future__ import annotations

import zlib
from typing import Final

from ingest.errors import Refusal

# zlib's numbers for the format and the largest window.
_GZIP, _ZLIB, _RAW = 31, 15, -15
_MAGIC = b"\x1f\x8b"
_MOST_MEMBERS = 1_000  # each takes 16 µs, also an empty one
_PIECE_BYTES = 4096  # fed at once: zlib copies what follows the end of a member, and a body may have many members

ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})


def uncompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the content of a body with this encoding, one of ENCODINGS.

    Raises Refusal: 413 when the content has more than `limit` bytes. The status is 400 when the body does not have this
    encoding, is incomplete, or has too many members.
    """
    content = bytearray()
    try:
        if encoding == "deflate":
            _read_stream(body, 0, _ZLIB if _is_zlib(body) else _RAW, content, limit)
        else:
            position, members = _read_stream(body, 0, _GZIP, content, limit), 1
            while body.startswith(_MAGIC, position):
                if members == _MOST_MEMBERS:
                    raise Refusal(400, f"the body must have at most {_MOST_MEMBERS:,} gzip members")
                position, members = _read_stream(body, position, _GZIP, content, limit), members + 1
    except zlib.error:
        raise Refusal(400, f"the body is not {encoding}, but Content-Encoding is {encoding}") from None
    return bytes(content)


def _read_stream(body: bytes, position: int, window: int, content: bytearray, limit: int) -> int:
    """Add the content of the stream that begins at `position`; return the index behind its end."""
    decompressor = zlib.decompressobj(window)
    while not decompressor.eof:
        piece = body[position : position + _PIECE_BYTES]
        if not piece:
            raise Refusal(400, "the body is incomplete: the compressed stream does not end")
        content += decompressor.decompress(piece, limit + 1 - len(content))
        if len(content) > limit:
            raise Refusal(413, f"the body must have at most {limit:,} bytes after decompression")
        position += len(piece) - len(decompressor.unused_data)
    return position


def _is_zlib(body: bytes) -> bool:
    """Whether the body begins with a header of zlib: RFC 1950, section 2.2."""
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
