"""`python -m tests.differential --reference DIR`: run generated cases through the reference and through `mapping`.

Prints a JSON line for each difference, `{"id", "class", "case", "reference", "ours"}`, and a summary at the end,
`{"seed", "cases", "same", "different": {class: count}}`. Exits with 1 if there is a difference that
docs/compatibility.md does not explain. The reference is copied to a temporary folder and installed there (Node 20,
npm). A run takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.cases import result_of
from tests.conformance.compare import same_result
from tests.differential.classes import EXPLAINED, class_of
from tests.differential.generator import Generator

Json = dict[str, Any]

# Members of the oracle's output that vectors do not have.
_NOT_RECORDED = frozenset({"id", "joint_requests_differ"})
_SETTINGS = re.compile("Site ID|API Key|Account Region|'siteId'|'apiKey'")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description="Compare with the reference.")
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="the folder of the reference")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=20_000)
    options = parser.parse_args(arguments)
    if not options.reference.is_dir():
        parser.error(f"--reference: there is no folder {options.reference}; with make, set REFERENCE")
    cases = list(Generator(options.seed).cases(options.cases))
    different: Counter[str] = Counter()
    for case, theirs in zip(cases, reference_results(options.reference, cases), strict=True):
        ours = our_result(case)
        if not same_result(theirs, ours):
            name = class_of(case, theirs, ours)
            different[name] += 1
            sys.stdout.write(
                json.dumps({"id": case["id"], "class": name, "case": case, "reference": theirs, "ours": ours}) + "\n"
            )
    same = len(cases) - different.total()
    sys.stdout.write(
        json.dumps({"seed": options.seed, "cases": len(cases), "same": same, "different": different}) + "\n"
    )
    return 1 if different.keys() - EXPLAINED else 0


def our_result(case: Json) -> Json:
    """Return our result as JSON; `{"raised"}` for an exception, which is a difference."""
    try:
        result: Json = json.loads(json.dumps(result_of(case)))
    except Exception as error:  # every exception is a finding
        return {"raised": repr(error)}
    return result


def reference_results(folder: Path, cases: list[Json]) -> Iterator[Json]:
    """Yield the result of the reference for each case, in the form of the vectors."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "reference"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=copy, check=True)
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        oracle = subprocess.run(
            ["node", "oracle.mjs"], cwd=copy, input=lines, stdout=subprocess.PIPE, text=True, check=True
        )
    yield from map(_as_recorded, map(json.loads, oracle.stdout.strip().split("\n")))


def _as_recorded(result: Json) -> Json:
    """Return a result of the oracle in the form of the vectors: without subscriptions that do not match and counts of
    requests, and with `settings_error` for invalid settings."""
    recorded = {name: value for name, value in result.items() if name not in _NOT_RECORDED}
    if "steps" in recorded:
        recorded["steps"] = list(map(_as_recorded, recorded["steps"]))
        if "batch" in recorded:
            recorded["batch"] = _as_recorded(recorded["batch"])
    elif "results" in recorded and _SETTINGS.search((recorded["error"] or {}).get("message", "")):
        recorded |= {"results": [], "settings_error": True}
    elif "results" in recorded:
        recorded["results"] = [
            {name: value for name, value in each.items() if name != "requests"}
            for each in recorded["results"]
            if each["status"] != "not_subscribed"
        ]
    return recorded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
