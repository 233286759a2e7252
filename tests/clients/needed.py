"""What the clients need of the machine. `python -m tests.clients.needed` prints what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
SCRIPT: Final = FOLDER / "node_modules/@segment/analytics-next/dist/umd/standalone.js"
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or ""
_NODE_VERSION: Final = 20
_NO_CHROMIUM: Final = "Chromium is missing: run `apt-get install chromium`"


def why_not(*, browser: bool = False) -> str:
    """Return what is missing and how to install it; empty when the clients can run."""
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else ""
    number = re.match(r"v(\d+)", version)
    if number is None or int(number[1]) < _NODE_VERSION:
        return f"Node {_NODE_VERSION} is missing: install it, then run `make clients`"
    if not SCRIPT.exists():
        return "the npm packages of tests/clients are missing: run `make clients`"
    if browser and not CHROMIUM:
        return _NO_CHROMIUM
    return ""


def main() -> None:
    """Print for each client, and for the console, whether its tests will run."""
    verdict = "run" if CHROMIUM else f"are SKIPPED: {_NO_CHROMIUM}"
    sys.stdout.write(f"the tests of the console in Chromium {verdict}\n")
    for client, browser in (("@segment/analytics-node", False), ("analytics.js in Chromium", True)):
        reason = why_not(browser=browser)
        verdict = f"are SKIPPED: {reason}" if reason else "run"
        sys.stdout.write(f"the tests of {client} {verdict}\n")


if __name__ == "__main__":
    main()
