"""`python -m simulator`: a simulated Customer.io workspace over HTTP, until SIGTERM.

The variable SIMULATOR_CREDENTIALS has further credentials as JSON, `[[SITE, KEY], …]`: other users of the machine can
read the options of a process, and not its environment.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys

import uvicorn

from simulator.app import Simulator
from simulator.service import Service

_STOP_WITHIN_S = 1


def main() -> None:
    """Read the options of the command line and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="simulator", description="A simulated Customer.io workspace.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="TCP port (default: %(default)s)")
    parser.add_argument("--site-id", default="demo", help="accepted site id (default: %(default)s)")
    parser.add_argument("--api-key", default="demo", help="accepted API key (default: %(default)s)")
    parser.add_argument(
        "--credentials", action="append", default=[], metavar="SITE:KEY", help="an additional accepted pair; repeatable"
    )
    parser.add_argument("--region", choices=("us", "eu"), default="us", help="region (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random choices (default: %(default)s)")
    given = parser.parse_args()
    family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
    try:
        socket.create_server((given.host, given.port), family=family).close()
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on port {given.port} of {given.host}: {error}")
    pairs = [(given.site_id, given.api_key)]
    pairs += [(site, key) for site, _, key in (pair.partition(":") for pair in given.credentials)]
    pairs += [(site, key) for site, key in json.loads(os.environ.get("SIMULATOR_CREDENTIALS", "[]"))]
    # uvicorn raises the signal that stopped it again after shutdown; the exit code must be 0 then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        Simulator(Service(given.seed), pairs, given.region),
        host=given.host,
        port=given.port,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="critical",
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )


if __name__ == "__main__":
    main()
