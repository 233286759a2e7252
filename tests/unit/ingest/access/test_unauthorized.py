"""Unauthorized requests: counted one by one, logged summed up, and never with a whole key."""

from __future__ import annotations

import orjson
import pytest

from ingest.access.unauthorized import Unauthorized
from ingest.errors import Refusal
from logs import events as log
from tests.logged import logged
from tests.unit.ingest.access.test_permissions import NOW, TRACK, calls
from tests.unit.ingest.test_calls import Counts


def test_each_kind_of_request_is_counted() -> None:
    counters = Counts()
    reader = calls(counters)

    for body in (TRACK, TRACK | {"writeKey": "unknown"}, TRACK | {"writeKey": ["w"]}):
        with pytest.raises(Refusal):
            reader.read_call("track", "", orjson.dumps(body), NOW)
    for name in ("web", "none"):
        with pytest.raises(Refusal):
            reader.read_webhook(name, "wrong", orjson.dumps(TRACK), NOW)
    assert reader.source_of("unknown") is None

    assert counters.counts == {":unauthorized": 6}


def test_the_log_has_one_line_for_many_requests(caplog: pytest.LogCaptureFixture) -> None:
    unauthorized = Unauthorized(Counts())

    for key in range(1_234):
        unauthorized.add(f"secret-key-{key:04}")
    unauthorized.add(None)
    log.repeats.flush(all_at_once=True)

    first, without, others = logged(caplog)
    assert first == {"event": "requests_unauthorized", "kind": "wrong key", "key_ends_in": "0000", "count": 1}
    assert without == {"event": "requests_unauthorized", "kind": "no key", "count": 1}
    assert others == first | {"key_ends_in": "1233", "count": 1_233}


def test_a_short_key_is_in_no_line(caplog: pytest.LogCaptureFixture) -> None:
    Unauthorized(Counts()).add("jo@a.example")

    assert logged(caplog) == [{"event": "requests_unauthorized", "kind": "wrong key", "count": 1}]
