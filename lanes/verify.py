"""Verification: every invariant of a queue, checked beside live traffic. Nothing here writes."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any, cast

from lanes import keys
from lanes.queue import Queue
from lanes.scripts import run

_PAGE = 50  # objects that one call of the script checks
_NAMES = 500  # names that one page of a scan has
_STEPS = 1000  # along lanes, in one call
_MOST_WALKS = 20  # of one lane whose head leaves faster than it is walked
_REREAD_S = 0.005  # between a suspicion and its confirmation
_DIGEST_BYTES, _KEY_COUNT, _KEYS_START = 8, 13, 14  # of a record
_SUBJECTS = {"dead_letter": "dead letter", "dead_key": "member", "second": "second of acceptance"}


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold."""

    subject: str  # what it is about: `event 12`, `lane 0123456789abcdef`, `claim ID`, `dead letter 7`, `key NAME`, …
    invariant: str  # its name: state, ready, claimed, links, lane, length, ages, hot, dead_letter, totals, …
    text: str  # what does not hold


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification."""

    checked: dict[str, int]  # events, lanes, claims, dead_letters → how many were checked
    violations: tuple[Violation, ...]


def verify(queue: Queue) -> Verification:
    """Check every invariant of `queue`; docs/lanes.md lists them.

    Each object is checked by one call of a script, so at one moment. A violation is reported only when a second call
    some milliseconds later still finds it. Counts of the whole queue are compared with bounds that hold beside traffic.
    One equation holds exactly: accepted = delivered + unsent + buried + erased + missing + unfinished events that are
    not blocking dead letters. An event counts as buried from the moment it blocks; a requeue takes that back, and what
    unblocks or discards it counts nothing. An event that was erased while claimed counts as unsent, or is erased
    with the dead letter that it became. A dead letter that was appended again was accepted again. Imports, spilled and
    discarded dead letters change none of these.

    The result of a key with a wrong type is that violation alone, because no script can read the queue then.
    """
    return _Verifier(queue).verify()


def verify_some(queue: Queue, most: int) -> tuple[Violation, ...]:
    """Check the invariants of about so many events and as many dead letters, of all where there are fewer."""
    return _Verifier(queue).verify_some(most)


@dataclass(slots=True)
class _Scan:
    """What one pass over all events read."""

    events: dict[int, int] = field(default_factory=dict)  # its second of acceptance
    waits: dict[int, int] = field(default_factory=dict)
    predecessors: Counter[int] = field(default_factory=Counter)  # events that name it as their successor, by lane


class _Verifier:
    def __init__(self, queue: Queue) -> None:
        self.queue, self.client = queue, queue.client
        self.violations: dict[tuple[str, str, str], Violation] = {}

    def verify(self) -> Verification:
        names = self._check_keys()
        checked = dict.fromkeys(("events", "lanes", "claims", "dead_letters"), 0)
        if not any(violation.invariant == "type" for violation in self.violations.values()):
            scan = self._check_ages()
            self._check_named(scan.events.keys(), names)
            self._check_reachable(scan)
            checked = {
                "events": len(scan.events),
                "lanes": self._check_lanes(),
                "claims": self._check_claims(names),
                "dead_letters": self._check_dead_letters(),
            }
            self._check_seconds()
            self._check_ttl(names)
            self._confirm("queue", "")
        return Verification(checked, tuple(self.violations.values()))

    def verify_some(self, most: int) -> tuple[Violation, ...]:
        checked = 0
        for items, suspects in self._pages("events", self._start(keys.EVENT, most)):
            for name in suspects:
                self._confirm("event", name)
            checked += len(items) // 3
            if checked >= most:
                break
        index = keys.DEAD_INDEX.of(self.queue.name)
        count = self.client.zcard(index)
        first = random.randrange(count - most) if count > most else 0
        found = set(cast(list[bytes], self.client.zrange(index, first, first + most)))
        if count <= most:
            found.update(cast(list[bytes], self.client.hkeys(keys.DEAD.of(self.queue.name))))
        for sequence in sorted(found):
            self._confirm("dead_letter", sequence)
        return tuple(self.violations.values())

    def _start(self, key: keys.Key, most: int) -> int:
        """Return a cursor of a scan: the beginning when it reads the whole hash, else any position."""
        size = self.client.hlen(key.of(self.queue.name))
        return 0 if size <= most else random.randrange(1 << size.bit_length())

    # One call of the script

    def _run(self, what: str, name: str | bytes | int, position: str | bytes | int = "") -> Any:
        return run(self.queue, "verify", (what, name, _STEPS, position))

    def _found(self, what: str, name: str | bytes | int) -> set[tuple[str, str]]:
        values = iter(cast(list[bytes], self._run(what, name)))
        return {(invariant.decode(), text.decode()) for _, invariant, text in zip(values, values, values, strict=True)}

    def _confirm(self, what: str, name: str | bytes | int) -> None:
        """Report what two checks of one object find."""
        if first := self._found(what, name):
            time.sleep(_REREAD_S)
            again = self._found(what, name)
            known = {invariant for invariant, _ in first}
            for invariant, text in sorted(again):
                if invariant in known:
                    self._report(self._subject(what, name), invariant, text)

    def _subject(self, what: str, name: str | bytes | int) -> str:
        if what == "queue":
            return f"queue {self.queue.name}"
        text = name.hex() if what in ("lane", "dead_key") and isinstance(name, bytes) else name
        return f"{_SUBJECTS.get(what, what)} {text.decode() if isinstance(text, bytes) else text}"

    def _report(self, subject: str, invariant: str, text: str) -> None:
        self.violations[subject, invariant, text] = Violation(subject, invariant, text)

    def _pages(self, what: str, start: int = 0) -> Iterator[tuple[list[Any], list[bytes]]]:
        """Yield the items of each page, and the names of what violates an invariant."""
        cursor: bytes | int = start
        while True:
            cursor, items, violations = self._run(what, cursor, _PAGE)
            yield items, list(dict.fromkeys(violations[::3]))
            if int(cursor) == 0:
                return

    # Keys

    def _check_keys(self) -> list[str]:
        """Check that each key of the queue is registered, and of the registered type; return their names."""
        pattern = "".join(f"[{sign}]" if sign in "*?[]" else sign for sign in self.queue.base.replace("\\", "\\\\"))
        found = {cast(bytes, name).decode() for name in self.client.scan_iter(match=f"{pattern}:*", count=_NAMES)}
        names = sorted(found)
        registered = [key for key in keys.REGISTRY if key.name.startswith(":")]
        for name, type_ in zip(names, self._types(names), strict=True):
            types = {key.type for key in registered if key.matches(name)}
            if type_ == "none":  # it expired, or was deleted
                continue
            if not types:
                self._report(f"key {name}", "registry", "not a key of lanes.keys.REGISTRY")
            elif type_ not in types:
                self._report(f"key {name}", "type", f"a {type_}, not a {' or '.join(sorted(types))}")
        return names

    def _types(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the type of each key, "none" where it does not exist."""
        for first in range(0, len(names), _NAMES):
            with self.client.pipeline(transaction=False) as pipeline:
                for name in names[first : first + _NAMES]:
                    pipeline.type(name)
                yield from (cast(bytes, type_).decode() for type_ in pipeline.execute())

    def _check_ttl(self, names: Iterable[str]) -> None:
        """Check that what is remembered for a while ends."""
        generations = [key for key in keys.REGISTRY if key.name.startswith(":") and "{generation}" in key.name]
        for name in names:
            if any(key.matches(name) for key in generations) and self._has_no_ttl(name):
                time.sleep(_REREAD_S)
                if self._has_no_ttl(name):
                    self._report(f"key {name}", "ttl", "never expires")

    def _has_no_ttl(self, name: str) -> bool:
        return self.client.pttl(name) == -1

    # Events

    def _check_ages(self) -> _Scan:
        """Check the events, and their number by second; return what the last pass read."""
        scan, suspicions = self._compare_ages()
        if suspicions:
            time.sleep(_REREAD_S)
            scan, again = self._compare_ages()
            for second in suspicions.keys() & again.keys():
                self._report(self._subject("second", second), "age", again[second])
        return scan

    def _compare_ages(self) -> tuple[_Scan, dict[int, str]]:
        """Scan the events. Return them, and the seconds whose stored number of events is out of bounds.

        Events of a second leave, and none is added when the second is over, or when no sequence was given meanwhile. So
        the stored number before the scan is at least that of the events scanned, without those accepted since. The
        number after it is at most that of all events scanned.
        """
        last, now = self._last_sequence(), self.client.time()[0]
        before = self._ages()
        scan = self._scan_events()
        after = self._ages()
        is_quiet = self._last_sequence() == last
        old = Counter(second for sequence, second in scan.events.items() if sequence <= last)
        all_ = Counter(scan.events.values())
        suspicions = {}
        for second in before.keys() | after.keys() | all_.keys():
            is_over = is_quiet or second < now
            if old[second] > before.get(second, 0) or (is_over and after.get(second, 0) > all_[second]):
                stored = after.get(second, before.get(second, 0))
                suspicions[second] = f":age has {stored:,} unfinished events, :event has {all_[second]:,}"
        return scan, suspicions

    def _last_sequence(self) -> int:
        return int(cast(bytes | None, self.client.get(keys.SEQ.of(self.queue.name))) or 0)

    def _ages(self) -> dict[int, int]:
        fields = self.client.hscan_iter(keys.AGE.of(self.queue.name), count=_NAMES)
        return {int(second): int(count) for second, count in fields}

    def _scan_events(self) -> _Scan:
        scan = _Scan()
        for items, suspects in self._pages("events"):
            values = iter(items)
            for name, second, links in zip(values, values, values, strict=True):
                if name.isdigit() and second.isdigit() and int(name) not in scan.events:
                    scan.events[int(name)] = int(second)
                    scan.waits[int(name)] = links[0] if links else 0
                    scan.predecessors.update(_successors(links))
            for name in suspects:
                self._confirm("event", name)
        return scan

    def _check_named(self, events: Iterable[int], names: Iterable[str]) -> None:
        """Check each name that has no record, wherever an event is named."""
        known, name = frozenset(events), self.queue.name
        for key in (keys.LINKS, keys.COOLDOWN, keys.ATTEMPTS, keys.EXPIRED_CLAIMS):
            self._check_unknown(known, (event for event, _ in self.client.hscan_iter(key.of(name), count=_NAMES)))
        self._check_unknown(known, (event for event, _ in self.client.zscan_iter(keys.READY.of(name), count=_NAMES)))
        for claim in names:
            if claim.startswith(f"{self.queue.base}:claim:"):
                self._check_unknown(known, self.client.sscan_iter(claim, count=_NAMES))

    def _check_unknown(self, known: frozenset[int], names: Iterable[bytes]) -> None:
        for name in names:
            if not name.isdigit() or int(name) not in known:
                self._confirm("event", name)

    def _check_reachable(self, scan: _Scan) -> None:
        """Check that each event is in its lanes: as many events name it as successor as it has lanes to wait in.

        An event that the scan read and that is unfinished after a walk was in its lanes during the walk.
        """
        walk = cache(self._walk)
        for sequence, waits in scan.waits.items():
            if waits != scan.predecessors[sequence]:
                for digest in self._digests(sequence):
                    walked = walk(digest)
                    if walked is not None and sequence not in walked[0] and self._digests(sequence):
                        self._report(f"event {sequence}", "reachable", f"not in the lane {digest.hex()} of its key")

    def _digests(self, sequence: int, of: keys.Key = keys.EVENT) -> list[bytes]:
        record = cast(bytes | None, self.client.hget(of.of(self.queue.name), str(sequence))) or b""
        keys_end = _KEYS_START + (record[_KEY_COUNT] * _DIGEST_BYTES if len(record) > _KEY_COUNT else 0)
        return [record[at : at + _DIGEST_BYTES] for at in range(_KEYS_START, keys_end, _DIGEST_BYTES)]

    # Lanes

    def _check_lanes(self) -> int:
        checked = set[bytes]()
        for items, suspects in self._pages("lanes"):
            values = iter(items)
            for digest, is_long in zip(values, values, strict=True):
                if digest not in checked and is_long:
                    self._check_long_lane(digest)
                checked.add(digest)
            for digest in suspects:
                self._confirm("lane", digest)
        for digest, _ in self.client.zscan_iter(keys.HOT.of(self.queue.name), count=_NAMES):
            if digest not in checked:
                self._confirm("lane", digest)
        return len(checked)

    def _check_long_lane(self, digest: bytes) -> None:
        """Compare the number of events with the stored length, in several calls."""
        for attempt in range(2):
            walked = self._walk(digest)
            if walked is None or len(walked[0]) == walked[1]:
                return
            if attempt:
                text = f"{len(walked[0]):,} events; its stored length is {walked[1]:,}"
                self._report(self._subject("lane", digest), "length", text)
            time.sleep(_REREAD_S)

    def _walk(self, digest: bytes) -> tuple[set[int], int] | None:
        """Return the events of a lane and its stored length, at the moment when the walk came to the last event. None:
        that is unknown, as the lane was changed in the middle meanwhile or is broken.

        Events join a lane behind its last one, unless they are put before others. They leave it at its head, unless
        they are erased.
        """
        walked, seen, position, changes_then = list[int](), set[int](), b"", 0
        for _ in range(_MOST_WALKS):
            while True:
                position, is_anew, head, length, changes, names, broken = self._run("walk", digest, position)
                if is_anew:
                    walked, seen, changes_then = [], set(), changes
                if broken:
                    self._confirm_walk(digest, names)
                    return None
                if not seen.isdisjoint(map(int, names)):
                    self._report(
                        self._subject("lane", digest), "lane", f"leads in a circle to event {names[0].decode()}"
                    )
                    return None
                walked += map(int, names)
                seen.update(walked[-len(names) :])
                if not position:
                    break
            if changes == changes_then:
                first = walked.index(int(head)) if int(head) in walked else 0
                return set(walked[first:]), int(length)
        return None

    def _confirm_walk(self, digest: bytes, names: list[bytes]) -> None:
        """Report what two calls find between an event of a lane and the end of what one call walks."""
        start, found = names[0] if names else b"", list[set[tuple[bytes, bytes]]]()
        for _ in range(2):
            time.sleep(_REREAD_S)
            values = iter(self._run("walk", digest, start)[6])
            found.append({(invariant, text) for _, invariant, text in zip(values, values, values, strict=True)})
        for invariant, text in found[0] & found[1]:
            self._report(self._subject("lane", digest), invariant.decode(), text.decode())

    # Claims, dead letters, seconds

    def _check_claims(self, names: Iterable[str]) -> int:
        prefix = f"{self.queue.base}:claim:"
        ids = {name.removeprefix(prefix) for name in names if name.startswith(prefix)} - {"blocking"}
        claims = self.client.zscan_iter(keys.CLAIMS.of(self.queue.name), count=_NAMES)
        ids.update(cast(bytes, claim).decode() for claim, _ in claims)
        for claim in sorted(ids):
            self._confirm("claim", claim)
        return len(ids)

    def _check_dead_letters(self) -> int:
        name = self.queue.name
        fields = (self.client.hscan_iter(key.of(name), count=_NAMES) for key in (keys.DEAD, keys.FAILURE))
        found = {cast(bytes, sequence) for sequence, _ in chain.from_iterable(fields)}
        found.update(sequence for sequence, _ in self.client.zscan_iter(keys.DEAD_INDEX.of(name), count=_NAMES))
        found.update(self.client.sscan_iter(keys.BLOCKING.of(name), count=_NAMES))
        for sequence in found:
            self._confirm("dead_letter", sequence)
        for member, _ in self.client.zscan_iter(keys.DEAD_KEYS.of(name), count=_NAMES):
            self._check_dead_key(member)
        return len(found)

    def _check_dead_key(self, member: bytes) -> None:
        """Check that the dead letter of a member of :dead_keys exists and has the key."""
        sequence = member[_DIGEST_BYTES:]
        if not (sequence.isdigit() and member[:_DIGEST_BYTES] in self._digests(int(sequence), keys.DEAD)):
            self._confirm("dead_key", member)

    def _check_seconds(self) -> None:
        ages = self.client.zscan_iter(keys.AGES.of(self.queue.name), count=_NAMES)
        for second in {*self._ages(), *(int(second) for second, _ in ages)}:
            self._confirm("second", second)


def _successors(links: bytes) -> Iterator[int]:
    at = 1 + keys.TIME_DIGITS
    while at + 1 < len(links):
        end = at + 2 + links[at + 1]
        if not links[at + 2 : end].isdigit():
            return
        yield int(links[at + 2 : end])
        at = end
