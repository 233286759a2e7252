"""The workspace: people, objects, visitors and what each operation does to them. Pure: time comes from outside.

The rules are numbered in docs/simulator.md. Nothing here fails: the service accepts first and applies later, so what
cannot be done is done partly or not at all, and noted in the activity log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator.options import Options

Json = dict[str, Any]

LATE_VISITOR_S = 300.0
_DAY_S = 86_400.0
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_EVENTS = frozenset({"event", "page", "screen"})
_WORDS_FOR_TRUE = ("true", "1")


@dataclass(slots=True, eq=False)
class Person:
    """Somebody. `times` are the timestamps of attributes, `traces` the places in their streams that set them."""

    cio_id: str
    number: int
    id: str | None = None
    email: str | None = None
    attributes: Json = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    traces: dict[str, tuple[str, int]] = field(default_factory=dict)
    updated_at: float = float("-inf")
    devices: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    relationships: dict[tuple[str, str], Json] = field(default_factory=dict)

    def json(self) -> Json:
        return {
            "cio_id": self.cio_id,
            "id": self.id,
            "email": self.email,
            "attributes": self.attributes,
            "devices": [{"token": token} | device for token, device in self.devices.items()],
            "events": self.events,
            "relationships": [
                {"object_type_id": kind, "object_id": name, "attributes": attributes}
                for (kind, name), attributes in self.relationships.items()
            ],
        }


@dataclass(slots=True)
class Claim:
    """Who a visitor turned out to be, and when they said so."""

    person: Person
    at: float


class Workspace:
    """Everything that one workspace knows. `counts` are what tests look for: silent failures, and order gone wrong."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.people: dict[str, Person] = {}  # by cio_id
        self.by: dict[str, dict[str, Person]] = {"id": {}, "email": {}}
        self.objects: dict[tuple[str, str], Json] = {}
        self.suppressed: set[tuple[str, str]] = set()
        self.gone: set[tuple[str, str]] = set()  # identifiers of people who were merged away
        self.device_owners: dict[str, Person] = {}  # by token
        self.event_ids: set[str] = set()
        self.visitors: dict[str, list[tuple[Json, float]]] = {}  # unclaimed events by anonymous id, with arrival
        self.visitor_relationships: dict[str, dict[tuple[str, str], Json]] = {}
        self.claims: dict[str, Claim] = {}
        self.counts: Counter[str] = Counter()
        self.activity: list[Json] = []
        self._born = 0

    def apply(self, operation: Json, arrived_at: float, trace: tuple[str, int] | None = None) -> None:
        """Do what an accepted operation says; `arrived_at` is its receipt in Unix seconds."""
        kind, action = operation["type"], operation["action"]
        if kind == "person":
            if action == "merge":
                self._merge(operation)
            elif action in _EVENTS:
                self._event(operation, arrived_at)
            elif action in ("viewed_content", "clicked_content"):
                self.note(action)
            else:
                getattr(self, f"_{action}")(operation, arrived_at, trace)
        elif kind == "object":
            self._object(operation, arrived_at)
        else:
            self.note("delivery_event")

    def note(self, what: str, **details: Any) -> None:
        """Write a line of the activity log."""
        self.counts[what] += 1
        self.activity.append({"type": what, **details})

    # Finding people

    def find(self, identifiers: Json) -> Person | None:
        (kind, value) = self.normal(identifiers)
        if kind == "cio_id":
            return self.people.get(value)
        return self.by[kind].get(value) if kind in self.by else None

    def normal(self, identifiers: Json) -> tuple[str, str]:
        """Return kind and value; in a workspace where e-mail does not identify, an address is an id."""
        kind, value = next((kind, str(value)) for kind, value in identifiers.items())
        if kind == "email":
            return ("email", value.lower()) if self.options.identifiers == "email_or_id" else ("id", value)
        return kind, value

    def is_suppressed(self, identifiers: Json) -> bool:
        return self.normal(identifiers) in self.suppressed

    def _found_or_made(self, identifiers: Json, arrived_at: float) -> Person | None:
        """Return the person, a bare new one when nobody is there; None for unknown cio_ids."""
        person = self.find(identifiers)
        if person is not None:
            return person
        kind, value = self.normal(identifiers)
        return self._create(kind, value, arrived_at) if kind in self.by else None

    def _create(self, kind: str, value: str, arrived_at: float) -> Person:
        self._born += 1
        person = Person(f"{self._born:08x}", self._born)
        self.people[person.cio_id] = person
        self._set(person, kind, value)
        person.attributes["created_at"] = int(arrived_at)
        if (kind, value) in self.gone:
            self.note("recreated_after_merge", **{kind: value})
        self.note("profile_create", **{kind: value})
        return person

    def _set(self, person: Person, kind: str, value: str) -> None:
        old = getattr(person, kind)
        if old is not None:
            del self.by[kind][old]
        setattr(person, kind, value)
        self.by[kind][value] = person

    def _remove(self, person: Person) -> Iterator[tuple[str, str]]:
        """Remove the person and yield the identifiers that are free now."""
        del self.people[person.cio_id]
        for kind in self.by:
            value = getattr(person, kind)
            if value is not None:
                del self.by[kind][value]
                yield kind, value

    # People

    def _identify(self, operation: Json, arrived_at: float, trace: tuple[str, int] | None) -> None:
        identifiers = operation["identifiers"]
        attributes = dict(operation.get("attributes") or {})
        anonymous_id = attributes.pop("anonymous_id", None)
        if "anonymous_id" in identifiers or self.is_suppressed(identifiers):
            return self.note("ignored")
        must_exist = attributes.pop("_update", False) is True
        wanted = self._wanted_identifiers(attributes, identifiers)
        person = self._identified(identifiers, wanted, must_exist, arrived_at)
        if person is None:
            return self.note("failed_attribute_change", reason="nobody has this identifier", identifiers=identifiers)
        self._update(person, attributes, _seconds(operation.get("timestamp"), arrived_at), trace)
        for relationship in operation.get("cio_relationships") or ():
            self._relate(person, relationship)
        if anonymous_id and self.options.anonymous_merge:
            self._claim(str(anonymous_id), person, arrived_at)
        return None

    def _wanted_identifiers(self, attributes: Json, identifiers: Json) -> dict[str, str]:
        """Take the identifiers out of the attributes."""
        wanted = {}
        for kind in self.by:
            if kind == "email" and self.options.identifiers == "id":
                continue
            value = attributes.pop(kind, None)
            if value not in (None, ""):
                wanted[kind] = str(value).lower() if kind == "email" else str(value)
        kind, _ = self.normal(identifiers)
        wanted.pop(kind, None)
        attributes.pop("cio_id", None)
        return wanted

    def _identified(
        self, identifiers: Json, wanted: dict[str, str], must_exist: bool, arrived_at: float
    ) -> Person | None:
        """The decision table of identities: whom an identify is about, after their identifiers were set."""
        kind, value = self.normal(identifiers)
        person = self.find(identifiers)
        if person is None and kind == "cio_id":
            return None
        if person is None:
            other = next((self.by[name].get(text) for name, text in wanted.items()), None)
            if other is None:
                if must_exist:
                    return None
                person = self._create(kind, value, arrived_at)
            elif getattr(other, kind) is None or self.options.id_conflict == "reassign":
                self._set(other, kind, value)
                person = other
            else:
                self._failed(kind, value)
                return other
        for name, text in wanted.items():
            person = self._with_identifier(person, kind, name, text)
        return person

    def _with_identifier(self, person: Person, addressed_by: str, kind: str, value: str) -> Person:
        """Return the person with the identifier, if they can have it; with whoever had it, if the two are one."""
        now = getattr(person, kind)
        owner = self.by[kind].get(value)
        if owner is person:
            return person
        if owner is None and (kind, value) not in self.suppressed:
            may_change = addressed_by == "cio_id" or (
                kind == "email" and addressed_by == "id" and self.options.allow_email_update_by_id
            )
            if now is None or may_change:
                self._set(person, kind, value)
            else:
                self._failed(kind, value)
            return person
        if owner is not None and self._are_one(person, owner, addressed_by, kind):
            older, younger = sorted((person, owner), key=lambda one: one.number)
            self._join(older, younger)
            return older
        self._failed(kind, value)
        return person

    def _are_one(self, person: Person, owner: Person, addressed_by: str, kind: str) -> bool:
        return (
            self.options.multi_identifier_merge
            and addressed_by in self.by
            and getattr(person, kind) is None
            and getattr(owner, addressed_by) is None
        )

    def _failed(self, kind: str, value: str) -> None:
        reason = "The identifier is already associated with a different profile."
        self.note("failed_attribute_change", **{kind: {"reason": reason, "value": value}})

    def _update(self, person: Person, attributes: Json, at: float, trace: tuple[str, int] | None) -> None:
        if self.options.stale_updates == "profile" and at < person.updated_at:
            return self.note("skipped_update")
        person.updated_at = max(person.updated_at, at)
        for name, value in attributes.items():
            if at < person.times.get(name, float("-inf")):
                self.note("skipped_update", attribute=name)
                continue
            before = person.traces.get(name)
            if trace and before and before[0] == trace[0] and before[1] > trace[1]:
                self.note("stale_attribute_won", attribute=name)
            if trace:
                person.traces[name] = trace
            person.times[name] = at
            if value is None or value == "":
                person.attributes.pop(name, None)
            elif name == "unsubscribed":
                person.attributes[name] = str(value).lower() in _WORDS_FOR_TRUE
            elif name.startswith("cio_subscription_preferences.topics."):
                topics = person.attributes.setdefault("cio_subscription_preferences", {}).setdefault("topics", {})
                topics[name.rpartition(".")[2]] = value
            else:
                person.attributes[name] = value
        return None

    def _merge(self, operation: Json) -> None:
        primary, secondary = self.find(operation["primary"]), self.find(operation["secondary"])
        if primary is None:
            return self.note("merge_without_primary")
        if secondary is None or secondary is primary:
            return self.note("merge_without_secondary")
        self._join(primary, secondary)
        return None

    def _join(self, primary: Person, secondary: Person) -> None:
        """Give the primary what it lacks, and remove the secondary."""
        freed = set(self._remove(secondary))
        for kind, value in freed:
            if getattr(primary, kind) is None:
                self._set(primary, kind, value)
            else:
                self.gone.add((kind, value))
        for name, value in secondary.attributes.items():
            if name not in primary.attributes:
                primary.attributes[name] = value
                primary.times[name] = secondary.times.get(name, float("-inf"))
        primary.events += secondary.events
        primary.devices = secondary.devices | primary.devices
        self.device_owners |= dict.fromkeys(secondary.devices, primary)
        primary.relationships = secondary.relationships | primary.relationships
        for claim in self.claims.values():
            if claim.person is secondary:
                claim.person = primary
        self.note("profile_merge", primary=primary.cio_id, secondary=secondary.cio_id)

    def _delete(self, operation: Json, _arrived_at: float, _trace: object) -> None:
        person = self.find(operation["identifiers"])
        if person is not None:
            list(self._remove(person))
            self.note("profile_delete", cio_id=person.cio_id)

    def _suppress(self, operation: Json, _arrived_at: float, _trace: object) -> None:
        person = self.find(operation["identifiers"])
        self.suppressed.add(self.normal(operation["identifiers"]))
        if person is not None:
            self.suppressed.update(self._remove(person))
            self.note("profile_delete", cio_id=person.cio_id)

    def _unsuppress(self, operation: Json, _arrived_at: float, _trace: object) -> None:
        self.suppressed.discard(self.normal(operation["identifiers"]))

    # What people do

    def _event(self, operation: Json, arrived_at: float) -> None:
        event_id = operation.get("id")
        if isinstance(event_id, str) and _ULID.fullmatch(event_id):
            if event_id in self.event_ids:
                return self.note("duplicate_event")
            self.event_ids.add(event_id)
        event = {
            "type": operation["action"],
            "name": str(operation["name"]).strip(),
            "timestamp": _seconds(operation.get("timestamp"), arrived_at),
            "id": event_id,
            "attributes": operation.get("attributes") or {},
        }
        identifiers = operation.get("identifiers") or {}
        if "anonymous_id" in identifiers:
            return self._visit(str(identifiers["anonymous_id"]), event, arrived_at)
        if not identifiers:
            return self.note("failed_event")
        if self.is_suppressed(identifiers):
            return self.note("ignored")
        person = self._found_or_made(identifiers, arrived_at)
        if person is None:
            return self.note("failed_event", identifiers=identifiers)
        self._attach(person, event, arrived_at)
        return None

    def _attach(self, person: Person, event: Json, now: float) -> None:
        event["may_trigger"] = now - event["timestamp"] <= 3 * _DAY_S
        person.events.append(event)
        self.counts[event["type"]] += 1

    def _visit(self, anonymous_id: str, event: Json, arrived_at: float) -> None:
        claim = self.claims.get(anonymous_id)
        if claim and claim.person.cio_id in self.people and arrived_at - claim.at <= LATE_VISITOR_S:
            self._attach(claim.person, event, arrived_at)
        else:
            self.visitors.setdefault(anonymous_id, []).append((event, arrived_at))

    def _claim(self, anonymous_id: str, person: Person, arrived_at: float) -> None:
        """Say who a visitor is: the first to do so has what the visitor did."""
        claim = self.claims.get(anonymous_id)
        if claim is None:
            self.claims[anonymous_id] = Claim(person, arrived_at)
            self.note("anon_merge", anonymous_id=anonymous_id)
        elif claim.person is not person or self.options.late_anonymous == "strict":
            return
        else:
            claim.at = arrived_at
        for event, received_at in self.visitors.pop(anonymous_id, []):
            if arrived_at - received_at <= 30 * _DAY_S:
                self._attach(person, event, arrived_at)
        person.relationships |= self.visitor_relationships.pop(anonymous_id, {})

    def _add_device(self, operation: Json, arrived_at: float, _trace: object) -> None:
        if self.is_suppressed(operation["identifiers"]):
            return self.note("ignored")
        person = self._found_or_made(operation["identifiers"], arrived_at)
        if person is None:
            return self.note("failed_event")
        device = dict(operation["device"])
        token = str(device.pop("token"))
        owner = self.device_owners.get(token)
        if owner is not None and owner is not person:
            owner.devices.pop(token, None)
        device.setdefault("last_used", int(arrived_at))
        person.devices[token] = device
        self.device_owners[token] = person
        return self.note("device_change")

    def _delete_device(self, operation: Json, _arrived_at: float, _trace: object) -> None:
        person = self.find(operation["identifiers"])
        if person is not None:
            person.devices.pop(str(operation["device"]["token"]), None)
            self.note("device_change")

    # Objects

    def _add_relationships(self, operation: Json, arrived_at: float, _trace: object) -> None:
        person = self._found_or_made(operation["identifiers"], arrived_at)
        if person is not None:
            for relationship in operation["cio_relationships"]:
                self._relate(person, relationship)

    def _delete_relationships(self, operation: Json, _arrived_at: float, _trace: object) -> None:
        person = self.find(operation["identifiers"])
        if person is not None:
            for relationship in operation["cio_relationships"]:
                person.relationships.pop(_object_key(relationship["identifiers"]), None)
                self.note("delete_relationship")

    def _relate(self, person: Person, relationship: Json) -> None:
        related = person.relationships.setdefault(_object_key(relationship["identifiers"]), {})
        _merge_attributes(related, relationship.get("relationship_attributes") or {})
        self.note("add_relationship")

    def _object(self, operation: Json, arrived_at: float) -> None:
        key, action = _object_key(operation["identifiers"]), operation["action"]
        if action == "delete":
            self.objects.pop(key, None)
            for person in self.people.values():
                person.relationships.pop(key, None)
            return
        if action in ("identify", "identify_anonymous", "add_relationships"):
            _merge_attributes(self.objects.setdefault(key, {}), operation.get("attributes") or {})
        for relationship in operation.get("cio_relationships") or ():
            who = relationship["identifiers"]
            attributes = relationship.get("relationship_attributes") or {}
            if "anonymous_id" in who:
                self._relate_visitor(str(who["anonymous_id"]), key, attributes)
            elif action == "delete_relationships":
                leaving = self.find(who)
                if leaving is not None:
                    leaving.relationships.pop(key, None)
            elif not self.is_suppressed(who):
                joining = self._found_or_made(who, arrived_at)
                if joining is not None:
                    _merge_attributes(joining.relationships.setdefault(key, {}), attributes)

    def _relate_visitor(self, anonymous_id: str, key: tuple[str, str], attributes: Json) -> None:
        claim = self.claims.get(anonymous_id)
        if claim and claim.person.cio_id in self.people:
            _merge_attributes(claim.person.relationships.setdefault(key, {}), attributes)
        else:
            self.visitor_relationships.setdefault(anonymous_id, {})[key] = attributes


def _object_key(identifiers: Json) -> tuple[str, str]:
    if "cio_object_id" in identifiers:
        return "cio", str(identifiers["cio_object_id"])
    return str(identifiers["object_type_id"]), str(identifiers["object_id"])


def _merge_attributes(into: Json, attributes: Json) -> None:
    for name, value in attributes.items():
        if value is None or value == "":
            into.pop(name, None)
        else:
            into[name] = value


def _seconds(timestamp: Any, otherwise: float) -> float:
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    return timestamp if is_number else otherwise
