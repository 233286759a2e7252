"""`segue test --junit`: fifty case files, one of them broken on purpose, and the report that CI services read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.console.cases.configured import LEAD, body, expecting, run, write

# The attributes of each element and its children, as the schemas of Ant and Jenkins have them. `!`: it is required.
SCHEMA = {
    "testsuites": ("", "testsuite"),
    "testsuite": ("name! timestamp! hostname! tests! failures! errors! time!", "testcase"),
    "testcase": ("name! classname! time!", "failure error"),
    "failure": ("type! message", ""),
    "error": ("type! message", ""),
}


def check(element: ElementTree.Element) -> None:
    """Check an element and those within by the schema."""
    attributes, children = (set(text.split()) for text in SCHEMA[element.tag])
    required = {name.removesuffix("!") for name in attributes if name.endswith("!")}
    assert required <= set(element.keys()) <= {name.removesuffix("!") for name in attributes}
    assert {child.tag for child in element} <= children
    for child in element:
        check(child)


def report() -> ElementTree.Element:
    """Return the suite of the report, which is valid."""
    suites = ElementTree.parse("junit.xml").getroot()
    check(suites)
    (suite,) = suites
    datetime.fromisoformat(suite.attrib["timestamp"])
    counts = [len(suite.findall(path)) for path in ("testcase", "testcase/failure", "testcase/error")]
    assert counts == [int(suite.attrib[name]) for name in ("tests", "failures", "errors")]
    for case in suite:
        assert len(case) <= 1
        assert float(case.attrib["time"]) >= 0
    return suite


def write_fifty(cases: Path) -> None:
    """Write fifty files, of which the one with the number 31 expects another name."""
    for number in range(50):
        event = LEAD | {"event": f"Event {number}"}
        name = "Event thirty-one" if number == 31 else f"Event {number}"
        expect = {"requests": [{"destination": "journeys", **body(name=name)}], "fates": {"archive": "sent"}}
        write(cases / f"part-{number % 3}" / f"event-{number:02}.json", expecting(expect, event))


def test_one_broken_case_of_fifty_files_is_shown_and_reported(cases: Path) -> None:
    write_fifty(cases)

    result = run("cases", "--junit", "junit.xml")

    difference = 'journeys: requests[0].body.batch[0].name: expected "Event thirty-one", is "Event 31"'
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "cases/part-1/event-31.json: event-31",
        f"  {difference}",
        "50 cases in 50 files: 49 passed, 1 failed",
    ]
    suite = report()
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("50", "1", "0")
    (failed,) = (case for case in suite if len(case))
    assert (failed.attrib["classname"], failed.attrib["name"]) == ("cases/part-1/event-31.json", "event-31")
    assert (failed[0].tag, failed[0].attrib["message"], failed[0].text) == ("failure", difference, difference)


def test_one_broken_file_of_fifty_is_an_error_and_the_others_run(cases: Path) -> None:
    write_fifty(cases)
    write(cases / "part-1" / "event-31.json", '{"event": {},\n "expects": {}}')

    result = run("cases", "--junit", "junit.xml")

    text = "there is no such member of a case; there are name, event, source, expect"
    fault = f"cases/part-1/event-31.json, line 2: expects: {text}"
    assert (result.exit_code, result.stderr) == (2, f"{fault}\n")
    assert result.stdout == "49 cases in 50 files: 49 passed, 0 failed, 1 file cannot be used\n"
    suite = report()
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("50", "0", "1")
    assert [error.text for error in suite.findall("testcase/error")] == [fault]


def test_no_two_test_cases_have_one_name_since_gitlab_ignores_the_second_one(cases: Path) -> None:
    good, bad = ({"requests": [body(name=name)]} for name in ("Lead Captured", "x"))
    named = [("a", good), ("a", bad), ("a 2", good), ("b", good)]
    write(cases / "twice.json", [expecting(expect, name=name) for name, expect in named])
    write(cases / "wrong.json", [{"event": {}, "expects": {}}, {"event": {}, "expects": {}}])

    assert run("cases", "--junit", "junit.xml").exit_code == 2
    names = [case.attrib["name"] for case in report()]
    assert names == ["a", "a 2", "a 2 2", "b", "wrong", "wrong 2"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [('<b> & "q"', '<b> & "q"'), ("a\x1b[31m\x00", "a�[31m�"), ("🎉", "🎉")],
    ids=["xml", "control", "emoji"],
)
def test_texts_of_cases_and_events_do_not_break_the_report(cases: Path, name: str, shown: str) -> None:
    write(cases / "odd.json", expecting({"requests": [body(name="x")]}, LEAD | {"event": name}, name=name))

    assert run("cases", "--junit", "junit.xml").exit_code == 1
    assert report()[0].attrib["name"] == shown
