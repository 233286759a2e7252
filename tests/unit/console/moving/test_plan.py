"""`segue cutover plan`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import mapping
from console.errors import CommandError
from console.moving import plan
from console.state import shadow
from tests.secrets import CREDENTIALS

MOMENT = datetime(2026, 12, 1, 10, tzinfo=UTC)
MOMENT_MS = int(MOMENT.timestamp() * 1000)
AGREED = {"configuration": "a", "processes": [{"name": "worker", "configuration": "a", "fault": None}]}
HOUR_MS = 3_600_000


def gathered(now_ms: int = MOMENT_MS - HOUR_MS, processes: dict[str, Any] = AGREED, **keys: Any) -> dict[str, Any]:
    document = {"destinations": {"journeys": {**CREDENTIALS, **keys}}}
    return plan.gather(mapping.destinations(document)["journeys"], processes, now_ms)


def test_the_plan_has_the_filter_and_the_steps() -> None:
    found = gathered(cutover_at=MOMENT)

    assert found["warnings"] == []
    text = "\n".join(plan.lines(found))
    assert "journeys sends the events whose receivedAt is 2026-12-01 10:00:00Z or later" in text
    assert found["drop_if"] in text
    assert "segue reload" in text


def test_the_way_back_is_told() -> None:
    found = gathered(cutover_at=MOMENT, cutover_until=MOMENT + timedelta(hours=2))

    assert "from 2026-12-01 12:00:00Z on, events are shadow events again" in list(plan.lines(found))


def test_the_way_back_keeps_the_old_destination_and_warns_of_its_own_moment() -> None:
    keys = {"cutover_at": MOMENT, "cutover_until": MOMENT + timedelta(hours=2)}
    found = gathered(now_ms=MOMENT_MS + HOUR_MS, **keys)

    text = "\n".join(plan.lines(found))
    assert found["warnings"] == []
    assert "Keep the old destination: it gets the events from then on" in text
    assert "Disable the old destination" not in text
    assert "At 2026-12-01 12:00:00Z: do nothing" in text
    assert "less than ten minutes away" in gathered(now_ms=MOMENT_MS + 2 * HOUR_MS - 1, **keys)["warnings"][0]
    assert "the moment is past" in gathered(now_ms=MOMENT_MS + 2 * HOUR_MS + 1, **keys)["warnings"][0]


@pytest.mark.parametrize("keys", [{}, {"mode": "shadow"}], ids=["live", "shadow"])
def test_without_a_moment_there_is_no_plan(keys: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match=r"destinations\.journeys\.cutover_at: is missing; set the moment, such as"):
        gathered(**keys)


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"now_ms": MOMENT_MS + 1}, "the moment is past"),
        ({"now_ms": MOMENT_MS - 60_000}, "less than ten minutes away"),
        ({"processes": {"configuration": "a", "processes": []}}, "no worker and no ingest runs"),
        ({"processes": AGREED | {"configuration": "b"}}, "these may decide otherwise: worker"),
    ],
    ids=["past", "soon", "nothing runs", "other configuration"],
)
def test_what_would_make_the_change_wrong_is_a_warning(given: dict[str, Any], warning: str) -> None:
    (found,) = gathered(cutover_at=MOMENT, **given)["warnings"]

    assert warning in found


def test_the_time_of_clients_has_the_warnings_of_texts_and_of_events_without_one() -> None:
    zones, absent = gathered(cutover_at=MOMENT, cutover_by="originalTimestamp")["warnings"]

    assert "wrong for other zones" in zones
    assert "an event without an originalTimestamp is decided by the time at which Segue accepted it" in absent


def test_a_moment_within_a_second_is_shown_as_it_is_compared() -> None:
    at, until = (MOMENT + timedelta(milliseconds=ms) for ms in (250, 1001))

    text = "\n".join(plan.lines(gathered(cutover_at=at, cutover_until=until)))

    assert "receivedAt is 2026-12-01 10:00:00.250Z or later" in text
    assert "from 2026-12-01 10:00:01.001Z on, events are shadow events again" in text
    destination = mapping.destinations({"destinations": {"a": {**CREDENTIALS, "cutover_at": at}}})["a"]
    assert "10:00:00.250Z or later" in str(shadow.describe(destination))
