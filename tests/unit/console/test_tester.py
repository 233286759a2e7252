"""`segue test`: what it says of an event that is not sent, or not as it is."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import lanes
import mapping
from console import cli, tester
from console.errors import CommandError
from console.local import running
from console.local.running import Running
from delivery.batching import Request
from delivery.outcomes import Delivered, Outcome, Rejected, Response
from delivery.prepare import prepare
from mapping.envelope import pack

pytestmark = pytest.mark.usefixtures("set_up")
TWO = """
[sources.web]
write_key = "web"
trust = "public"
destinations = ["journeys", "other"]
[sources.app]
write_key = "app"
trust = "server"
destinations = ["journeys"]
[destinations.journeys]
site_id = "s"
api_key = "k"
[destinations.other]
site_id = "s2"
api_key = "k2"
"""
PERSON: dict[str, Any] = {"type": "track", "event": "Application Opened", "userId": "u", "anonymousId": "a"}

ORDER = PERSON | {"event": "Order Placed"}


def output_for(event: dict[str, Any]) -> str:
    result = CliRunner().invoke(cli.app, ["test"], input=json.dumps(event), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_excluded_event_is_shown_with_the_reason() -> None:
    lines = output_for(PERSON | {"integrations": {"All": False}}).splitlines()

    assert lines[-2:] == ["filtered: integrations.All is false", "nothing would be sent"]


def test_an_action_that_does_not_apply_is_shown_with_the_absent_field() -> None:
    shown = output_for(PERSON | {"context": {"device": {"type": "ios"}}})

    assert "– Create or Update Device (createUpdateDevice): not applicable: the event has no device_id\n" in shown
    assert shown.endswith("nothing would be sent\n")


def test_the_request_has_the_platform_that_is_sent() -> None:
    assert '"platform": "ios"' in output_for(PERSON | {"context": {"device": {"type": "iPadOS", "token": "t"}}})


def test_a_name_that_is_too_long_for_the_service_has_a_warning() -> None:
    warning = "warning: the name has 101 bytes; Customer.io accepts at most 100\n"

    assert warning in output_for(PERSON | {"event": "é" * 50 + "x"})
    assert "warning" not in output_for(PERSON | {"event": "é" * 50})


@pytest.mark.parametrize("value", ["undefined", "null", "00000000-0000-0000-0000-000000000000", 0])
def test_an_id_that_many_people_may_share_has_a_warning(value: Any) -> None:
    warning = f"warning: userId {json.dumps(value)} is an unlikely id: many people may share it\n"

    assert warning in output_for(PERSON | {"userId": value})
    assert output_for(PERSON | {"userId": value, "anonymousId": value}).count("unlikely id") == 2
    assert "warning" not in output_for(PERSON)


def run(*arguments: str, event: dict[str, Any]) -> Result:
    return CliRunner().invoke(cli.app, ["test", *arguments], input=json.dumps(event), env={"COLUMNS": "200"})


def results(*arguments: str, event: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json", event=event).stdout.splitlines()]


def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str = TWO) -> None:
    (tmp_path / "segue.toml").write_text(text)
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "x"}, "type: is missing"),
        ({"type": "track", "event": "x"}, "userId: is missing"),
        (ORDER | {"userId": ["undefined"]}, "userId: must be a string or a number"),
        ({"type": "alias", "userId": "1", "previousId": "1"}, "the alias names one person twice"),
        (ORDER | {"properties": {"long": "x" * 40_000}}, "the event must have at most 32,768 bytes"),
    ],
)
def test_an_event_that_ingest_refuses_is_a_failure(event: dict[str, Any], text: str) -> None:
    result = run(event=event)

    assert result.exit_code == 1
    assert f"ingest refuses the event: {text}" in result.stdout
    assert results(event=event)[0]["refused"].startswith(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"type": "track", "event": "x", "userId": 12345678901234567890123}', "id:12345678901234567890123"),
        ('{"type": "track", "event": "Hello \\ud83d", "userId": "u"}', "id:u"),
        ('\ufeff{"type": "track", "event": "x", "userId": "u"}', "id:u"),
    ],
    ids=["long id", "half of a character", "byte order mark"],
)
def test_an_event_is_read_as_ingest_reads_it(text: str, key: str) -> None:
    result = CliRunner().invoke(cli.app, ["test", "--json"], input=text)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ordering_keys"] == [key]


@pytest.mark.parametrize("text", ['{"batch": [{"type": "track"}, 1e400]}', "[]", "1", "{"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"^the event "):
        CliRunner().invoke(cli.app, ["test"], input=text, catch_exceptions=False)


def test_a_mapping_that_fails_is_a_failure() -> None:
    result = run(event={"type": "page", "userId": "42", "name": "https://x.com"})

    assert result.exit_code == 1
    assert "✗ Track Page View (trackPageView): " in result.stdout


def test_only_the_subscriptions_that_match_are_shown() -> None:
    lines = run(event=ORDER).stdout.splitlines()

    assert lines[:4] == [
        "demo (https://track.customer.io), as from the source demo",
        "ordering keys: id:u, anonymous_id:a",
        "✓ Track Event (trackEvent)",
        "14 more subscriptions do not match; --verbose says why",
    ]
    assert lines[4] == "POST /api/v2/batch"
    assert lines[-1] == "nothing was sent; --send sends the requests"


def test_the_request_is_the_one_that_a_worker_sends_with_the_same_event_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configured(monkeypatch, tmp_path)
    event = ORDER | {"messageId": "mm-1", "timestamp": "2026-01-05T12:00:00Z", "properties": {"total": 9}}
    destination = mapping.destinations(tomllib.loads(TWO))["journeys"]
    claimed = lanes.ClaimedEvent(1, 0, (), (), 1_767_614_400_000, (), pack("app", event))

    (result,) = results("--destination", "journeys", "--source", "app", event=event)

    (prepared,) = prepare([claimed], destination)
    assert result["requests"] == [
        {"method": "POST", "path": "/api/v2/batch", "body": {"batch": [json.loads(prepared.items[0].data)]}}
    ]
    other = results("--destination", "journeys", "--source", "web", event=event)[0]["requests"][0]["body"]["batch"][0]
    assert other["id"] != result["requests"][0]["body"]["batch"][0]["id"]


def test_the_rights_of_the_source_apply(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured(monkeypatch, tmp_path)
    merge = {"type": "alias", "userId": "1", "previousId": "2"}

    refused, accepted = (
        results("--destination", "journeys", "--source", name, event=merge)[0] for name in ("web", "app")
    )

    assert refused["refused"] == "the event would run the action mergePeople, which this source may not"
    assert [each["name"] for each in accepted["subscriptions"] if each["state"] == "sent"] == ["Merge People"]
    error = run("--source", "none", "--destination", "journeys", event=merge).exception
    assert 'no source "none" feeds the destination journeys; there are web, app' in str(error)


def test_an_expectation_is_compared_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured(monkeypatch, tmp_path)
    file = tmp_path / "expected.jsonl"
    file.write_text(run("--json", event=ORDER).stdout)
    assert run("--expect", str(file), event=ORDER | {"messageId": "m", "timestamp": "2026-01-05"}).exit_code == 1

    item = {"name": "Order Placed", "identifiers": {"id": "u"}}
    part = {"destination": "journeys", "requests": [{"body": {"batch": [item]}}]}
    file.write_text(json.dumps(part))
    assert run("--expect", str(file), event=ORDER).exit_code == 0

    item |= {"name": "Closed", "absent": 1}
    file.write_text(json.dumps(part))
    result = run("--expect", str(file), event=ORDER)
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        [
            'journeys: requests[0].body.batch[0].name: expected "Closed", is "Order Placed"',
            "journeys: requests[0].body.batch[0].absent: expected 1, is missing",
        ],
    )
    file.write_text('{"requests": []}')
    assert "each result must name one of the destinations journeys, other" in str(
        run("--expect", str(file), event=ORDER).exception
    )


def test_nothing_is_sent_to_customerio_itself_without_a_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tester, "TrackApi", None)

    error = str(run("--send", event=ORDER).exception)

    assert error.startswith("1 request would be sent to https://track.customer.io, which is no simulator,")
    assert "--yes is required" in error


def test_requests_go_to_a_running_up_and_their_outcomes_are_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    urls: list[str] = []

    class Api:
        def __init__(self, url: str, *_: object) -> None:
            urls.append(url)

        def send(self, request: Request) -> list[Outcome]:
            name = json.loads(request.items[0].data)["name"]
            return [Delivered() if name == "good" else Rejected("HTTP 400", Response(400, ""))]

    monkeypatch.setattr(tester, "TrackApi", Api)
    record = Running(1, {}, {}, {"SEGUE_TRACK_URL": "http://127.0.0.1:9", "REDIS_URL": "redis://127.0.0.1:1/0"})
    running.write(tmp_path, record)

    good, bad = (run("--send", event=ORDER | {"event": name}) for name in ("good", "bad"))

    assert urls == ["http://127.0.0.1:9"] * 2
    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, "sent trackEvent: accepted")
    assert (bad.exit_code, bad.stdout.splitlines()[-1]) == (1, "sent trackEvent: HTTP 400")
    assert results("--send", event=ORDER | {"event": "bad"})[0]["outcomes"] == [
        {"accepted": False, "reason": "HTTP 400"}
    ]
