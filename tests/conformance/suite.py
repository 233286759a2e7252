"""One vector file, run: which vectors pass, which fail, which differ only where the vector says that may be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.cases import answer
from tests.conformance.compare import same_answer

Json = dict[str, Any]

# The flags of vectors/README.md, and what is done about each.
HANDLED: dict[str, Json] = {
    "clock_dependent": {"done": "the clock is passed in: 1717243200, as when the answers were recorded"},
    "engine_date": {"done": "V8's date parser is rebuilt from its stated rules (mapping/javascript/dates.py)"},
    "library_dependent": {"done": "the characters that the recorded HTTP library escapes in a URL are escaped"},
    "javascript_only": {"done": "members that only JavaScript objects have are taken to be absent"},
}


@dataclass(slots=True)
class Report:
    """How one file did. `flagged` and `differing` count vectors by flag."""

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
    """Return how the vectors of a file did; an answer that raises is a failure like any other."""
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
        return same_answer(case["expected"], answer(case))
    except Exception:
        return False
