"""An index is searched by the place that a key must be near, in one short read, whatever the keys are."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

import lanes
from ledger import index
from tests.ledgers import NOON_MS, row, table_of

ROWS = 20_000


class Counted:
    """A file that counts what is read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reads: list[int] = []

    def size(self) -> int:
        return len(self.content)

    def read_at(self, count: int, offset: int) -> bytes:
        self.reads.append(count)
        return self.content[offset : offset + count]


def table(people: list[str]) -> pa.Table:
    """Rows of these people, each with a key of its own as well."""
    return table_of(
        row(number, NOON_MS, f"id:{person}", f"anonymous_id:{number}") for number, person in enumerate(people)
    )


def expected(people: list[str], person: str) -> list[int]:
    return [number for number, each in enumerate(people) if each == person]


def find(content: bytes, *keys: int) -> tuple[list[int], list[int]]:
    file = Counted(content)
    return index.search(file, keys, "x.idx").rows, file.reads


@pytest.mark.parametrize("share", [0, 0.02, 0.9], ids=["even", "hot", "one person"])
def test_every_row_of_a_key_is_found(share: float) -> None:
    chance = random.Random(1)
    people = ["hot" if chance.random() < share else str(chance.randrange(500)) for _ in range(ROWS)]
    content = index.content(table(people), 2000)

    for person in ("hot", "1", "499", "none"):
        key = index.key_of_digest(lanes.digest(f"id:{person}").hex())
        assert find(content, key)[0] == expected(people, person)
    for number in (0, ROWS // 2, ROWS - 1):
        assert find(content, index.key_of_message(f"m{number}"))[0] == [number]
        assert find(content, index.key_of_digest(lanes.digest(f"anonymous_id:{number}").hex()))[0] == [number]


def test_a_search_reads_a_small_part_once() -> None:
    content = index.content(table([str(number % 500) for number in range(ROWS)]), 2000)

    for number in range(0, ROWS, 500):
        _, (_head, keys, _rows) = find(content, index.key_of_message(f"m{number}"))
        assert keys < len(content) / 20
    assert len(find(content, index.key_of_message("none"))[1]) == 2, "the head and the keys"


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_a_key_at_either_end_is_searched(key: int) -> None:
    content = index.content(table(["jo"] * 3), 2000)

    assert find(content, key)[0] == []


@pytest.mark.parametrize("damage", [b"", b"segueix2", b"segueix1" + bytes(16), b"segueix2" + bytes(17)], ids=range(4))
def test_a_damaged_index_is_named(damage: bytes) -> None:
    with pytest.raises(ValueError, match=r"x\.idx is no index of the ledger"):
        find(damage, 1)
