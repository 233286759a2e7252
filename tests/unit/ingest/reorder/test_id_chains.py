"""Chains of message ids."""

from __future__ import annotations

from itertools import permutations

import pytest

from ingest.reorder.id_chains import UNCHAINED, IdChains

TIMES = (1, 2)


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


def ties(sent_at_ms: tuple[int, ...], arrival: tuple[int, ...], shift: int = 2) -> list[tuple[int, int]]:
    """Return the ties of three requests of one chain, in the order in which they were made. `arrival` has theirs."""
    ids, chains = row_of_ids(9, shift), IdChains()
    found = {at: chains.tie("web", TIMES, sent_at_ms[at], ids[3 * at], ids[3 * at + 2]) for at in arrival}
    return [found[at] for at in sorted(found)]


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("arrival", [(0, 1), (1, 0)])
@pytest.mark.parametrize("sent_at_ms", [(3, 3, 3), (3, 4, 5), (9, 4, 5)])
def test_two_requests_are_in_the_order_in_which_they_were_made(
    shift: int, arrival: tuple[int, ...], sent_at_ms: tuple[int, ...]
) -> None:
    """Whenever they were sent: a client sends a request again with a later `sentAt`."""
    first, second = ties(sent_at_ms, arrival, shift)

    assert first < second


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_requests_that_were_sent_one_after_the_other_are_in_this_order_whatever_arrives_first(
    arrival: tuple[int, ...],
) -> None:
    first, second, third = ties((3, 4, 5), arrival)

    assert first < second < third


@pytest.mark.parametrize("arrival", [(1, 2, 0), (2, 1, 0), (1, 0, 2)])
def test_a_request_that_is_sent_again_goes_before_the_one_that_was_made_after_it(arrival: tuple[int, ...]) -> None:
    first, second, third = ties((9, 4, 5), arrival)

    assert first < second < third


def test_requests_in_no_chain_go_by_when_they_were_sent() -> None:
    chains = IdChains()
    ids = row_of_ids(2, 2)

    assert chains.tie("web", TIMES, 3, ids[0], ids[0]) == (3, UNCHAINED)
    assert chains.tie("web", TIMES, 2, *row_of_ids(2, 2, source=77)) == (2, UNCHAINED)
    assert chains.tie("web", TIMES, 3, "m-1", "m-2") == (3, UNCHAINED)
    assert chains.tie("web", (1, 4), 3, ids[1], ids[1]) == (3, UNCHAINED)
    assert chains.tie("other", TIMES, 3, ids[1], ids[1]) == (3, UNCHAINED)
