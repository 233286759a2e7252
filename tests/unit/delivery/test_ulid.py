"""Derived ids are real ULIDs, and as stable as what they are derived from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.ulid import derived_ulid, is_ulid


@given(st.integers(-(2**50), 2**60), st.text())
def test_every_derived_id_is_a_ulid_and_always_the_same(time_ms: int, message_id: str) -> None:
    ulid = derived_ulid(time_ms, message_id)

    assert is_ulid(ulid)
    assert derived_ulid(time_ms, message_id) == ulid


def test_the_first_ten_characters_are_the_time() -> None:
    """The example of the ULID specification: 01ARYZ6S41 is 1469918176385 ms."""
    assert derived_ulid(1469918176385, "m").startswith("01ARYZ6S41")


def test_different_parts_make_different_ids() -> None:
    assert len({derived_ulid(1, "a"), derived_ulid(1, "b"), derived_ulid(1, "a", "b"), derived_ulid(2, "a")}) == 4


@pytest.mark.parametrize("text", ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav"])
def test_a_ulid_may_be_upper_or_lower_case(text: str) -> None:
    assert is_ulid(text)


@pytest.mark.parametrize("text", ["", "msg-1", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "0" * 27])
def test_a_text_that_is_no_ulid_is_recognised(text: str) -> None:
    assert not is_ulid(text)
