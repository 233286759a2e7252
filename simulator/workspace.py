"""The workspace: people, objects, visitors and what each operation does to them. Pure: time comes from outside.

Numbers are those of the rules in docs/simulator.md. Nothing here fails: the service accepts first and applies later, so
what cannot be done is done partly or not at all, and noted in the activity log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from simulator.objects import Objects
from simulator.operations import ULID
from simulator.options import Options
from simulator.person import NEVER, Json, ObjectKey, Person, Trace, merge_attributes
from simulator.visitors import Visitor

_TRIGGERS_FOR_S = 72 * 3600.0
_TOPIC = "cio_subscription_preferences.topics."
_KINDS = {"email_or_id": ("id", "email"), "id": ("id",), "email": ("email",)}

Name = tuple[str, str]  # kind and value of an identifier, as it is compared


class Workspace:
    """Everything that one workspace knows. `counts` are what tests look for: silent failures, and order gone wrong."""

    def __init__(self, options: Options) -> None:
        self.people: dict[str, Person] = {}  # by cio_id
        self.objects = Objects()
        self.visitors: dict[str, Visitor] = defaultdict(Visitor)  # by anonymous id
        self.counts: Counter[str] = Counter()
        self.activity: list[Json] = []
        self._named: dict[Name, Person] = {}
        self._suppressed: dict[Name, frozenset[Name]] = {}  # each with those that were suppressed with it
        self._left: dict[Name, str] = {}  # who was deleted or merged away, and which of the two
        self._device_owners: dict[str, Person] = {}  # by token
        self._event_ids: dict[str, float] = {}  # → time of receipt
        self._born = 0
        self.set_options(options)

    def set_options(self, options: Options) -> None:
        self.options = options
        self._remember_s = float("inf") if options.dedupe_s is None else options.dedupe_s
        self._kinds = (*_KINDS[options.identifiers], *(("phone",) if options.phone else ()))

    def apply(self, operation: Json, received_at: float, trace: Trace | None = None) -> bool:
        """Do what an accepted operation says; return whether it was new, False for an event that was here before.

        `received_at` is in Unix seconds.
        """
        match operation["type"], operation["action"]:
            case "person", "identify":
                self._identify(operation, received_at, trace)
            case "person", "event" | "page" | "screen" | "viewed_content" | "clicked_content":
                return self._event(operation, received_at)
            case "person", "merge":
                self._merge(operation)
            case "person", "delete":
                self._delete(operation)
            case "person", "suppress":
                self._suppress(operation)
            case "person", "unsuppress":
                self._unsuppress(operation)
            case "person", "add_device":
                self._add_device(operation, received_at)
            case "person", "delete_device":
                self._delete_device(operation)
            case "person", "add_relationships" | "delete_relationships":
                self._relationships_of_person(operation, received_at)
            case "object", _:
                self._object(operation, received_at)
            case _:
                self.note("delivery_event", delivery=operation["identifiers"]["id"], name=operation["name"])
        return True

    def note(self, what: str, **details: Any) -> None:
        """Count it, and write a line of the activity log (41)."""
        self.counts[what] += 1
        if self.options.keep_journal:
            self.activity.append({"type": what, **details})

    # Who is who (16-22)

    def find(self, identifiers: Json) -> Person | None:
        kind, value = self._name(identifiers)
        return self.people.get(value) if kind == "cio_id" else self._named.get((kind, value))

    def _name(self, identifiers: Json) -> Name:
        """Return the identifier as it is compared; where e-mail does not identify, an address is an id."""
        kind, value = next(iter(identifiers.items()))
        if kind == "email" and "email" not in self._kinds:
            kind = "id"
        return kind, str(value).lower() if kind == "email" else str(value)

    def _is_suppressed(self, identifiers: Json) -> bool:
        if not self._suppressed or self._name(identifiers) not in self._suppressed:
            return False
        self.note("ignored", identifiers=identifiers)
        return True

    def _found_or_made(self, identifiers: Json, received_at: float) -> Person | None:
        """Return the person, a bare new one when nobody is there; None for an unknown cio_id, or a suppressed one."""
        if self._is_suppressed(identifiers):
            return None
        person = self.find(identifiers)
        if person is not None:
            return person
        name = self._name(identifiers)
        if name[0] not in self._kinds:
            self.note("failed_event", identifiers=identifiers)
            return None
        return self._create(name, received_at, is_update=False)

    def _create(self, name: Name, received_at: float, *, is_update: bool) -> Person:
        """Make a new person. Nobody who was merged away should come back, nor a deleted one by what they did before."""
        left_by = self._left.pop(name, None)
        if left_by == "merge" or (left_by and not is_update):
            self.note("recreated", after=left_by, name=name)
        self._born += 1
        person = Person(f"{self._born:08x}", self._born, attributes={"created_at": int(received_at)})
        self.people[person.cio_id] = person
        self._give(person, *name)
        self.note("profile_create", cio_id=person.cio_id, name=name)
        return person

    def _give(self, person: Person, kind: str, value: str) -> None:
        former = getattr(person, kind)
        if former is not None:
            del self._named[kind, former]
        setattr(person, kind, value)
        self._named[kind, value] = person

    def _remove(self, person: Person, why: str) -> frozenset[Name]:
        """Remove the person; return the identifiers that are free now."""
        del self.people[person.cio_id]
        person.exists = False
        names = frozenset((kind, getattr(person, kind)) for kind in self._kinds if getattr(person, kind) is not None)
        for name in names:
            del self._named[name]
            self._left[name] = why
        return names

    def _identify(self, operation: Json, received_at: float, trace: Trace | None) -> None:
        identifiers, attributes = operation["identifiers"], dict(operation.get("attributes") or {})
        if "anonymous_id" in identifiers:
            return self.note("ignored", identifiers=identifiers)
        if self._is_suppressed(identifiers):
            return None
        anonymous_id = attributes.pop("anonymous_id", None)
        must_exist = attributes.pop("_update", False) is True
        person = self._identified(self._name(identifiers), self._wanted(attributes), must_exist, received_at)
        if person is None:
            return self.note("failed_attribute_change", reason="nobody has this identifier", identifiers=identifiers)
        self._update(person, attributes, _seconds(operation.get("timestamp"), received_at), trace)
        for relationship in operation.get("cio_relationships") or ():
            self._relate(person, self.objects.key(relationship["identifiers"]), relationship)
        if anonymous_id and self.options.anonymous_merge:
            self._claim(str(anonymous_id), person, received_at)
        return None

    def _wanted(self, attributes: Json) -> dict[str, str]:
        """Take the identifiers that the person shall have out of the attributes."""
        attributes.pop("cio_id", None)
        given = {kind: attributes.pop(kind) for kind in self._kinds if kind in attributes}
        return {kind: self._name({kind: value})[1] for kind, value in given.items() if value not in (None, "")}

    def _identified(self, name: Name, wanted: dict[str, str], must_exist: bool, received_at: float) -> Person | None:
        """The decision table of identities (18): whom an identify is about, with the identifiers they could have."""
        kind, value = name
        person = self.people.get(value) if kind == "cio_id" else self._named.get(name)
        if person is None and kind not in self._kinds:
            return None
        if person is None:
            person = next((self._named[other] for other in wanted.items() if other in self._named), None)
            if person is not None:
                self._rename(person, kind, value)
            elif must_exist:
                return None
            else:
                person = self._create(name, received_at, is_update=True)
        for other, text in wanted.items():
            person = self._with_identifier(person, kind, other, text)
        return person

    def _rename(self, person: Person, kind: str, value: str) -> None:
        """Somebody found by another identifier gets the one that addressed them, if it is still empty (rows 3, 4)."""
        if getattr(person, kind) is None or self.options.id_conflict == "reassign":
            self._give(person, kind, value)
        else:
            self._failed(kind, value)

    def _with_identifier(self, person: Person, addressed_by: str, kind: str, value: str) -> Person:
        """Return the person with the identifier, if they can have it; whoever both are, if the two are one (5-11)."""
        owner = self._named.get((kind, value))
        if owner is person:
            return person
        if owner is not None and self._are_one(person, owner, addressed_by, kind):
            return self._become_one(person, owner)
        may_change = addressed_by == "cio_id" or (
            (addressed_by, kind) == ("id", "email") and self.options.allow_email_update_by_id
        )
        is_free = owner is None and (kind, value) not in self._suppressed
        if is_free and (getattr(person, kind) is None or may_change):
            self._give(person, kind, value)
        else:
            self._failed(kind, value)
        return person

    def _are_one(self, person: Person, owner: Person, addressed_by: str, kind: str) -> bool:
        return (
            self.options.multi_identifier_merge
            and {addressed_by, kind} == {"id", "email"}
            and getattr(person, kind) is None
            and getattr(owner, addressed_by) is None
        )

    def _become_one(self, one: Person, other: Person) -> Person:
        """Merge two who each have what the other lacks; the older remains, with both identifiers (27)."""
        primary, secondary = sorted((one, other), key=lambda person: person.number)
        for name in self._join(primary, secondary):
            self._give(primary, *name)
            del self._left[name]
        return primary

    def _failed(self, kind: str, value: str) -> None:
        reason = "The identifier is already associated with a different profile."
        self.note("failed_attribute_change", attributes={kind: {"reason": reason, "value": value}})

    # Attributes (23, 24)

    def _update(self, person: Person, attributes: Json, at: float, trace: Trace | None) -> None:
        if self.options.stale_updates == "profile" and at < person.updated_at:
            return self.note("skipped_update", cio_id=person.cio_id)
        person.updated_at = max(person.updated_at, at)
        for name, value in attributes.items():
            if at < person.times.get(name, NEVER):
                self.note("skipped_update", cio_id=person.cio_id, attribute=name)
                continue
            if trace is not None:
                before = person.traces.get(name)
                if before and before.stream == trace.stream and before.place > trace.place:
                    self.note("stale_attribute_won", cio_id=person.cio_id, attribute=name)
                person.traces[name] = trace
            person.times[name] = at
            self._set(person.attributes, name, value)
        return None

    def _set(self, attributes: Json, name: str, value: Any) -> None:
        if (value is None or value == "") and self.options.empty_removes:
            attributes.pop(name, None)
        elif name == "unsubscribed":
            attributes[name] = str(value).lower() in ("true", "1")
        elif name.startswith(_TOPIC):
            preferences = attributes.get("cio_subscription_preferences", {})
            topics = preferences.get("topics", {}) | {name.removeprefix(_TOPIC): value}
            attributes["cio_subscription_preferences"] = preferences | {"topics": topics}
        else:
            attributes[name] = value

    # The ends of people (26-29)

    def _merge(self, operation: Json) -> None:
        primary, secondary = self.find(operation["primary"]), self.find(operation["secondary"])
        if primary is None:
            self.note("merge_without_primary", primary=operation["primary"])
        elif secondary is None or secondary is primary:
            self.note("merge_without_secondary", secondary=operation["secondary"])
        else:
            self._join(primary, secondary)

    def _join(self, primary: Person, secondary: Person) -> frozenset[Name]:
        """Give the primary what it lacks and remove the secondary; return the secondary's identifiers."""
        freed = self._remove(secondary, "merge")
        if self.options.devices_on_merge == "drop":
            secondary.devices = {}
        primary.inherit(secondary)
        self._device_owners |= dict.fromkeys(secondary.devices, primary)
        for anonymous_id in secondary.anonymous_ids:
            self.visitors[anonymous_id].claimed_by = primary
        self.note("profile_merge", primary=primary.cio_id, secondary=secondary.cio_id)
        return freed

    def _delete(self, operation: Json) -> None:
        person = self.find(operation["identifiers"])
        if person is not None:
            self._remove(person, "delete")
            self.note("profile_delete", cio_id=person.cio_id)

    def _suppress(self, operation: Json) -> None:
        names = frozenset({self._name(operation["identifiers"])})
        person = self.find(operation["identifiers"])
        if person is not None:
            names |= self._remove(person, "delete")
            self.note("profile_delete", cio_id=person.cio_id)
        self._suppressed |= dict.fromkeys(names, names)

    def _unsuppress(self, operation: Json) -> None:
        for name in self._suppressed.get(self._name(operation["identifiers"]), ()):
            self._suppressed.pop(name, None)

    # What people do (25, 30-36)

    def _event(self, operation: Json, received_at: float) -> bool:
        identifiers = operation.get("identifiers") or {}
        if self._is_repeated(operation.get("id"), received_at):
            self.note("duplicate_event", id=operation["id"])
            return False
        event = {
            "type": operation["action"],
            "name": str(operation.get("name", "")).strip(),
            "timestamp": _seconds(operation.get("timestamp"), received_at),
            "id": operation.get("id"),
            "attributes": operation.get("attributes") or {},
        }
        if not identifiers:
            self.note("failed_event", name=event["name"])
            return True
        person: Person | None
        if "anonymous_id" in identifiers:
            visitor = self.visitors[str(identifiers["anonymous_id"])]
            person = visitor.claimant(received_at)
            if person is None:
                visitor.events.append((event, received_at))
        else:
            person = self._found_or_made(identifiers, received_at)
        if person is not None:
            self._attach(person, event, received_at)
        return True

    def _is_repeated(self, event_id: Any, received_at: float) -> bool:
        """Whether an event with this ULID was received before (30); other ids identify nothing."""
        if not isinstance(event_id, str) or not ULID.fullmatch(event_id):
            return False
        before = self._event_ids.get(event_id.upper())
        if before is not None and received_at - before <= self._remember_s:
            return True
        self._event_ids[event_id.upper()] = received_at
        return False

    def _attach(self, person: Person, event: Json, attached_at: float) -> None:
        event["may_trigger"] = attached_at - event["timestamp"] <= _TRIGGERS_FOR_S
        person.events.append(event)
        self.counts[event["type"]] += 1

    def _claim(self, anonymous_id: str, person: Person, at: float) -> None:
        """Give the person what was done under the anonymous id."""
        visitor = self.visitors[anonymous_id]
        if visitor.claimed_by is None:
            person.anonymous_ids.append(anonymous_id)
            person.relationships |= visitor.relationships
            self.note("anon_merge", anonymous_id=anonymous_id, cio_id=person.cio_id)
        for event in visitor.claim(person, at, reidentify=self.options.late_anonymous == "reidentify"):
            self._attach(person, event, at)

    # Devices (37)

    def _add_device(self, operation: Json, received_at: float) -> None:
        person = self._found_or_made(operation["identifiers"], received_at)
        if person is None:
            return
        device = {"last_used": int(received_at)} | operation["device"]
        token = str(device.pop("token"))
        owner = self._device_owners.get(token)
        if owner is not None and owner is not person and self.options.device_tokens == "unique":
            owner.devices.pop(token, None)
        person.devices[token] = device
        self._device_owners[token] = person
        self.note("device_change", cio_id=person.cio_id, added=token)

    def _delete_device(self, operation: Json) -> None:
        person, token = self.find(operation["identifiers"]), str(operation["device"]["token"])
        if person is not None and person.devices.pop(token, None) is not None:
            self.note("device_change", cio_id=person.cio_id, removed=token)

    # Objects and relationships (38, 39)

    def _relationships_of_person(self, operation: Json, received_at: float) -> None:
        adds = operation["action"] == "add_relationships"
        identifiers = operation["identifiers"]
        person = self._found_or_made(identifiers, received_at) if adds else self.find(identifiers)
        if person is None:
            return
        for relationship in operation["cio_relationships"]:
            key = self.objects.key(relationship["identifiers"])
            if adds:
                self._relate(person, key, relationship)
            else:
                self._part(person, key)

    def _object(self, operation: Json, received_at: float) -> None:
        key, action = self.objects.key(operation["identifiers"]), operation["action"]
        if key is None:
            return self.note("failed_attribute_change", reason="there is no such object")
        if action == "delete":
            self.objects.delete(key)
            for person in self.people.values():
                person.relationships.pop(key, None)
            return None
        if action != "delete_relationships":
            self.objects.update(key, operation.get("attributes") or {})
        for relationship in operation.get("cio_relationships") or ():
            self._relationship_of_object(key, relationship, action != "delete_relationships", received_at)
        return None

    def _relationship_of_object(self, key: ObjectKey, relationship: Json, adds: bool, received_at: float) -> None:
        who = relationship["identifiers"]
        person: Person | None
        if "anonymous_id" in who:
            visitor = self.visitors[str(who["anonymous_id"])]
            person = visitor.claimed_by
            if person is None:
                merge_attributes(visitor.relationships.setdefault(key, {}), _attributes(relationship))
        else:
            person = self._found_or_made(who, received_at) if adds else self.find(who)
        if person is None:
            return
        if adds:
            self._relate(person, key, relationship)
        else:
            self._part(person, key)

    def _relate(self, person: Person, key: ObjectKey | None, relationship: Json) -> None:
        if key is None:
            return
        self.objects.update(key, {})
        merge_attributes(person.relationships.setdefault(key, {}), _attributes(relationship))
        self.note("add_relationship", cio_id=person.cio_id, object=key)

    def _part(self, person: Person, key: ObjectKey | None) -> None:
        if key is not None and person.relationships.pop(key, None) is not None:
            self.note("delete_relationship", cio_id=person.cio_id, object=key)


def _attributes(relationship: Json) -> Json:
    attributes = relationship.get("relationship_attributes")
    return attributes if isinstance(attributes, dict) else {}


def _seconds(timestamp: Any, otherwise: float) -> float:
    is_number = isinstance(timestamp, int | float) and not isinstance(timestamp, bool)
    return timestamp if is_number else otherwise
