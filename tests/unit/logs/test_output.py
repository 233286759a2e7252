"""A line of the log: its form, and what a hostile value or a library can do to it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
import redis

from logs import events as log
from logs.output import Form, formatter

HOSTILE = 'x" level=info\n2026-01-01T00:00:00Z error up[1] faked\x1b[2J\x9b\u202e\u2028\x00'
PERSONAL = "jo@example.com"


@contextmanager
def written(form: Form) -> Iterator[StringIO]:
    """Yield what is written by the events, and by libraries, in the form."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter("worker-1", form))
    logging.getLogger().addHandler(handler)
    try:
        yield stream
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_line_of_text_has_time_level_process_event_and_fields() -> None:
    with written("text") as stream:
        log.BREAKER_OPENED.write(destination="journeys", reason="HTTP 503")

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z error worker-1\[\d+\] breaker_opened destination=journeys "
        r'reason="HTTP 503"\n',
        stream.getvalue(),
    )


def test_a_line_of_json_has_the_same() -> None:
    with written("json") as stream:
        log.BREAKER_OPENED.write(destination="journeys", reason=None)

    line = json.loads(stream.getvalue())
    assert list(line) == ["timestamp", "level", "process", "pid", "event", "destination"]
    assert (line["level"], line["process"], line["event"]) == ("error", "worker-1", "breaker_opened")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_ends_a_line_or_acts_on_a_terminal(form: Form) -> None:
    with written(form) as stream:
        log.BREAKER_OPENED.write(destination=HOSTILE, reason=HOSTILE)
        logging.getLogger("library").warning("%s", HOSTILE)

    first, second = stream.getvalue().removesuffix("\n").split("\n")
    assert first.isprintable()
    assert second.isprintable()
    if form == "text":
        assert first.partition(" destination=")[0].endswith(" breaker_opened")
        assert "level=info" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", first), "it is inside quotation marks"


def test_a_long_value_is_cut() -> None:
    with written("text") as stream:
        log.BREAKER_OPENED.write(destination="d", reason="x" * 10_000)

    assert len(stream.getvalue()) < 700


def test_the_text_of_an_unknown_exception_is_in_no_line() -> None:
    with written("text") as stream:
        try:
            int(PERSONAL)
        except ValueError as error:
            log.unhandled("a test", error, destination="d")
            logging.getLogger("library").exception("Task raised %r", error)

    own, library = stream.getvalue().splitlines()
    for line in (own, library):
        assert "error=ValueError" in line
        assert "test_output.py" in line
        assert PERSONAL not in line


@pytest.mark.parametrize(
    "text",
    [
        f"unknown command 'HSETEX', with args beginning with: 'segue:{{d}}' '{PERSONAL}' ",
        f"Command # 1 (HSETEX segue:{{d}} {PERSONAL}) of pipeline caused error: unknown command 'HSETEX'",
    ],
)
def test_an_error_of_redis_is_told_without_the_arguments_of_the_command(text: str) -> None:
    error = redis.ResponseError(text)
    with written("text") as stream:
        try:
            raise error
        except redis.RedisError:
            logging.getLogger("library").warning("the connection is lost", exc_info=True)

    assert 'message="the connection is lost"' in stream.getvalue()
    assert "unknown command 'HSETEX'" in stream.getvalue()
    assert PERSONAL not in stream.getvalue()


def test_a_command_that_configures_no_log_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    log.logger.propagate = False
    try:
        log.BREAKER_OPENED.write(destination="d")
    finally:
        log.logger.propagate = True

    assert capfd.readouterr() == ("", "")
