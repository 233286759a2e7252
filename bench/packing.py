"""What an event costs at rest: its bytes before and after packing, and the time to pack and unpack it.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`; the baseline is the same events as plain JSON, in
this run. The dictionary was trained with one vocabulary (`known_words`). A second one, unknown to it, stands for a
business with words of its own. `python -m bench.packing train ID` writes a dictionary. Times are processor times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median
from typing import Any

import orjson
import zstandard

import bench
from bench.support.bodies import KNOWN, UNKNOWN, Vocabulary, events
from mapping.envelope import pack, unpack

TRAINED_WITH, MEASURED_WITH = 1, 2  # seeds
DICTIONARY_BYTES = 16 * 1024  # with 8 KiB a packed event is 5 % larger, with 64 KiB it is not smaller
COUNT = 2_000
ROUNDS = 7


def plain(event: Any) -> bytes:
    """Return what is packed of an event, as JSON."""
    return orjson.dumps({"source": "website", "event": event})


def us_each(work: Callable[[Any], object], items: Iterable[Any], count: int) -> float:
    """Return the processor time that the work takes for each of the `count` items."""
    started = time.thread_time()
    for item in items:
        work(item)
    return (time.thread_time() - started) * 1e6 / count


def measure(name: str, vocabulary: Vocabulary) -> None:
    """Measure events of this vocabulary."""
    sample = list(events(COUNT, MEASURED_WITH, vocabulary))
    texts, packed = [plain(event) for event in sample], [pack("website", event) for event in sample]
    bench.figure(f"packing.bytes.{name}", mean(map(len, packed)), "bytes/event", mean(map(len, texts)))
    rounds = [
        (
            us_each(lambda event: pack("website", event), sample, COUNT),
            us_each(plain, sample, COUNT),
            us_each(unpack, packed, COUNT),
            us_each(unpack, texts, COUNT),
        )
        for _ in range(ROUNDS)
    ]
    pack_us, plain_us, unpack_us, read_us = (median(figures) for figures in zip(*rounds, strict=True))
    bench.figure(f"packing.pack.{name}", pack_us, "us/event", plain_us)
    bench.figure(f"packing.unpack.{name}", unpack_us, "us/event", read_us)


def train(dictionary_id: int) -> None:
    """Write the dictionary of this id into `mapping`."""
    samples = [plain(event) for event in events(6_000, TRAINED_WITH, KNOWN)]
    dictionary = zstandard.train_dictionary(DICTIONARY_BYTES, samples, dict_id=dictionary_id)
    (Path(__file__).parents[1] / "mapping" / f"event-{dictionary_id}.zdict").write_bytes(dictionary.as_bytes())


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(int(sys.argv[2]))
    else:
        measure("known_words", KNOWN)
        measure("unknown_words", UNKNOWN)
