"""Which mutations of the Lua of the reorder window the tests catch.

    python -m tests.property.mutations
    python -m tests.property.mutations --file lanes/lua/lib/insert.lua

applies each mutation of `mutants.py` to a copy of the repository. It runs the histories there, then the small tests of
the lanes, until one fails. It prints a line for each: `caught` and by what, or `survived`. `equivalent` ones change
nothing that a caller can observe, and survive. The exit code is 1 when another one survived, an equivalent one was
caught, or a text is not in its file exactly once. The copy has no examples of earlier runs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.property.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
NOT_COPIED = (".*", "__pycache__", "docs", "node_modules", "*.egg-info", "build")
TIMEOUT_S = 1200
HISTORIES = ("-m", "tests.property.histories", "--seeds")
TESTS = (
    "test_reorder.py",
    "test_clock.py",
    "test_missing_records.py",
    "test_erase.py",
    "test_lanes.py",
    "test_cooldowns.py",
)
PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(f"tests/lanes/{test}" for test in TESTS))


def failure(repository: Path, arguments: tuple[str, ...]) -> str:
    """Return the first line of a failed run that says what failed; nothing when it passes."""
    try:
        run = subprocess.run(
            [sys.executable, *arguments], cwd=repository, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TIMEOUT_S} s"
    if run.returncode == 0:
        return ""
    found = (line for line in run.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests", "seed ")))
    return next(found, f"{arguments[1]}: {run.stderr[-200:]}").removeprefix("FAILED ").removesuffix(":")


def caught_by(repository: Path, mutant: Mutant, seeds: str) -> str:
    """Return what fails with the mutation; nothing when all passes."""
    path = repository / "lanes" / "lua" / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(original.replace(mutant.text, mutant.mutated), encoding="utf-8")
    try:
        return failure(repository, (*HISTORIES, seeds)) or failure(repository, PYTEST)
    finally:
        path.write_text(original, encoding="utf-8")


def verdict(repository: Path, mutant: Mutant, seeds: str) -> tuple[bool, str]:
    """Return whether the mutant behaves as the list says, and what is printed of it."""
    if (repository / "lanes" / "lua" / mutant.file).read_text(encoding="utf-8").count(mutant.text) != 1:
        return False, "not there exactly once"
    caught = caught_by(repository, mutant, seeds)
    if caught:
        return not mutant.equivalent, f"caught by {caught}"
    return bool(mutant.equivalent), f"equivalent: {mutant.equivalent}" if mutant.equivalent else "survived"


def main() -> int:
    """Print a line for each mutant, and how many are not as the list says."""
    parser = argparse.ArgumentParser(prog="python -m tests.property.mutations", description="Mutate the Lua.")
    parser.add_argument("--file", default="", help="only the mutations of files that end with this")
    parser.add_argument("--seeds", default="0:2000", help="FIRST:END of the histories")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "copy"
        shutil.copytree(ROOT, repository, ignore=shutil.ignore_patterns(*NOT_COPIED))
        for mutant in MUTANTS:
            if f"lanes/lua/{mutant.file}".endswith(options.file):
                is_right, text = verdict(repository, mutant, options.seeds)
                wrong += not is_right
                print(f"{mutant.file}: {mutant}: {text}", flush=True)
    print(f"{wrong} mutations are not as the list says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
