"""What an event costs at rest: its bytes before and after packing, and the time to pack and unpack it.

Prints JSON lines `{"bench", "value", "unit", "baseline"?, "ratio"?}`; the baseline is the same events as plain JSON, in
this run. The dictionary was trained with one vocabulary; a second one, unknown to it, tells what a business with words
of its own may expect. `python bench/packing.py train ID` writes a dictionary. Times are those of the processor.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)  # not this folder: its files are named after the packages they measure

import json
import time
from collections.abc import Callable, Iterable
from statistics import mean, median
from typing import Any

import orjson
import zstandard

from bench.support.bodies import KNOWN, UNKNOWN, Vocabulary, events
from mapping.envelope import pack, unpack

TRAINED_WITH, MEASURED_WITH = 1, 2  # seeds
DICTIONARY_BYTES = 16 * 1024  # 8 KiB leave 5 % more of an event, 64 KiB nothing less
COUNT = 2_000
ROUNDS = 7


def report(bench: str, value: float, unit: str, baseline: float | None = None) -> None:
    line: dict[str, Any] = {"bench": bench, "value": round(value, 2), "unit": unit}
    if baseline:
        line |= {"baseline": round(baseline, 2), "ratio": round(value / baseline, 3)}
    print(json.dumps(line), flush=True)


def plain(event: Any) -> bytes:
    return orjson.dumps({"source": "website", "event": event})


def us_each(work: Callable[[Any], object], over: Iterable[Any], count: int) -> float:
    started = time.thread_time()
    for each in over:
        work(each)
    return (time.thread_time() - started) * 1e6 / count


def measure(name: str, vocabulary: Vocabulary) -> None:
    told = list(events(COUNT, MEASURED_WITH, vocabulary))
    texts, packed = [plain(event) for event in told], [pack("website", event) for event in told]
    report(f"packing.bytes.{name}", mean(map(len, packed)), "bytes/event", mean(map(len, texts)))
    rounds = [
        (
            us_each(lambda event: pack("website", event), told, COUNT),
            us_each(plain, told, COUNT),
            us_each(unpack, packed, COUNT),
            us_each(unpack, texts, COUNT),
        )
        for _ in range(ROUNDS)
    ]
    pack_us, plain_us, unpack_us, read_us = (median(figures) for figures in zip(*rounds, strict=True))
    report(f"packing.pack.{name}", pack_us, "us/event", plain_us)
    report(f"packing.unpack.{name}", unpack_us, "us/event", read_us)


def train(dictionary_id: int) -> None:
    samples = [plain(event) for event in events(6_000, TRAINED_WITH, KNOWN)]
    dictionary = zstandard.train_dictionary(DICTIONARY_BYTES, samples, dict_id=dictionary_id)
    (Path(sys.path[0]) / "mapping" / f"event-{dictionary_id}.zdict").write_bytes(dictionary.as_bytes())


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(int(sys.argv[2]))
    else:
        measure("known_words", KNOWN)
        measure("unknown_words", UNKNOWN)
