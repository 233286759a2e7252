"""A clock per attribute: of each person or object and each attribute, the client time of the value that was sent last.

An update that comes late must not overwrite what is newer. `register.lua` compares its attributes with the clocks of
its person or object, and returns which of them are to be sent. Here an update is described for that comparison, and its
older attributes are removed.

The client time is the event's own, to the millisecond, and never later than its acceptance. Of equal times the later
accepted one wins. The clocks are remembered for two hours, of up to MOST_CLOCKS attributes a person: 5 bytes for each
attribute, and 7 for each time. An object is remembered like a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from delivery.identifier_changes import Identifiers
from lanes import digest
from lanes.keys import CLOCK_NAME_BYTES, CLOCK_TIME_BYTES, DIGEST_BYTES
from mapping import Effect
from mapping.coercion import text_of
from mapping.envelope import JsonObject

# These name a person, or say how the update is applied. They are sent whatever their time.
_ALWAYS_SENT: Final = frozenset({"id", "cio_id", "anonymous_id", "_update"})
_EMAIL, _CIO_ID = "email", "cio_id"
_OF_PEOPLE: Final = frozenset({"id", "email", "cio_id"})
_OBJECT_TYPE, _OBJECT_ID = "object_type_id", "object_id"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_S: Final = -62_135_596_800  # the year 1
_NO_ADDRESS: Final = bytes(DIGEST_BYTES)
# Whether the address is an attribute, or names the person. `_GIVEN_BY_CIO_ID`: a cio_id names the person.
_NONE, _GIVEN, _ADDRESSED, _GIVEN_BY_CIO_ID = b"0", b"1", b"2", b"3"
_STALE: Final = ord("0")
_TIME: Final = slice(2 * DIGEST_BYTES + 1, 2 * DIGEST_BYTES + 1 + CLOCK_TIME_BYTES)  # in a described update
_LATEST_MS: Final[int] = 256**CLOCK_TIME_BYTES - 1


def client_time_ms(timestamp: Any, accepted_at_ms: int) -> int:
    """Return when an event happened (Unix ms) by its own timestamp, an ISO 8601 text; without a zone it is UTC.

    A clock that is ahead is not believed: the time is at most that of the acceptance, and this one without a timestamp.
    """
    try:
        happened_at = datetime.fromisoformat(timestamp)
        if happened_at.tzinfo is None:
            happened_at = happened_at.replace(tzinfo=UTC)
        since = happened_at - _EPOCH
        return min(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000, accepted_at_ms)
    except (TypeError, ValueError):
        return accepted_at_ms


def time_of(body: JsonObject, happened_at_ms: int, accepted_at_ms: int) -> int:
    """Return the client time (Unix ms) of an update that is mapped to `timestamp`, in seconds.

    It is the event's own time, unless another member of the event is mapped.
    """
    mapped = mapped_time_s(body)
    return happened_at_ms if mapped == happened_at_ms // 1000 else min(mapped * 1000, accepted_at_ms)


def mapped_time_s(body: JsonObject) -> int:
    """Return the time of an update as it is mapped, in whole Unix seconds, from the year 1 on."""
    return max(int(body["timestamp"]), _EARLIEST_S)


def has_clocks(effect: Effect, body: JsonObject) -> bool:
    """Whether the operation updates a person or an object. Customer.io stores no attributes of a visitor."""
    if effect == "object":
        return object_key(body) is not None
    if effect != "update":
        return False
    for kind, value in body.get("identifiers", {}).items():
        if kind in _OF_PEOPLE and type(value) is str and value:
            return True
    return False


def object_key(body: JsonObject) -> str | None:
    """Return the ordering key of the object that an operation names; None without one."""
    named = body.get("identifiers", {})
    kind, name = text_of(named.get(_OBJECT_TYPE)), text_of(named.get(_OBJECT_ID))
    return f"object:{kind}:{name}" if kind and name else None


def described_object(body: JsonObject, at_ms: int) -> bytes:
    """Return the update of an object as `choose` in lua/lib/chosen_attributes.lua reads it."""
    names = map(hash_of_name, names_of(body))
    return b"".join((digest(object_key(body) or ""), _NO_ADDRESS, _NONE, stored_time(at_ms), *names))


def described(body: JsonObject, named: Identifiers, keys: Collection[bytes], at_ms: int) -> bytes:
    """Return the update of a person as `choose` in lua/lib/chosen_attributes.lua reads it.

    `named` are the identifiers that it gives. `keys` are the digests of the event's ordering keys: an address that is
    an ignored key belongs to many people.
    """
    names, address, role = names_of(body), _NO_ADDRESS, _NONE
    if named.person and named.email and named.email in keys:
        given = _GIVEN_BY_CIO_ID if _CIO_ID in body.get("identifiers", {}) else _GIVEN
        address, role = named.email, given if names[:1] == [_EMAIL] else _ADDRESSED
    owner = named.person or named.email or _NO_ADDRESS
    return b"".join((owner, address, role, stored_time(at_ms), *map(hash_of_name, names)))


def time_in(described: bytes) -> int:
    """Return the client time (Unix ms) of a described update."""
    return int.from_bytes(described[_TIME])


def stored_time(at_ms: int) -> bytes:
    """Return a client time as clocks store it."""
    return min(max(at_ms, 0), _LATEST_MS).to_bytes(CLOCK_TIME_BYTES)


def read_clocks(stored: bytes) -> dict[bytes, int]:
    """Return the client times (Unix ms) of a person's attributes as they are stored, by the hashes of their names."""
    clocks: dict[bytes, int] = {}
    at = 0
    while at < len(stored):
        names_at = at + CLOCK_TIME_BYTES + 1
        time_ms, count = int.from_bytes(stored[at : names_at - 1]), stored[names_at - 1]
        at = names_at + count * CLOCK_NAME_BYTES
        clocks |= {stored[name : name + CLOCK_NAME_BYTES]: time_ms for name in range(names_at, at, CLOCK_NAME_BYTES)}
    return clocks


def names_of(body: JsonObject) -> list[str]:
    """Return the attributes of an update that have clocks, the e-mail address first."""
    attributes, named = body.get("attributes"), body.get("identifiers", {})
    if not isinstance(attributes, dict):
        return []
    exempt = _ALWAYS_SENT - {"id"} if "cio_id" in named or _OBJECT_ID in named else _ALWAYS_SENT
    names = [name for name in attributes if name not in exempt and name not in named]
    if _EMAIL in attributes and _EMAIL not in named:
        names.remove(_EMAIL)
        names.insert(0, _EMAIL)
    return names


def without_stale(body: JsonObject, kept: Iterator[int]) -> JsonObject:
    """Return the update without the attributes for which `kept` has a `0`: bytes in the order of `names_of`.

    Where nothing remains, the update still creates its person and gives the identifiers.
    """
    stale = {name for name, byte in zip(names_of(body), kept, strict=False) if byte == _STALE}
    if not stale:
        return body
    attributes = {name: value for name, value in body["attributes"].items() if name not in stale}
    return body | {"attributes": attributes}


@lru_cache(maxsize=1024)  # a name may have the length of an event
def hash_of_name(name: str) -> bytes:
    """Return what stands for the name of an attribute."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=CLOCK_NAME_BYTES).digest()
