"""The index of a file of the ledger: which rows have an ordering key, or a message id.

Parquet has no index for values that are spread over a file, and Arrow reads no Bloom filters. An index is a file beside
that of the rows: 8 bytes `segueix2`, the number of keys and the number of rows of a row group, 8 bytes each; then all
keys in ascending order, 8 bytes each; then the numbers of their rows, 4 bytes each. A key is the digest of an ordering
key, or the CRC-32 of a message id in the upper four bytes. The CRC-32 costs a tenth of a longer hash. Numbers are
little-endian. The rows that it names have to be compared: keys may be equal by chance.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import isqrt
from typing import Final
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from ledger.rows import numbers

_MAGIC: Final = b"segueix2"
_HEAD: Final = struct.Struct("<8sQQ")
_CRC_BITS = 32
_KEY_BYTES, _ROW_BYTES = 8, 4
_LEAST_MARGIN: Final = 256  # keys; with four times the square root of their number, a key is seldom farther away


def key_of_message(message_id: str) -> int:
    """Return the key of a message id, which has no source in front."""
    return crc32(message_id.encode("utf-8", "surrogatepass")) << _CRC_BITS


def key_of_digest(digest: str) -> int:
    """Return the key of the digest of an ordering key, which is given in hexadecimal."""
    return int(digest, 16)


def content(table: pa.Table, group_rows: int) -> bytes:
    """Return the index of a table whose row groups have so many rows."""
    digests = table.column("digests").combine_chunks()
    of_digests = array("Q", bytes.fromhex("".join(digests.flatten().to_pylist())))
    if sys.byteorder == "little":
        of_digests.byteswap()
    message_ids = table.column("message_id").cast(pa.binary()).to_pylist()
    checksums = numbers(array("I", map(crc32, message_ids)), pa.uint32())
    of_messages = pc.shift_left(checksums.cast(pa.uint64()), pa.scalar(_CRC_BITS, pa.uint64()))
    keys = pa.concat_arrays([numbers(of_digests, pa.uint64()), of_messages])
    own_rows = numbers(array("I", range(table.num_rows)), pa.uint32())
    rows = pa.concat_arrays([pc.list_parent_indices(digests).cast(pa.uint32()), own_rows])
    order = pc.sort_indices(keys)
    parts = (keys.take(order), rows.take(order))
    return _HEAD.pack(_MAGIC, len(keys), group_rows) + b"".join(part.buffers()[1].to_pybytes() for part in parts)


class Found:
    """The rows that an index names: their numbers by row group, and how many rows a group has."""

    def __init__(self, rows: Iterable[int], group_rows: int) -> None:
        self.rows = sorted(set(rows))
        self.group_rows = group_rows

    def by_group(self) -> dict[int, list[int]]:
        """Return the numbers of the rows within their groups, by the number of the group."""
        groups: dict[int, list[int]] = {}
        for row in self.rows:
            groups.setdefault(row // self.group_rows, []).append(row % self.group_rows)
        return groups


def keys_in(size: int) -> int:
    """Return how many keys an index of this size has."""
    return max(size - _HEAD.size, 0) // (_KEY_BYTES + _ROW_BYTES)


def search(file: pa.NativeFile, keys: Iterable[int], name: str) -> Found:
    """Return the rows that have one of the keys. Raises ValueError for a damaged index; `name` is for its message.

    The keys are hashes, so a key is about where it would be if all were evenly spaced. The part around that place is
    read, and twice as much each time the key is not between its ends.
    """
    magic, count, group_rows = _HEAD.unpack(file.read_at(_HEAD.size, 0).ljust(_HEAD.size))
    if magic != _MAGIC or file.size() != _HEAD.size + (_KEY_BYTES + _ROW_BYTES) * count:
        raise ValueError(f"{name} is no index of the ledger")
    rows: list[int] = []
    for key in keys:
        first, last = _places(file, count, key)
        if first < last:
            at = _HEAD.size + _KEY_BYTES * count + _ROW_BYTES * first
            rows += memoryview(file.read_at(_ROW_BYTES * (last - first), at)).cast("I")
    return Found(rows, group_rows)


def _places(file: pa.NativeFile, count: int, key: int) -> tuple[int, int]:
    """Return the places of a key among the keys: the first one, and the one after the last one."""
    expected, margin = key * count >> 64, _LEAST_MARGIN + 4 * isqrt(count)
    while True:
        low, high = max(expected - margin, 0), min(expected + margin, count)
        part = memoryview(file.read_at(_KEY_BYTES * (high - low), _HEAD.size + _KEY_BYTES * low)).cast("Q")
        first, last = bisect_left(part, key), bisect_right(part, key)
        if (first > 0 or low == 0) and (last < len(part) or high == count):
            return low + first, low + last
        margin *= 2
