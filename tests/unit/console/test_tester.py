"""`segue test`: what it says of an event that is not sent, or not as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from console import cli

PERSON: dict[str, Any] = {"type": "track", "event": "Application Opened", "userId": "u", "anonymousId": "a"}


@pytest.fixture(autouse=True)
def _set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REDIS_URL", "SEGUE_CONFIG", "SEGUE_TRACK_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))


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


@pytest.mark.parametrize("value", ["undefined", "null", "00000000-0000-0000-0000-000000000000", 0, True])
def test_an_id_that_many_people_may_share_has_a_warning(value: Any) -> None:
    warning = f"warning: userId {json.dumps(value)} is an unlikely id: many people may share it\n"

    assert warning in output_for(PERSON | {"userId": value})
    assert output_for(PERSON | {"userId": value, "anonymousId": value}).count("unlikely id") == 2
    assert "warning" not in output_for(PERSON)


def test_an_id_of_another_type_has_no_warning() -> None:
    assert "unlikely id" not in output_for(PERSON | {"userId": ["undefined"], "anonymousId": None})
