"""`python -m tests.differential --reference DIR`: generated cases through the reference and through `mapping`.

Prints a JSON line for each difference, `{"id", "class", "case", "reference", "ours"}`, and last a summary
`{"seed", "cases", "same", "different": {class: count}}`. Exit 1 when anything differs that
docs/compatibility.md does not explain. The reference is copied and installed in a folder of its own (Node 20, npm);
about two minutes.
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

from tests.conformance.cases import answer
from tests.conformance.compare import same_answer
from tests.differential.classes import EXPLAINED, class_of
from tests.differential.generator import Generator

Json = dict[str, Any]

# What the oracle says and the vectors leave out.
_UNSAID = frozenset({"id", "joint_requests_differ"})
_SETTINGS = re.compile("Site ID|API Key|Account Region|'siteId'|'apiKey'")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description="Compare with the reference.")
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="the reference's folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=20_000)
    options = parser.parse_args(arguments)
    if not options.reference.is_dir():
        parser.error(f"--reference: there is no folder {options.reference}; with make, REFERENCE=… names it")
    cases = list(Generator(options.seed).cases(options.cases))
    different: Counter[str] = Counter()
    for case, theirs in zip(cases, reference_answers(options.reference, cases), strict=True):
        ours = our_answer(case)
        if not same_answer(theirs, ours):
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


def our_answer(case: Json) -> Json:
    """Return our answer, as JSON has it; one that raises is a difference like any other."""
    try:
        answered: Json = json.loads(json.dumps(answer(case)))
    except Exception as error:  # every exception is a finding
        return {"raised": repr(error)}
    return answered


def reference_answers(folder: Path, cases: list[Json]) -> Iterator[Json]:
    """Yield the reference's answer to each case, in the form of the vectors."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "reference"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=copy, check=True)
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        oracle = subprocess.run(
            ["node", "oracle.mjs"], cwd=copy, input=lines, stdout=subprocess.PIPE, text=True, check=True
        )
    yield from map(_as_recorded, map(json.loads, oracle.stdout.strip().split("\n")))


def _as_recorded(answered: Json) -> Json:
    """Say it as the vectors do: without subscriptions that did not match and counts of requests, and refused settings
    once."""
    recorded = {name: value for name, value in answered.items() if name not in _UNSAID}
    if "steps" in recorded:
        recorded["steps"] = list(map(_as_recorded, recorded["steps"]))
        if "batch" in recorded:
            recorded["batch"] = _as_recorded(recorded["batch"])
    elif "results" in recorded and _SETTINGS.search((recorded["error"] or {}).get("message", "")):
        recorded |= {"results": [], "settings_error": True}
    elif "results" in recorded:
        recorded["results"] = [
            {name: value for name, value in result.items() if name != "requests"}
            for result in recorded["results"]
            if result["status"] != "not_subscribed"
        ]
    return recorded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
