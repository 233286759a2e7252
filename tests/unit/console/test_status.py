"""The screen of `segue status`: every figure with its whole name at any width, and the important facts first."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from console import status

REASON = "Customer.io refuses the credentials [HTTP 401] of :key:"
FILTER = "filter: drop if event = '[b]x[/b]' and properties.test = true"
ALARM = "5 dead letters are more than dead_letters = 4"
DESTINATION = {
    "name": "journeys",
    "waiting": 1_001_234_567,
    "ready": 1_000_000_012,
    "delayed": 200,
    "claimed": 12_345,
    "blocked": 1_222_010,
    "dead": 13,
    "blocking": 7,
    "delivered_total": 123_456_789,
    "buried_total": 31,
    "filtered_total": 42,
    "unmatched_total": 43,
    "dropped_total": 44,
    "forgotten_total": 45,
    "shadowed_total": 1204,
    "sends": None,
    "fates": [
        {"fate": "sent", "source": "website", "reason": "", "events": 123_456_789},
        {"fate": "filtered", "source": "website", "reason": FILTER, "events": 42},
    ],
    "queue_limit": 2_000_000_000,
    "unapplied": {"address_conflict": 3},
    "not_applicable": {"Create or Update Device": 1_234_567},
    "oldest_age_s": 90.0,
    "state": "paused",
    "paused": True,
    "breaker": "closed",
    "reason": REASON,
    "since_ms": 1_767_610_800_000,
    "probe_in_s": 4.4,
    "requests_per_s": 50.5,
    "limit_per_s": 100,
    "throttled_total": 1_200,
    "throttled_ms": 1_767_614_400_000,
    "operator": {"pause": None, "rate": None},
    "ledger": None,
    "alarm": ALARM,
    "hot": [
        {"digest": "0a1b2c3d4e5f6071", "length": 1_100, "key": None},
        {"digest": "0a1b2c3d4e5f6072", "length": 1_200, "key": "anonymous_id:kiosk-7"},
    ],
    "unbounded_total": 0,
    "now": {
        "seconds": 10.0,
        "per_s": {"accepted": 812.25, "sent": 1_800.0},
        "latency_s": {"p50": 0.8, "p95": 1.25, "p99": None},
    },
}
SOURCE = {
    "name": "website",
    "trust": "public",
    "accepted_total": 12_345_678,
    "duplicates_total": 31,
    "suppressed_total": 0,
    "rejected_total": 1_234,
    "dropped_total": 3,
    "unlikely_ids_total": 41_000,
    "unreadable_times_total": 57,
    "future_times_total": 8,
    "reordered_total": 4_711,
    "too_late_total": 12,
    "clock_off_total": 2,
    "forbidden_total": 5_001,
    "throttled_total": 6_002,
    "late": {"25": 4_000, "100": 0, "more": 5},
}
FIGURES = {
    "waiting": "1,001,234,567",
    "oldest event": "90 s",
    "dead letters": "13",
    "blocking": "7",
    "delivered": "123,456,789",
    "ready": "1,000,000,012",
    "delayed": "200",
    "claimed": "12,345",
    "blocked": "1,222,010",
    "buried": "31",
    "filtered": "42",
    "unmatched": "43",
    "forgotten": "45",
    "accepted": "12,345,678",
    "duplicates": "31",
    "suppressed": "0",
    "rejected": "1,234",
    "dropped": "3",
    "unlikely ids": "41,000",
    "unreadable times": "57",
    "reordered": "4,711",
    "too late": "12",
    "clock off": "2",
    "forbidden": "5,001",
    "throttled": "6,002",
    "future times": "8",
}


REFUSALS = [
    {"source": "website", "status": 400, "cause": "userId", "number": 1_001},
    {"source": "", "status": 401, "cause": "writeKey", "number": 12},
]
PROCESSES = [
    {"name": "ingest-1@host", "configuration": "c0ffee", "fault": None},
    {"name": "segue-2@host", "configuration": "c0ffee", "fault": None},
]
GATHERED = {
    "stranded": [],
    "unauthorized_total": 1_234,
    "workers": 2,
    "unavailable": [],
    "refusals": REFUSALS,
    "memory": {"used": 41_000_000, "limit": 64_000_000, "refused_from": 38_400_000},
    "configuration": "c0ffee",
    "processes": PROCESSES,
}


def screen(width: int, destinations: list[dict[str, Any]], sources: list[dict[str, Any]], **members: Any) -> list[str]:
    """Return the lines that a terminal of this width shows, printed as the command prints."""
    shown = Console(width=width, highlight=False, markup=False, emoji=False)
    with shown.capture() as capture:
        shown.print(status.render(GATHERED | {"destinations": destinations, "sources": sources} | members))
    return capture.get().splitlines()


def test_what_cannot_be_read_is_named_and_no_figure_is_made_up_for_it() -> None:
    away = [{"part": part, "reason": "Redis is unavailable: refused"} for part in ("destination b", "the workers")]
    unknown = {"workers": None, "memory": None, "unauthorized_total": None, "unavailable": away}

    lines = screen(120, [DESTINATION], [SOURCE], **unknown)

    assert lines[0].strip() == "warning: cannot be read: destination b, the workers. Redis is unavailable: refused"
    assert not [line for line in lines if line.startswith(("workers", "unauthorized requests", "Redis uses"))]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_every_figure_has_its_whole_name_and_value_at_any_width(width: int) -> None:
    lines = screen(width, [DESTINATION], [SOURCE])

    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    words = [" ".join(line.split()) for line in lines]
    for name, value in FIGURES.items():
        assert any(f" {name} {value} " in f" {line} " for line in words), name


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_texts_are_wrapped_and_whole(width: int) -> None:
    """A reason may hold what Rich takes for markup or an emoji."""
    text = " ".join(" ".join(screen(width, [DESTINATION], [SOURCE])).split())

    assert f"destination journeys: paused: {REASON} alarm: {ALARM}" in text
    assert f"filtered, source website: 42 events, {FILTER}" in text
    assert "refused, source website: 1,001 with 400 userId" in text
    assert "refused, no known source: 12 with 401 writeKey" in text
    expected = "accepted, but will not be applied: 3 operations, the e-mail address belongs to another person"
    assert expected in text
    assert "1,100 events share one ordering key (digest 0a1b2c3d4e5f6071)" in text
    assert "1,200 events share the ordering key anonymous_id:kiosk-7 (digest 0a1b2c3d4e5f6072)" in text
    assert "paused since 2026-01-05 11:00:00Z, next probe in 4 s" in text
    assert "rate: 50.5 of 100 requests/s 1,200 responses 429, the last one at 2026-01-05 12:00:00Z" in text


def test_state_and_alarms_are_above_the_figures_and_what_waits_is_first() -> None:
    lines = [line.strip() for line in screen(80, [DESTINATION], [])]

    assert lines[0].startswith("destination journeys: paused")
    first = next(number for number, line in enumerate(lines) if line.startswith("waiting"))
    assert [line.split("  ")[0] for line in lines[first : first + 5]] == [
        "waiting",
        "oldest event",
        "dead letters",
        "blocking",
        "delivered",
    ]
    assert any(line.startswith("alarm: ") for line in lines[:first])


def test_figures_of_several_destinations_align() -> None:
    small = DESTINATION | {"name": "small", "waiting": 0, "ready": 0, "delivered_total": 5}

    lines = screen(80, [DESTINATION | {"waiting": 1, "ready": 1}, small], [SOURCE])

    ends = {line.index("delayed") for line in lines if "delayed" in line}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"state": "delivering", "reason": None}, "destination journeys: delivering"),
        ({"state": "breaker open", "reason": "HTTP 503"}, "destination journeys: breaker open: HTTP 503"),
        ({"state": "paused", "reason": "HTTP 401"}, "destination journeys: paused: HTTP 401"),
        ({"state": "waiting", "reason": "HTTP 429, 9 s"}, "destination journeys: waiting: HTTP 429, 9 s"),
        ({"state": "no workers", "reason": None}, "destination journeys: no workers"),
    ],
)
def test_the_state_names_its_reason(state: dict[str, Any], text: str) -> None:
    assert screen(120, [DESTINATION | state], [])[0].rstrip() == text


def test_what_an_operator_has_set_is_shown_with_its_reason_and_its_end() -> None:
    pause = {"until_ms": 1_767_614_400_000, "since_ms": 1_767_610_800_000, "by": "jo@host", "why": "maintenance"}
    rate = {"requests_per_s": 10.0, "until_ms": None, "since_ms": 1_767_610_800_000, "by": "jo@host"}

    lines = screen(120, [DESTINATION | {"operator": {"pause": pause, "rate": rate}}], [])

    assert [line.strip() for line in lines[:3]] == [
        "destination journeys: paused by an operator",
        "paused by jo@host at 2026-01-05 11:00:00Z until 2026-01-05 12:00:00Z: maintenance",
        "at most 10 requests/s, set by jo@host at 2026-01-05 11:00:00Z",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_a_duration_has_the_largest_unit_of_which_there_are_two(seconds: float, text: str) -> None:
    assert status.duration(seconds) == text


def test_the_trust_of_a_source_and_the_unauthorized_requests_are_shown() -> None:
    lines = screen(80, [], [SOURCE, SOURCE | {"name": "old", "trust": None}])

    assert [line.rstrip() for line in lines if line.startswith("source ")] == [
        "source website: public",
        "source old: no trust set",
    ]
    assert "unauthorized requests: 1,234" in [line.rstrip() for line in lines]


def test_nothing_waits_so_nothing_is_oldest() -> None:
    lines = screen(80, [DESTINATION | {"waiting": 0}], [])

    assert any(line.split()[:3] == ["oldest", "event", "–"] for line in lines)


def test_subscriptions_that_do_not_apply_are_counted_by_name() -> None:
    text = " ".join(" ".join(screen(120, [DESTINATION], [])).split())

    assert 'not applicable: 1,234,567 events for "Create or Update Device"' in text


def test_configurations_that_differ_are_shown_with_their_processes() -> None:
    other = {"name": "segue-3@host", "configuration": "decaf", "fault": "sources.web: there is no key x"}
    assert not any("configuration" in line for line in screen(80, [], []))

    lines = screen(80, [], [], processes=[*PROCESSES, other])

    assert [line.rstrip() for line in lines[-4:]] == [
        "the configurations differ; `segue reload` has all processes load the file:",
        "  c0ffee: this command, ingest-1@host, segue-2@host",
        "  decaf: segue-3@host",
        "segue-3@host refused the file: sources.web: there is no key x",
    ]


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        ((1_500_000, None, None), "Redis uses 1.5 MB; it has no maxmemory"),
        ((1_500_000, 64_000_000, 38_400_000), "Redis uses 1.5 MB of 64.0 MB; events are refused from 38.4 MB on"),
    ],
)
def test_the_memory_of_redis_is_shown(memory: tuple[int, int | None, int | None], line: str) -> None:
    names = ("used", "limit", "refused_from")
    assert line in screen(120, [DESTINATION], [SOURCE], memory=dict(zip(names, memory, strict=True)))


def test_the_rates_of_the_last_seconds_are_shown() -> None:
    text = " ".join(" ".join(screen(120, [DESTINATION], [])).split())

    assert "in the last 10 s: accepted 812.2/s, sent 1,800.0/s; latency p50 0.80 s, p95 1.25 s" in text


def test_a_full_queue_is_shown() -> None:
    lines = screen(120, [DESTINATION | {"waiting": 93, "blocking": 7, "queue_limit": 100}], [])

    assert "the queue is full: 100 events are unfinished; ingest answers 429" in [line.strip() for line in lines]


def test_a_destination_that_does_not_send_every_event_says_so() -> None:
    (line,) = (
        line for line in screen(120, [DESTINATION | {"sends": "shadow mode: nothing is sent"}], []) if "shadow" in line
    )

    assert line.strip() == "shadow mode: nothing is sent; 1,204 shadow events until now"
    assert not any("shadow" in line for line in screen(120, [DESTINATION], []))
