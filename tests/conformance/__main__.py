"""`python -m tests.conformance DIR`: run the vectors of all files in DIR through `mapping`.

Prints a JSON line per file, `{"file", "passed", "failed", "apart", "failures": [first 20 ids]}`, and exits with 1 if
any failed. A vector with a flag (README.md) that differs is counted `apart`, not `failed`. The last line counts these
by flag.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.conformance.suite import HANDLED, run_file


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.conformance DIR", file=sys.stderr)
        return 2
    reports = [run_file(path) for path in sorted(Path(arguments[0]).glob("*.jsonl"))]
    for report in reports:
        print(json.dumps(report.summary()))
    print(json.dumps({"flags": {flag: HANDLED[flag] | _flagged(reports, flag) for flag in HANDLED}}))
    return 1 if not reports or any(report.failures for report in reports) else 0


def _flagged(reports: list, flag: str) -> dict[str, int]:  # type: ignore[type-arg]
    met = sum(report.flagged.get(flag, 0) for report in reports)
    differ = sum(report.differing.get(flag, 0) for report in reports)
    return {"same": met - differ, "different": differ}


if __name__ == "__main__":
    time.tzset()
    sys.exit(main(sys.argv[1:]))
