"""Run a vector file: which vectors pass, which fail, and which differ where a flag permits it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.cases import result_of
from tests.conformance.compare import same_result

Json = dict[str, Any]

# The flags of README.md, and how each is handled.
HANDLED: dict[str, Json] = {
    "clock_dependent": {"done": "the time is an argument: 1717243200, as in the recordings"},
    "engine_date": {"done": "V8's date parser is implemented from its stated rules (mapping/javascript/dates.py)"},
    "library_dependent": {"done": "a URL is escaped as by the HTTP library of the recordings"},
    "javascript_only": {"done": "members that only JavaScript objects have are absent"},
}


@dataclass(slots=True)
class Report:
    """The counts of a file; `flagged` and `differing` are by flag."""

    file: str
    passed: int = 0
    apart: int = 0
    failures: list[str] = field(default_factory=list)
    flagged: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)

    def summary(self) -> Json:
        return {
            "file": self.file,
            "passed": self.passed,
            "failed": len(self.failures),
            "apart": self.apart,
            "failures": self.failures[:20],
        }


def run_file(path: Path) -> Report:
    """Return the report of a file. A vector that raises an exception is a failure."""
    report = Report(path.name)
    for case in read(path):
        flags = [flag for flag in HANDLED if case.get(flag)]
        report.flagged.update(flags)
        if passes(case):
            report.passed += 1
            continue
        report.differing.update(flags)
        if flags:
            report.apart += 1
        else:
            report.failures.append(case["id"])
    return report


def read(path: Path) -> Iterator[Json]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def passes(case: Json) -> bool:
    try:
        return same_result(case["expected"], result_of(case))
    except Exception:
        return False
