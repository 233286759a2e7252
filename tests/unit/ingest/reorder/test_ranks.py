"""Ranks: when an event happened, as far as its client can be believed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.counters import Counters
from ingest.reorder.id_chains import UNCHAINED
from ingest.reorder.ranks import Ranks
from lanes import digest, records
from lanes.keys import CLIENT_BYTES, TIME_DIGITS, WAIT_DIGITS


class Counts(Counters):
    """Counters that a test can read."""

    @property
    def counts(self) -> dict[str, int]:
        return dict(+self._counts)


NOW_MS = 1_800_000_000_000
SECOND = "2027-01-15T07:59:5{}.{:03d}Z"  # the ten seconds before NOW_MS
NOW = "2027-01-15T08:00:00.000Z"
BROWSER = {"library": {"name": "analytics.js"}}


def at(ms_before: int) -> str:
    """Return the time so long before NOW_MS, less than 10 s."""
    return SECOND.format(*divmod(10_000 - ms_before, 1_000))


def event(ms_before: int | None = None, **members: Any) -> dict[str, Any]:
    """Return a completed event that was written so long before NOW_MS."""
    time = NOW if ms_before is None else at(ms_before)
    return {
        "userId": "sue",
        "messageId": "m1",
        "timestamp": time,
        "originalTimestamp": time,
        "receivedAt": NOW,
    } | members


def ranked(*events: dict[str, Any], counters: Counters | None = None, wait_ms: int = 1_000) -> list[bytes]:
    return of(Ranks(counters or Counters(), late_s=60), *events, wait_ms=wait_ms)


def of(ranks: Ranks, *events: dict[str, Any], after_ms: int = 0, wait_ms: int = 1_000) -> list[bytes]:
    """Return the ranks of a request that was received so long after NOW_MS."""
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    return ranks.of("web", events, times, datetime.fromtimestamp((NOW_MS + after_ms) / 1000, UTC), wait_ms)


def before_ms(rank: bytes) -> int:
    """Return how long before NOW_MS the event of a rank happened, 0 when its acceptance counts."""
    happened_at_ms = int(records.order(rank)[:TIME_DIGITS])
    return 0 if happened_at_ms == records.AT_ACCEPTANCE else NOW_MS - happened_at_ms


def client_of(rank: bytes) -> bytes:
    return rank[-WAIT_DIGITS - CLIENT_BYTES : -WAIT_DIGITS]


def test_a_rank_is_the_wait_the_client_and_the_time() -> None:
    (rank,) = ranked(event(250))

    tie = records.tie(NOW_MS - 250, NOW_MS - 250, 0, UNCHAINED)
    assert rank == records.rank(1_000, digest("web"), NOW_MS - 250, tie)


def test_requests_of_equal_times_go_by_the_chain_of_their_message_ids() -> None:
    ranks = Ranks(Counters(), late_s=60)
    first, second, other = (
        of(ranks, event(250, messageId=message_id))
        for message_id in (
            "node-next-1-c57a96bf-b124-4287-941b-0d8f0a5b6c7d",
            "node-next-1-96bfb124-c287-441b-8d8f-0a5b6c7d8e9f",
            "node-next-1-00112233-4455-4677-8899-aabbccddeeff",
        )
    )

    later = of(ranks, event(250, messageId=12))

    assert first < second
    assert later == first, "a message id may be a number"
    assert other == first, "nothing tells which was first, so the order of acceptance counts"


def test_a_source_that_does_not_wait_has_no_ranks() -> None:
    assert ranked(event(250), event(100), wait_ms=0) == [b"", b""]
    assert ranked() == []


def test_events_of_one_request_keep_their_order() -> None:
    assert [before_ms(rank) for rank in ranked(event(300), event(500), event(100))] == [300, 300, 100]


@pytest.mark.parametrize("time", ["2027-01-15T07:58:59.000Z", "2027-01-15T08:00:00.001Z", "2020-01-01T00:00:00.000Z"])
def test_a_time_that_cannot_be_is_that_of_the_receipt(time: str) -> None:
    (rank,) = ranked(event(timestamp=time, originalTimestamp=time))

    assert before_ms(rank) == 0


def test_a_clock_that_is_off_by_more_than_an_hour_is_counted() -> None:
    counters = Counts()

    (rank,) = ranked(event(250, originalTimestamp="2027-01-15T03:00:00.000Z"), counters=counters)

    assert before_ms(rank) == 0
    assert counters.counts == {"web:clock_off": 1}


def test_the_time_that_the_client_wrote_counts_where_segment_moved_it() -> None:
    (rank,) = ranked(event(250, originalTimestamp=at(900), projectId="p", version=2))

    assert before_ms(rank) == 900


def test_a_device_is_a_client_of_its_own_and_a_server_is_one_client() -> None:
    devices = ranked(event(3, anonymousId="a", context=BROWSER), event(2, anonymousId="b", context=BROWSER))
    servers = ranked(event(3, anonymousId="a"), event(2, anonymousId="b"))

    assert client_of(devices[0]) != client_of(devices[1])
    assert client_of(servers[0]) == client_of(servers[1]) == digest("web")


@pytest.mark.parametrize("channel", [["web"], {"web": 1}, 5, None])
def test_a_channel_of_another_type_is_that_of_no_device(channel: Any) -> None:
    (rank,) = ranked(event(3, anonymousId="a", context={"ip": "x"}, channel=channel))

    assert client_of(rank) == digest("web")


@pytest.mark.parametrize("sent_at", ["9999-12-31T23:59:59.999Z", 253402300799999, "1950-01-01", [1]])
def test_every_rank_has_the_same_length(sent_at: Any) -> None:
    """The ranks of all events of an append are one text, so a longer one would shift those behind it."""
    (rank,) = ranked(event(3, sentAt=sent_at))

    assert len(rank) == len(records.UNRANKED)


def test_equal_times_go_by_the_times_of_the_request_and_by_when_it_was_sent() -> None:
    first = ranked(event(300, sentAt=at(10)), event(200, sentAt=at(10)))[-1]
    longer = ranked(event(300, sentAt=at(10)), event(200, sentAt=at(10)), event(100, sentAt=at(10)))[1]
    sent_later = ranked(event(300, sentAt=at(5)), event(200, sentAt=at(5)))[-1]

    assert before_ms(first) == before_ms(longer) == before_ms(sent_later) == 200
    assert records.order(first) < records.order(sent_later) < records.order(longer)


def test_lateness_is_counted_by_the_time_since_the_later_event() -> None:
    counters = Counts()
    ranks = Ranks(counters, late_s=60)
    of(ranks, event(100))

    of(ranks, event(300), after_ms=40)
    of(ranks, event(200), after_ms=1_500)
    of(ranks, event(200, userId="tom"), after_ms=1_500)

    assert counters.counts == {"web:late_100": 1, "web:late_2000": 1, "web:too_late": 1}


def test_a_visitor_is_late_behind_an_event_of_the_person_that_has_the_visitor_too() -> None:
    counters = Counts()
    ranks = Ranks(counters, late_s=60)
    of(ranks, event(100, anonymousId="v"))

    of(ranks, event(200, userId=None, anonymousId="v"), after_ms=40)

    assert counters.counts == {"web:late_100": 1}


def test_a_browser_is_known_by_its_address_and_user_agent() -> None:
    browser = BROWSER | {"ip": "192.0.2.1", "userAgent": "Mozilla/5.0"}
    before, after = ranked(event(3, anonymousId="a", context=browser), event(2, anonymousId="b", context=browser))
    (other,) = ranked(event(1, anonymousId="a", context=browser | {"ip": "192.0.2.2"}))

    assert client_of(before) == client_of(after) != client_of(other)
