"""`segue test` with case files: what passes, what fails, and what is said of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from console.errors import CommandError
from tests.unit.console.cases.configured import LEAD, PERSON, body, expecting, run, write


@pytest.mark.parametrize(
    "expect",
    [
        {"fates": {"journeys": "sent"}},
        {"fates": {"journeys": "sent", "archive": "filtered"}},
        {"requests": [body(**PERSON)]},
        {"requests": [{"destination": "journeys", "path": "/api/v2/batch"}]},
        {"requests": [body(action="event", name="Lead Captured"), body(action="identify")]},  # in any order
        {"requests": [body(), body(action="identify")], "nothing_else": True},
        {"requests": [body(action="event", attributes={"ssn": {"@absent": True}})]},
        {"errors": []},
    ],
    ids=["fate", "fates", "part", "path", "order", "all", "absent", "no-error"],
)
def test_what_a_case_does_not_name_may_be_anything(cases: Path, expect: Any) -> None:
    write(cases / "lead.json", expecting(expect))

    result = run("cases")

    assert (result.exit_code, result.stdout) == (0, "1 case in 1 file: 1 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("expect", "line"),
    [
        ({"fates": {"archive": "sent"}}, 'archive: fates.archive: expected "sent", is "filtered"'),
        (
            {"requests": [body(action="identify", identifiers={"id": "u1"})]},
            'journeys: requests[0].body.batch[0].identifiers.id: expected "u1", is missing',
        ),
        (
            {"requests": [body(action="event"), body(name="Lead")]},
            'journeys: requests[1].body.batch[0].name: expected "Lead", is missing',
        ),
        (
            {"requests": [{"destination": "archive", "path": "/api/v2/batch"}]},
            'archive: requests[0]: expected {"destination":"archive","path":"/api/v2/batch"}, is missing',
        ),
        ({"requests": [body(action="event", name={"@absent": True})]}, "expected no value, is"),
        ({"requests": []}, "journeys: requests: expected no value, is {"),
        ({"requests": [body(action="event")], "nothing_else": True}, "journeys: requests: expected no value, is {"),
        ({"errors": [{"subscription": "Lead"}]}, 'any destination: errors[0]: expected {"subscription":"Lead"}'),
    ],
    ids=["fate", "identifier", "nearest", "destination", "absent", "none", "else", "error"],
)
def test_a_difference_names_the_case_the_destination_the_field_and_both_values(
    cases: Path, expect: Any, line: str
) -> None:
    write(cases / "lead.json", expecting(expect, name="a lead"))

    result = run("cases")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "cases/lead.json: a lead"
    assert line in result.stdout
    assert result.stdout.endswith("1 case in 1 file: 0 passed, 1 failed\n")


def test_refusals_and_faults_of_mappings_are_expected_as_errors(cases: Path) -> None:
    page = {"type": "page", "userId": "u1"}
    url = {"subscription": "Track Page View", "error": "The root value is missing the required field 'url'."}
    write(
        cases / "errors.json",
        [
            expecting({"errors": [url], "fates": {"journeys": "dead"}, "nothing_else": False}, page, source="app"),
            expecting({"errors": [{"error": "type: is missing; must be one of"}]}, {"userId": "u1"}, name="refused"),
            expecting({"fates": {"journeys": "refused"}}, {"userId": "u1"}),
            expecting({"fates": {"journeys": "sent"}, "nothing_else": True}, page),
        ],
    )

    found = [json.loads(line) for line in run("cases", "--json").stdout.splitlines()]

    assert [each["passed"] for each in found] == [True, False, True, False]
    assert found[1]["case"] == "refused"
    (difference, *_) = found[1]["differences"]
    assert (difference["destination"], difference["field"]) == ("journeys", "errors[0].error")
    assert difference["found"].startswith("type: is missing")
    assert {"destination": "journeys", "field": "errors", "found": {"destination": "journeys"} | url} in found[3][
        "differences"
    ]


def test_a_source_decides_the_destinations_and_the_rights(cases: Path) -> None:
    merge = {"type": "alias", "userId": "1", "previousId": "2"}
    forbidden = {"error": "the event would run the action mergePeople, which this source may not"}
    write(
        cases / "sources.jsonl",
        "\n".join(
            json.dumps(each)
            for each in (
                expecting({"requests": [{"destination": "journeys"}], "nothing_else": True}, merge, source="app"),
                expecting({"errors": [forbidden, forbidden], "nothing_else": True}, merge, source="web"),
            )
        ),
    )

    result = run("cases")

    assert (result.exit_code, result.stdout) == (0, "2 cases in 1 file: 2 passed, 0 failed\n")


@pytest.mark.parametrize(
    "event",
    [
        LEAD,
        LEAD | {"timestamp": "2026-02-03T04:05:06Z"},
        LEAD | {"messageId": "m-1", "sentAt": "2026-02-03"},
        LEAD | {"receivedAt": "1970-01-01T00:00:00Z"},
    ],
    ids=["none", "timestamp", "sent", "epoch"],
)
def test_neither_the_clock_nor_chance_changes_a_result(
    cases: Path, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]
) -> None:
    write(cases / "lead.json", {"event": event})
    run("cases", "--update")
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)

    result = run("cases")

    assert (result.exit_code, result.stdout) == (0, "1 case in 1 file: 1 passed, 0 failed\n")


def test_a_case_without_expectation_does_not_pass(cases: Path) -> None:
    write(cases / "lead.json", {"event": LEAD})

    result = run("cases")

    assert result.exit_code == 1
    assert "  the case has no expectation; --update writes it" in result.stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"event": {},\n "expect": {\n  "fate": {}}}', "line 3: expect.fate: there is no such member of a case"),
        ('{"event": {}, "expects": {}}', "line 1: expects: there is no such member of a case; there are name, event"),
        (
            '{"event": {}, "expect": {"requests": [{"bodies": 1}]}}',
            "line 1: expect.requests[0].bodies: there is no such member of a case; there are destination, path, body",
        ),
        ('{"event": {}, "expect": {"errors": "none"}}', "line 1: expect.errors: must be a list"),
        ('{"event": {}, "name": 5}', "line 1: name: must be a text"),
        ('{"event": {}, "expect": {"nothing_else": 1}}', "line 1: expect.nothing_else: must be true or false"),
        ('{"event": {},\n "expect": {"requests": [{},\n {"body": 1}]}}', "line 3: expect.requests[1].body: must be an"),
        (
            '{"event": {},\n "expect": {"fates": {\n"journey": "sent"}}}',
            "line 3: expect.fates.journey: there is no des",
        ),
        (
            '{"event": {}, "expect": {"fates": {\n"archive": "lost"}}}',
            "line 2: expect.fates.archive: is 'lost', but must",
        ),
        (
            '[{"event": {}},\n{"event": {},\n"source": "phone"}]',
            'line 3: [1].source: there is no source "phone"; there',
        ),
        ('\n{"expect": {"errors": []}}', "line 2: event: is missing"),
        ('[{"event": {}},\n[]]', "line 2: [1]: must be an object like"),
        ('{"event": {}, "expect":\n{}}', "line 1: expect: names nothing; it has requests, fates, errors, nothing_else"),
        ('{"event": {},\n"a" 1}', "line 2: is not JSON: "),
        ("[]", "line 1: has no case"),
        ('{"event": {}, "expect": {}, "expect": {}}', 'line 1: an object has the member "expect" twice'),
    ],
    ids=[
        "member",
        "case",
        "request",
        "list",
        "text",
        "flag",
        "body",
        "destination",
        "fate",
        "source",
        "event",
        "object",
        "empty",
        "json",
        "none",
        "twice",
    ],
)
def test_a_file_that_is_wrong_ends_with_2_and_its_line_and_field(cases: Path, text: str, fault: str) -> None:
    write(cases / "wrong.json", text)
    write(cases / "right.json", expecting({"fates": {"journeys": "sent"}}))

    result = run("cases")

    assert result.exit_code == 2
    assert f"cases/wrong.json, {fault}" in result.stderr
    assert result.stdout == "1 case in 2 files: 1 passed, 0 failed, 1 file cannot be used\n"


def test_a_line_of_json_lines_that_is_wrong_is_named(cases: Path) -> None:
    write(cases / "wrong.jsonl", '{"event": {}}\n\n{"event": {}, "expect": {"a": 1}}\n{"event"}\n')
    not_json = run("cases").stderr
    write(cases / "wrong.jsonl", '{"event": {}}\n\n{"event": {}, "expect": {"a": 1}}\n')

    assert "cases/wrong.jsonl, line 4: is not JSON: " in not_json
    assert run("cases").stderr.startswith("cases/wrong.jsonl, line 3: expect.a: there is no such member of a case; ")


def test_one_event_is_told_from_cases_by_its_form(cases: Path) -> None:
    event = write(cases / "event.json", LEAD)
    case = write(cases / "case.json", expecting({"fates": {"journeys": "sent"}}))

    assert "✓ Lead (createUpdatePerson)" in run(event).stdout
    assert run(case).stdout == "1 case in 1 file: 1 passed, 0 failed\n"


@pytest.mark.parametrize(
    ("option", "file", "what"),
    [
        (("--send",), "case.json", "case files"),
        (("--source", "web"), "case.json", "case files"),
        (("--update",), "event.json", "one event"),
        (("--junit", "j.xml"), "event.json", "one event"),
        (("--from-ledger", "1", "--update"), "case.json", "--from-ledger"),
    ],
    ids=["send", "source", "update", "junit", "from-ledger"],
)
def test_an_option_of_the_other_form_is_refused(cases: Path, option: tuple[str, ...], file: str, what: str) -> None:
    write(cases / "event.json", LEAD)
    write(cases / "case.json", expecting({"fates": {"journeys": "sent"}}))

    result = run(*option, cases / file)

    assert isinstance(result.exception, CommandError)
    assert str(result.exception).endswith(f"cannot be used with {what}")


def test_a_directory_without_case_files_is_refused(cases: Path) -> None:
    cases.mkdir()

    assert str(run("cases").exception) == "cases: has no case files; their names end with .json or .jsonl"


def test_a_directory_has_files_of_cases_alone_each_once(cases: Path) -> None:
    file = write(cases / "lead.json", expecting({"fates": {"journeys": "sent"}}))
    write(cases / "part.json/inner.json", expecting({"fates": {"journeys": "sent"}}))
    write(cases / "._lead.json", "\0")
    write(cases / ".cache/old.json", "[]")

    result = run("cases", file)

    assert (result.exit_code, result.stdout) == (0, "2 cases in 2 files: 2 passed, 0 failed\n")


@pytest.mark.parametrize("named", ["cases", "cases/lead.yml"])
def test_cases_in_yaml_are_a_fault_and_not_left_out(cases: Path, named: str) -> None:
    write(cases / "lead.yml", "event: {type: track}")
    write(cases / "lead.json", expecting({"fates": {"journeys": "sent"}}))

    result = run(named)

    assert result.exit_code == 2
    assert result.stderr == "cases/lead.yml: is YAML; a case file is JSON, and its name ends with .json or .jsonl\n"


@pytest.mark.parametrize("name", ["lead.json", "lead.jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_file(cases: Path, name: str) -> None:
    write(cases / name, "\ufeff" + json.dumps(expecting({"fates": {"journeys": "sent"}})))

    assert run(cases / name).stdout == "1 case in 1 file: 1 passed, 0 failed\n"
    assert run("cases").exit_code == 0


@pytest.mark.parametrize("named", [[], ["cases", "more"]], ids=["none", "two"])
def test_from_ledger_names_what_it_needs(named: list[str]) -> None:
    fault = run("--from-ledger", "1", *named).exception

    assert str(fault) == "--from-ledger needs one directory, such as `segue test --from-ledger 20 cases/`"


def test_the_name_of_a_file_that_is_not_utf_8_is_shown_and_written_as_json(cases: Path) -> None:
    cases.mkdir()
    for name, fate in ((b"\xff.json", "sent"), (b"\xfe.json", "lost")):
        with open(os.fsencode(cases) + b"/" + name, "w") as file:
            json.dump(expecting({"fates": {"journeys": fate}}), file)

    result = run("cases", "--json", "--junit", "j.xml")

    assert (result.exit_code, json.loads(result.stdout)["file"]) == (2, "cases/\ufffd.json")
    assert ElementTree.parse("j.xml").getroot()[0].attrib["tests"] == "2"


def test_numbers_of_an_event_are_read_as_ingest_reads_them(cases: Path) -> None:
    event = LEAD | {"userId": 10**20, "properties": {"email": "jo@example.com", "total": 10**30}}
    tracked = body(action="event", identifiers={"id": str(10**20)}, attributes={"total": 1e30})
    write(cases / "lead.json", expecting({"requests": [tracked]}, event | {"event": "Order"}))

    result = run("cases")

    assert (result.exit_code, result.stdout) == (0, "1 case in 1 file: 1 passed, 0 failed\n"), result.exception
