"""Unauthorized requests: counted one by one, logged summed up, and never with a whole key."""

from __future__ import annotations

import orjson
import pytest

from ingest.access.unauthorized import REPORT_S, Unauthorized
from ingest.errors import Refusal
from tests.unit.ingest.access.test_permissions import NOW, TRACK, calls
from tests.unit.ingest.access.test_rates import Clock
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
    clock = Clock()
    unauthorized = Unauthorized(Counts(), clock)

    unauthorized.report()
    for key in range(1_234):
        unauthorized.add(f"secret-{key}")
    for _ in range(3):
        unauthorized.report()
    unauthorized.add(None)
    clock.now += REPORT_S - 1
    unauthorized.report()
    assert len(caplog.records) == 1
    clock.now += 1
    unauthorized.report()

    start = "requests without the key or the signature of a source: "
    assert [record.getMessage() for record in caplog.records] == [
        f"{start}1,234; the last one had a key that ends in '1233'",
        f"{start}1; the last one had no key",
    ]


def test_a_key_does_not_reach_the_terminal_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    unauthorized = Unauthorized(Counts())

    unauthorized.add("\x1b]0;\n\u202e")
    unauthorized.report()

    assert caplog.records[0].getMessage().isprintable()
