"""Cases of recorded events: the recent events that workers keep, and the dead letters, with pseudonyms.

The ledger has the requests as they were sent, and not the events. So the events are those that Redis has as they were
received.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from console.cases import files
from console.cases.case import Case
from console.cases.pseudonyms import Pseudonyms
from console.cases.running import Bench
from console.session import Session
from dead_letters import query
from dead_letters.query import Filter
from mapping.envelope import JsonObject
from series import recent_events

_QUOTED: Final = re.compile(r'"([^"\n]+)"|\'([^\'\n]+)\'')
_TEXTS: Final = ("trigger", "if")  # the keys of the configuration with conditions
_LONGEST_NAME: Final = 60


def record(bench: Bench, count: int, directory: Path) -> list[Path]:
    """Write a case for each of the newest recorded events, at most `count`; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    pseudonyms = pseudonyms_for(bench.session)
    written = []
    for source, event in _newest(bench.session, count):
        path = _free(directory, _title(event))
        files.write_new(path, case_of(pseudonyms.event(event), source, bench))
        written.append(path)
    return written


def pseudonyms_for(session: Session) -> Pseudonyms:
    """Return pseudonyms that keep the texts with which the configuration compares."""
    return Pseudonyms(set(_constants(session.document)))


def case_of(event: JsonObject, source: str, bench: Bench) -> JsonObject:
    """Return the case that expects what the configuration makes of an event now.

    It names the source, unless the configuration has none of this name.
    """
    named = {"source": source} if source in bench.sources else {}
    actual = bench.run(Case("", event, named.get("source"), None))
    return {**named, "event": event, "expect": actual.expectation()}


def _newest(session: Session, count: int) -> list[tuple[str, JsonObject]]:
    """Return the newest events with their sources, each event once."""
    found = {(source, str(event.get("messageId"))): (source, event) for source, event in _recorded(session)}
    return sorted(found.values(), key=lambda pair: str(pair[1].get("receivedAt")), reverse=True)[:count]


def _recorded(session: Session) -> Iterator[tuple[str, JsonObject]]:
    for queue in session.queues(session.destinations):
        yield from recent_events.read(queue)
        yield from ((each.source, each.event) for each in query.matching(queue, Filter()) if not each.is_damaged)


def _constants(value: Any) -> Iterator[str]:
    """Yield the quoted texts of the conditions of a configuration."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _TEXTS and isinstance(inner, str):
                yield from (first or second for first, second in _QUOTED.findall(inner))
            else:
                yield from _constants(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _constants(inner)


def _title(event: JsonObject) -> str:
    words: Iterable[str] = re.findall(r"[a-z0-9]+", f"{event.get('type')} {event.get('event') or ''}".lower())
    return "-".join(words)[:_LONGEST_NAME]


def _free(directory: Path, title: str) -> Path:
    """Return the path of a file that does not exist."""
    number = 1
    while (path := directory / f"{title}-{number}.json").exists():
        number += 1
    return path
