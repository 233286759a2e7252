"""`segue test --update`: what it writes, and what it leaves as it is."""

from __future__ import annotations

import json
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from console.errors import CommandError
from tests.unit.console.cases.configured import LEAD, PERSON, body, expecting, run, write


def expectation(path: Path) -> Any:
    return json.loads(path.read_text())["expect"]


def test_a_case_without_expectation_gets_the_whole(cases: Path) -> None:
    path = write(cases / "lead.json", {"name": "a lead", "event": LEAD, "source": "web"})

    result = run("cases", "--update")

    assert (result.exit_code, result.stderr) == (0, "updated cases/lead.json: 1 case\n")
    written = json.loads(path.read_text())
    assert list(written) == ["name", "event", "source", "expect"]
    assert list(written["expect"]) == ["requests", "fates", "nothing_else"]
    assert written["expect"]["fates"] == {"journeys": "sent", "archive": "filtered"}
    assert [each["body"]["batch"][0]["action"] for each in written["expect"]["requests"]] == ["event", "identify"]
    assert run("cases").exit_code == 0


def test_a_partial_expectation_stays_partial(cases: Path) -> None:
    absent = {"@absent": True}
    path = write(
        cases / "lead.json",
        expecting(
            {
                "fates": {"archive": "sent"},
                "requests": [
                    body(action="event", name="Lead", id=absent, ssn=absent),
                    body(identifiers={"email": "x"}),
                ],
            }
        ),
    )

    assert run("cases", "--update").exit_code == 0

    (event, person) = expectation(path)["requests"]
    assert expectation(path)["fates"] == {"archive": "filtered"}
    assert {"action": "event", "name": "Lead Captured", "ssn": absent}.items() <= event["body"]["batch"][0].items()
    assert set(event["body"]["batch"][0]) == {"action", "name", "id", "ssn"}
    assert person == body(**PERSON)
    assert run("cases").exit_code == 0


def test_requests_that_come_and_go_are_added_and_removed(cases: Path) -> None:
    sent = write(cases / "sent.json", expecting({"requests": [], "nothing_else": True}))
    page = {"type": "page", "userId": "u1"}
    dead = write(cases / "dead.json", expecting({"requests": [body(action="page")]}, page))

    run("cases", "--update")

    assert len(expectation(sent)["requests"]) == 2
    assert expectation(dead) == {"requests": []}
    assert run("cases").exit_code == 0


@pytest.mark.parametrize(
    "expect",
    [
        {"fates": {"archive": "sent"}},
        {"fates": {"archive": "sent", "journeys": "dead"}},
        {"requests": [{"destination": "archive"}]},
        {"errors": [{"subscription": "Lead"}]},
        {"requests": [{"destination": "archive"}], "nothing_else": True},
    ],
    ids=["fate", "fates", "request", "error", "all"],
)
def test_what_was_updated_passes_and_is_not_updated_again(cases: Path, expect: Any) -> None:
    """The source feeds one of the two destinations, and the expectation is of the other one."""
    path = write(cases / "lead.json", expecting(expect, source="app"))

    assert run("cases", "--update").exit_code == 0
    written = path.read_bytes()

    assert run("cases").stdout == "1 case in 1 file: 1 passed, 0 failed\n"
    assert run("cases", "--update").stderr == ""
    assert path.read_bytes() == written


def test_files_and_lines_that_pass_keep_their_bytes(cases: Path) -> None:
    passing, failing = {"fates": {"journeys": "sent"}}, {"fates": {"journeys": "dead"}}
    odd = write(cases / "odd.json", json.dumps(expecting(passing), indent=7).replace(":", "  :"))
    rows = [f"{json.dumps(expecting(passing))}  ", "", json.dumps(expecting(failing)), ""]
    lines = write(cases / "lines.jsonl", "\n".join(rows))
    tabs = write(cases / "tabs.json", json.dumps([expecting(failing), expecting(passing)], indent="\t"))
    before = odd.read_bytes(), lines.read_text().splitlines(), tabs.read_text()

    run("cases", "--update")

    assert odd.read_bytes() == before[0]
    first, second, third = lines.read_text().splitlines()
    assert [first, second] == before[1][:2]
    assert json.loads(third) == expecting(passing)
    assert tabs.read_text() == before[2].replace('"dead"', '"sent"') + "\n"


def test_a_file_that_is_wrong_stays_as_it_is(cases: Path) -> None:
    path = write(cases / "wrong.json", '[{"event": {}}, {"evnt": {}}]')

    assert run("cases", "--update").exit_code == 2
    assert path.read_text() == '[{"event": {}}, {"evnt": {}}]'


@pytest.mark.parametrize("name", ["cases.json", "cases.jsonl"])
def test_a_file_that_cannot_be_written_whole_stays_as_it_is(
    cases: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(cases / name, json.dumps(expecting({"fates": {"journeys": "dead"}})))
    before = path.read_text()

    def full(unfinished: Path, content: bytes) -> None:
        unfinished.open("wb").write(content[:10])
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        result = run("cases", "--update")

    assert isinstance(result.exception, CommandError)
    assert str(result.exception) == f"{path}: cannot be written: No space left on device; it is as it was"
    assert (path.read_text(), sorted(cases.iterdir())) == (before, [path])


def test_an_updated_file_keeps_its_mode_and_its_link(cases: Path, tmp_path: Path) -> None:
    target = write(tmp_path.absolute() / "shared.json", json.dumps(expecting({"fates": {"journeys": "dead"}})))
    target.chmod(0o640)
    cases.mkdir(exist_ok=True)
    (cases / "link.json").symlink_to(target)

    assert run("cases", "--update").exit_code == 0

    assert (cases / "link.json").is_symlink()
    assert (target.stat().st_mode & 0o777, "dead" in target.read_text()) == (0o640, False)
