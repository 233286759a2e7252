"""The workspace: people, objects and visitors, and the effect of each operation. It is pure: callers pass the time.

Numbers are those of the rules in docs/simulator.md. Operations do not fail: the service accepts them first and applies
them later. An operation that cannot be applied has a partial effect or none, and an entry in the activity log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from simulator.directory import Directory, Name
from simulator.objects import Objects
from simulator.operations import ULID
from simulator.options import Options
from simulator.person import NEVER, Json, ObjectKey, Person, Trace, merge_attributes
from simulator.visitors import Visitor

_TRIGGERS_FOR_S = 72 * 3600.0
_TOPIC = "cio_subscription_preferences.topics."


class Workspace:
    """The data of one workspace. `counts` holds what tests check: silent failures and violations of order."""

    def __init__(self, options: Options) -> None:
        self.objects = Objects()
        self.visitors: dict[str, Visitor] = defaultdict(Visitor)  # by anonymous id
        self.counts: Counter[str] = Counter()
        self.activity: list[Json] = []
        self._directory = Directory()
        self._device_owners: dict[str, Person] = {}  # by token
        self._event_ids: dict[str, float] = {}  # ULID, with the person in the scope `person` → time of receipt
        self.set_options(options)

    def set_options(self, options: Options) -> None:
        """Replace all options."""
        self.options = options
        self._remember_s = float("inf") if options.dedupe_s is None else options.dedupe_s
        self._directory.set_options(options)

    @property
    def people(self) -> dict[str, Person]:
        """All people, by cio_id."""
        return self._directory.people

    def find(self, identifiers: Json) -> Person | None:
        """Return the person with this identifier, `{kind: value}`; None without one."""
        return self._directory.find(self._directory.name(identifiers))

    def apply(self, operation: Json, received_at: float, trace: Trace | None = None) -> bool:
        """Apply an accepted operation; return False for an event that was received before, else True.

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
                self._directory.unsuppress(self._directory.name(operation["identifiers"]))
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
        """Count an entry of the type `what` and write it to the activity log (rule 41)."""
        self.counts[what] += 1
        if self.options.keep_journal:
            self.activity.append({"type": what, **details})

    # Identities (16-22)

    def _is_ignored(self, identifiers: Json) -> bool:
        if not self._directory.is_suppressed(self._directory.name(identifiers)):
            return False
        self.note("ignored", identifiers=identifiers)
        return True

    def _found_or_made(self, identifiers: Json, received_at: float) -> Person | None:
        """Return the person, created if necessary; None for an unknown cio_id or a suppressed person."""
        if self._is_ignored(identifiers):
            return None
        name = self._directory.name(identifiers)
        person = self._directory.find(name)
        if person is None and name[0] not in self._directory.kinds:
            self.note("failed_event", identifiers=identifiers)
        elif person is None:
            return self._create(name, received_at, is_update=False)
        return person

    def _create(self, name: Name, received_at: float, *, is_update: bool) -> Person:
        """Create a person; count `recreated` when a merged person returns, or a deleted one without an update."""
        person, left_by = self._directory.create(name, received_at)
        self.note("profile_create", cio_id=person.cio_id, name=name)
        if left_by == "merge" or (left_by and not is_update):
            self.note("recreated", cio_id=person.cio_id, after=left_by)
        return person

    def _identify(self, operation: Json, received_at: float, trace: Trace | None) -> None:
        identifiers, attributes = operation["identifiers"], dict(operation.get("attributes") or {})
        if "anonymous_id" in identifiers:
            return self.note("ignored", identifiers=identifiers)
        if self._is_ignored(identifiers):
            return None
        anonymous_id = attributes.pop("anonymous_id", None)
        must_exist = attributes.pop("_update", False) is True
        wanted = self._directory.take_identifiers(attributes)
        person = self._identified(self._directory.name(identifiers), wanted, must_exist, received_at)
        if person is None:
            return self.note("failed_attribute_change", reason="no person has this identifier", identifiers=identifiers)
        self._update(person, attributes, _seconds(operation.get("timestamp"), received_at), trace)
        for relationship in operation.get("cio_relationships") or ():
            self._relate(person, self.objects.key(relationship["identifiers"]), relationship)
        if anonymous_id and self.options.anonymous_merge:
            self._claim(str(anonymous_id), person, received_at)
        return None

    def _identified(self, name: Name, wanted: dict[str, str], must_exist: bool, received_at: float) -> Person | None:
        """Return the person of an identify, with identifiers assigned: the decision table of identities (rule 18)."""
        find = self._directory.find
        kind, value = name
        person = find(name)
        if person is None and kind not in self._directory.kinds:
            return None
        if person is None:
            person = next(filter(None, map(find, wanted.items())), None)
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
        """Assign the addressing identifier to a person who was found by another one, if they have none (rows 3, 4)."""
        if getattr(person, kind) is None or self.options.id_conflict == "reassign":
            self._directory.give(person, kind, value)
        else:
            self._failed(kind, value)

    def _with_identifier(self, person: Person, addressed_by: str, kind: str, value: str) -> Person:
        """Assign the identifier if possible; return the person, or the result of a merge with its owner (rows 5-11)."""
        owner = self._directory.find((kind, value))
        if owner is person:
            return person
        if owner is not None and self._are_one(person, owner, addressed_by, kind):
            return self._merge_partial(person, owner)
        may_change = addressed_by == "cio_id" or (
            (addressed_by, kind) == ("id", "email") and self.options.allow_email_update_by_id
        )
        is_free = owner is None and not self._directory.is_suppressed((kind, value))
        if is_free and (getattr(person, kind) is None or may_change):
            self._directory.give(person, kind, value)
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

    def _merge_partial(self, person: Person, owner: Person) -> Person:
        """Merge two people who each lack the identifier of the other; the older remains, with both (rule 27)."""
        primary, secondary = sorted((person, owner), key=lambda each: each.number)
        for name in self._join(primary, secondary):
            self._directory.give(primary, *name)
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
                if before and before.stream == trace.stream and before.position > trace.position:
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

    # Merges, deletions and suppressions (26-29)

    def _merge(self, operation: Json) -> None:
        primary, secondary = self.find(operation["primary"]), self.find(operation["secondary"])
        if primary is None:
            self.note("merge_without_primary", primary=operation["primary"])
        elif secondary is None or secondary is primary:
            self.note("merge_without_secondary", secondary=operation["secondary"])
        else:
            self._join(primary, secondary)

    def _join(self, primary: Person, secondary: Person) -> frozenset[Name]:
        """Merge the secondary into the primary and remove it; return the identifiers of the secondary."""
        freed = self._directory.remove(secondary, "merge")
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
            self._directory.remove(person, "delete")
            self.note("profile_delete", cio_id=person.cio_id)

    def _suppress(self, operation: Json) -> None:
        name = self._directory.name(operation["identifiers"])
        person = self._directory.find(name)
        names = frozenset({name})
        if person is not None:
            names |= self._directory.remove(person, "delete")
            self.note("profile_delete", cio_id=person.cio_id)
        self._directory.suppress(names)

    # Events (25, 30-36)

    def _event(self, operation: Json, received_at: float) -> bool:
        identifiers = operation.get("identifiers") or {}
        if self._is_repeated(operation.get("id"), identifiers, received_at):
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

    def _is_repeated(self, event_id: Any, identifiers: Json, received_at: float) -> bool:
        """Whether an event with this ULID was received before (rule 30); other ids are ignored."""
        if not isinstance(event_id, str) or not ULID.fullmatch(event_id):
            return False
        key = event_id.upper()
        if self.options.dedupe_scope == "person":
            key += f" {identifiers}"
        before = self._event_ids.get(key)
        if before is not None and received_at - before <= self._remember_s:
            return True
        self._event_ids[key] = received_at
        return False

    def _attach(self, person: Person, event: Json, attached_at: float) -> None:
        event["may_trigger"] = attached_at - event["timestamp"] <= _TRIGGERS_FOR_S
        person.events.append(event)
        self.counts[event["type"]] += 1

    def _claim(self, anonymous_id: str, person: Person, at: float) -> None:
        """Give the events and relationships of the anonymous id to the person."""
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
        if self.options.most_devices is not None and len(person.devices) > self.options.most_devices:
            del person.devices[next(iter(person.devices))]
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
