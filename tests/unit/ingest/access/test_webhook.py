"""The webhook: what the signature of an array must cover, and how old a signed body may be."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ingest.errors import Refusal
from tests.unit.ingest.access.test_permissions import NOW, TRACK, calls, sign


def status(body: Any, signature: str, **keys: Any) -> int:
    try:
        calls(**keys).read_webhook("web", signature, orjson.dumps(body), NOW)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("arrays", "by_first", "by_whole"), [("first", 200, 200), ("whole", 401, 200), ("refuse", 401, 400)]
)
def test_webhook_arrays_says_what_a_signature_must_cover(arrays: str, by_first: int, by_whole: int) -> None:
    array = [TRACK, TRACK]

    assert status(array, sign(TRACK), webhook_arrays=arrays) == by_first
    assert status(array, sign(array), webhook_arrays=arrays) == by_whole
    assert status(TRACK, sign(TRACK), webhook_arrays=arrays) == 200


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"sentAt": "2026-01-05T11:59:00Z"}, 200),
        ({"sentAt": "2026-01-05T11:49:59Z"}, 401),
        ({"sentAt": "2026-01-05T11:49:59Z", "receivedAt": "2026-01-05T11:59:00Z"}, 200),
        ({"sentAt": "2026-01-05T11:59:00Z", "receivedAt": "2026-01-05T11:00:00Z"}, 401),
        ({"sentAt": "soon"}, 401),
        ({}, 401),
    ],
)
def test_an_old_body_is_refused_where_its_age_is_bounded(times: dict[str, str], expected: int) -> None:
    first = TRACK | times
    fresh = TRACK | {"sentAt": "2026-01-05T12:00:00Z"}

    assert status(first, sign(first), webhook_max_age_s=600) == expected
    assert status([first, fresh], sign(first), webhook_max_age_s=600) == expected
    assert status(first, sign(first)) == 200


def test_an_empty_array_has_no_age() -> None:
    assert status([], sign([])) == 200
    assert status([], sign([]), webhook_max_age_s=600) == 401
