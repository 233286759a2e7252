"""What the log says of requests without success: never a word of the service, which may quote personal data."""

from __future__ import annotations

import orjson
import pytest

from delivery import failures
from delivery.batching import Item, Request
from delivery.failures import Failed
from delivery.outcomes import Delivered, Outcome, Paused, Rejected, Response, RetryLater, Split
from tests.logged import logged

EMAIL = "jo@example.com"
ITEM = Item(1, 0, "trackEvent", "event", "/api/v2/entity", b"{}")


def fault(reason: object) -> str:
    return orjson.dumps({"reason": reason, "field": "email", "message": f"{EMAIL} is invalid"}).decode()


def send(*outcomes: Outcome) -> list[Outcome]:
    return failures.logged(lambda _: list(outcomes), "journeys")(Request("/api/v2/batch", (ITEM,) * len(outcomes)))


def test_a_request_without_success_is_a_line_and_its_outcomes_stay(caplog: pytest.LogCaptureFixture) -> None:
    outcome = RetryLater(f"HTTP 503 {EMAIL}", Response(503, EMAIL, request_id="01J9ZC3AV5Q8Y4B7"), 5.0)

    assert send(outcome, outcome) == [outcome, outcome]

    assert logged(caplog) == [
        {
            "event": "request_failed",
            "destination": "journeys",
            "status": 503,
            "reason": "HTTP 503",
            "items": 2,
            "of_items": 2,
            "request_id": "01J9ZC3AV5Q8Y4B7",
            "retry_after_s": 5.0,
            "count": 1,
        }
    ]


def test_a_request_that_was_accepted_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    delivered = Delivered()
    send(delivered, delivered)
    send(Delivered(), Delivered())

    assert logged(caplog) == []


def test_refused_items_between_delivered_ones_are_a_line(caplog: pytest.LogCaptureFixture) -> None:
    send(Delivered(), Rejected(f"email: {EMAIL}", Response(207, fault("required"))), Delivered())

    (line,) = logged(caplog)
    assert (line["reason"], line["items"], line["of_items"]) == ("refused: required", 1, 3)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Rejected(EMAIL, Response(400, f'{{"errors": [{fault("invalid")}]}}')), "refused: invalid"),
        (Rejected(EMAIL, Response(207, fault(EMAIL))), "refused: without a code"),
        (Rejected(EMAIL, Response(207, fault(None))), "refused: without a code"),
        (Rejected(EMAIL, Response(413, EMAIL)), "refused: without a code"),
        (Rejected(EMAIL, Response(413, "[]")), "refused: without a code"),
        (Split(f"HTTP 413 {EMAIL}", Response(413, EMAIL)), "refused as a whole, sent again in halves"),
        (RetryLater(EMAIL, Response(None, f"RemoteProtocolError: {EMAIL}")), "no response: RemoteProtocolError"),
        (
            Paused(f"the service is at https://{EMAIL} (HTTP 301)", Response(301, EMAIL)),
            "the service is at another address: set the region of the workspace",
        ),
        (
            Paused("the credentials were refused (HTTP 401)", Response(401, EMAIL)),
            "the credentials were refused (HTTP 401)",
        ),
    ],
)
def test_the_reason_has_no_word_of_the_service(outcome: Failed, reason: str) -> None:
    assert failures.reason(outcome) == reason
