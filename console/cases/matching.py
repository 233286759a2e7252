"""What became of an event against what a case expects, and the expectation as it would be right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from console.partial import MISSING, Difference, differences, updated
from mapping.envelope import JsonObject

_LISTS: Final = ("requests", "errors")
_KIND: Final = ("path", "type", "action", "subscription")


@dataclass(frozen=True, slots=True)
class Actual:
    """What became of an event at all destinations.

    A request is `{"destination", "path", "body"}`, an error `{"destination", "subscription"?, "error"}`; it has no
    subscription when ingest refuses the event.
    """

    requests: list[JsonObject] = field(default_factory=list)
    fates: JsonObject = field(default_factory=dict)  # by destination
    errors: list[JsonObject] = field(default_factory=list)

    def expectation(self) -> JsonObject:
        """Return the expectation of exactly this."""
        errors = {"errors": self.errors} if self.errors else {}
        return {"requests": self.requests, "fates": self.fates, **errors, "nothing_else": True}


class Finding(NamedTuple):
    """A difference, and the destination at which it is; None when the expectation names none."""

    destination: str | None
    difference: Difference

    def __str__(self) -> str:
        return f"{self.destination or 'any destination'}: {self.difference}"


def findings(expect: JsonObject, actual: Actual) -> Iterator[Finding]:
    """Yield what is not as expected: requests, fates, errors, and with `nothing_else` what is not named."""
    for name, fate in expect.get("fates", {}).items():
        for difference in differences(fate, actual.fates.get(name, MISSING), f"fates.{name}"):
            yield Finding(name, difference)
    for member in _LISTS:
        expected, found = expect.get(member, []), getattr(actual, member)
        indexes = _paired(expected, found)
        for number, (item, index) in enumerate(zip(expected, indexes, strict=True)):
            field = f"{member}[{number}]"
            if index is None:
                yield Finding(item.get("destination"), Difference(field, item, MISSING))
            else:
                for difference in differences(item, found[index], field):
                    yield Finding(found[index]["destination"], difference)
        for item in _others(expect, member, found, indexes):
            yield Finding(item["destination"], Difference(member, MISSING, item))


def update(expect: JsonObject, actual: Actual) -> JsonObject:
    """Return the expectation with what was found, in the same order.

    It names what it named before and is still there; of requests or errors, all when none of the named ones is.
    """
    result = dict(expect)
    if "fates" in expect:
        result["fates"] = {name: actual.fates[name] for name in expect["fates"] if name in actual.fates}
    for member in _LISTS:
        expected, found = expect.get(member, []), getattr(actual, member)
        indexes = _paired(expected, found)
        pairs = zip(expected, indexes, strict=True)
        items = [updated(item, found[index]) for item, index in pairs if index is not None]
        items += _others(expect, member, found, indexes)
        if items or member in expect:
            result[member] = items or list(found)
    return result


def _others(
    expect: JsonObject, member: str, found: Sequence[JsonObject], indexes: Sequence[int | None]
) -> list[JsonObject]:
    """Return what must not be there: all that is not named, if nothing else is expected or the list is empty."""
    if not expect.get("nothing_else", False) and expect.get(member) != []:
        return []
    return [item for index, item in enumerate(found) if index not in indexes]


def _paired(expected: Sequence[JsonObject], found: Sequence[JsonObject]) -> list[int | None]:
    """Return for each expected item the index of the found one that it is compared with, each at most once.

    Items without a difference come first, as many as possible. Of the others of the same destination, the most similar
    one is compared.
    """
    equal = _matching([[index for index, item in enumerate(found) if _is_equal(each, item)] for each in expected])
    result: list[int | None] = [equal.get(number) for number in range(len(expected))]
    for number, item in enumerate(expected):
        if result[number] is None:
            free = [index for index in range(len(found)) if index not in result and _may_be(item, found[index])]
            result[number] = min(free, key=lambda index: _rank(item, found[index]), default=None)
    return result


def _matching(candidates: Sequence[Sequence[int]]) -> dict[int, int]:
    """Return a largest assignment of numbers to candidates, each used once: number to candidate."""
    owners: dict[int, int] = {}

    def assign(number: int, tried: set[int]) -> bool:
        for candidate in candidates[number]:
            if candidate not in tried:
                tried.add(candidate)
                if candidate not in owners or assign(owners[candidate], tried):
                    owners[candidate] = number
                    return True
        return False

    for number in range(len(candidates)):
        assign(number, set())
    return {number: candidate for candidate, number in owners.items()}


def _is_equal(expected: Any, found: Any) -> bool:
    return next(differences(expected, found), None) is None


def _may_be(expected: JsonObject, found: JsonObject) -> bool:
    return bool(expected.get("destination", found["destination"]) == found["destination"])


def _rank(expected: JsonObject, found: JsonObject) -> tuple[int, int]:
    """Return the number of differences, first of those that tell one kind of request from another."""
    fields = [difference.field for difference in differences(expected, found)]
    return sum(field.rpartition(".")[2] in _KIND for field in fields), len(fields)
