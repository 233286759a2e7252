"""The results of case files: for people, as JSON, and as JUnit XML."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from rich.text import Text

from console.cases.files import CaseFile
from console.cases.matching import Finding
from console.output import counted, safe_line
from console.partial import MISSING
from mapping.envelope import JsonObject

_NO_EXPECTATION: Final = "the case has no expectation; --update writes it"
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case. `findings` is None when the case has no expectation."""

    file: str
    name: str
    findings: tuple[Finding, ...] | None
    seconds: float

    @property
    def lines(self) -> list[str]:
        """What is not as expected, one line each; none when the case passes."""
        return [_NO_EXPECTATION] if self.findings is None else [str(finding) for finding in self.findings]

    def json(self) -> JsonObject:
        """Return `{"file", "case", "passed", "differences": [{"destination", "field", "expected", "found"}]}`.

        `expected` and `found` are absent where there is no value.
        """
        return {
            "file": self.file,
            "case": self.name,
            "passed": not self.lines,
            "differences": [_json_of(finding) for finding in self.findings or ()],
        }


@dataclass(frozen=True, slots=True)
class Results:
    """The results of all cases, and the files that are wrong."""

    files: Sequence[CaseFile]
    cases: Sequence[Result]
    started_at: datetime  # in UTC

    @property
    def failed(self) -> list[Result]:
        """The cases that do not pass."""
        return [result for result in self.cases if result.lines]

    @property
    def faults(self) -> list[str]:
        """What is wrong with the files."""
        return [fault for file in self.files for fault in file.faults]

    def render(self) -> Iterator[Text]:
        """Yield the lines for people: the cases that fail, and the count."""
        for result in self.failed:
            yield Text(safe_line(f"{result.file}: {result.name}"), style="bold red")
            yield from (Text(safe_line(f"  {line}")) for line in result.lines)
        wrong = sum(bool(file.faults) for file in self.files)
        passed = len(self.cases) - len(self.failed)
        parts = [f"{passed:,} passed", f"{len(self.failed):,} failed"]
        parts += [f"{counted(wrong, 'file')} cannot be used"] if wrong else []
        yield Text(f"{counted(len(self.cases), 'case')} in {counted(len(self.files), 'file')}: {', '.join(parts)}")

    def junit(self) -> bytes:
        """Return the results as JUnit XML, as CI services read it: a failure for a case, an error for a file.

        GitLab ignores a test case that has the class name and the name of an earlier one, so a number makes it differ.
        """
        taken: set[tuple[str, str]] = set()
        suite = ElementTree.Element(
            "testsuite",
            name="segue test",
            timestamp=self.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
            hostname="localhost",
            tests=str(len(self.cases) + len(self.faults)),
            failures=str(len(self.failed)),
            errors=str(len(self.faults)),
            time=f"{sum(result.seconds for result in self.cases):.3f}",
        )
        for result in self.cases:
            element = _test_case(suite, result.file, result.name, taken, result.seconds)
            if result.lines:
                _problem(element, "failure", result.lines)
        for file in self.files:
            for fault in file.faults:
                _problem(_test_case(suite, file.name, Path(file.name).stem, taken), "error", [fault])
        suites = ElementTree.Element("testsuites")
        suites.append(suite)
        ElementTree.indent(suites)
        document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
        return document + b"\n"


def _test_case(
    suite: ElementTree.Element, file: str, name: str, taken: set[tuple[str, str]], seconds: float = 0.0
) -> ElementTree.Element:
    names = (_xml(name) if number == 1 else f"{_xml(name)} {number}" for number in itertools.count(1))
    name = next(each for each in names if (file, each) not in taken)
    taken.add((file, name))
    attributes = {"classname": _xml(file), "name": name, "time": f"{seconds:.3f}"}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _problem(element: ElementTree.Element, kind: str, lines: Sequence[str]) -> None:
    attributes = {"message": _xml(lines[0]), "type": "difference" if kind == "failure" else "case file"}
    ElementTree.SubElement(element, kind, attributes).text = _xml("\n".join(lines))


def _xml(text: str) -> str:
    """Return the text without characters that XML cannot contain."""
    return _NOT_IN_XML.sub("�", text)


def _json_of(finding: Finding) -> JsonObject:
    _, expected, found = finding.difference
    values = {"expected": expected, "found": found}
    named = {name: value for name, value in values.items() if value is not MISSING}
    return {"destination": finding.destination, "field": finding.difference.field, **named}
