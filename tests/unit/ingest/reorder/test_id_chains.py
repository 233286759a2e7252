"""Chains of message ids."""

from __future__ import annotations

import pytest

from ingest.reorder.id_chains import UNCHAINED, IdChains

TIMES = (1, 2, 3)


def row_of_ids(count: int, shift: int, source: int = 1) -> list[str]:
    """Return ids as lukeed/uuid makes them: from one row of bytes, each `shift` bytes behind the one before."""
    row = [(source * 131 + 89 * at + at * at) % 256 for at in range(shift * count + 16)]
    ids = []
    for at in range(count):
        own = row[at * shift : at * shift + 16]
        own[6], own[8] = own[6] & 15 | 64, own[8] & 63 | 128
        text = bytes(own).hex()
        ids.append(f"node-next-1-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
    return ids


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("arrival", [(0, 1), (1, 0)])
def test_two_requests_are_in_the_order_in_which_they_were_made(shift: int, arrival: tuple[int, ...]) -> None:
    ids, chains = row_of_ids(6, shift), IdChains()
    requests = [(ids[0], ids[2]), (ids[3], ids[5])]

    positions = {number: chains.position("web", TIMES, *requests[number]) for number in arrival}

    assert positions[0] < positions[1]


def test_requests_in_no_chain_keep_the_order_of_acceptance() -> None:
    chains = IdChains()
    ids = row_of_ids(2, 2)

    assert chains.position("web", TIMES, ids[0], ids[0]) == UNCHAINED
    assert chains.position("web", TIMES, *row_of_ids(2, 2, source=77)) == UNCHAINED
    assert chains.position("web", TIMES, "m-1", "m-2") == UNCHAINED
    assert chains.position("web", (1, 2, 4), ids[1], ids[1]) == UNCHAINED
    assert chains.position("other", TIMES, ids[1], ids[1]) == UNCHAINED
