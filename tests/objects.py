"""A local object store that speaks the protocol of S3, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.request import Request, urlopen

BUCKET: Final = "ledgers"
_SERVER: Final = """
from threading import Event
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
Event().wait()
"""


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Run a server with an empty bucket, for a `with` block. Its value is the environment of the server's clients."""
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        with urlopen(Request(f"{url}/{BUCKET}", method="PUT")):
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "tests",
                "AWS_SECRET_ACCESS_KEY": "tests",
                "AWS_REGION": "us-east-1",
            }
    finally:
        process.kill()
        process.wait()
