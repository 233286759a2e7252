"""The identities of people (rules 16-22): people by identifier, and the suppressed identifiers."""

from __future__ import annotations

from simulator.options import Options
from simulator.person import Json, Person

Name = tuple[str, str]  # kind and value of an identifier, in the form that is compared

_KINDS = {"email_or_id": ("id", "email"), "id": ("id",), "email": ("email",)}


class Directory:
    """All people of a workspace. An identifier belongs to one person at most; options state which kinds identify."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}  # by cio_id
        self.kinds: tuple[str, ...] = ()
        self._named: dict[Name, Person] = {}
        self._suppressed: dict[Name, frozenset[Name]] = {}  # identifier → those that were suppressed together with it
        self._left: dict[Name, str] = {}  # identifier → the removal that freed it: "merge" or "delete"
        self._born = 0

    def set_options(self, options: Options) -> None:
        """Apply the options that state which identifiers identify people."""
        self.kinds = (*_KINDS[options.identifiers], *(("phone",) if options.phone else ()))

    def name(self, identifiers: Json) -> Name:
        """Return the identifier in the form that is compared; where e-mail does not identify, an address is an id."""
        kind, value = next(iter(identifiers.items()))
        if kind == "email" and "email" not in self.kinds:
            kind = "id"
        return kind, str(value).lower() if kind == "email" else str(value)

    def find(self, name: Name) -> Person | None:
        """Return the person with this identifier or cio_id; None without one."""
        return self.people.get(name[1]) if name[0] == "cio_id" else self._named.get(name)

    def take_identifiers(self, attributes: Json) -> dict[str, str]:
        """Remove the identifiers from the attributes and return them: kind → value. Empty values are ignored."""
        attributes.pop("cio_id", None)
        given = {kind: attributes.pop(kind) for kind in self.kinds if kind in attributes}
        return {kind: self.name({kind: value})[1] for kind, value in given.items() if value not in (None, "")}

    def create(self, name: Name, received_at: float) -> tuple[Person, str | None]:
        """Create a person with this identifier; return also what freed it: "merge", "delete", or None."""
        self._born += 1
        person = Person(f"{self._born:08x}", self._born, attributes={"created_at": int(received_at)})
        self.people[person.cio_id] = person
        left_by = self._left.get(name)
        self.give(person, *name)
        return person, left_by

    def give(self, person: Person, kind: str, value: str) -> None:
        """Assign a free identifier to the person, in place of the one of that kind."""
        former = getattr(person, kind)
        if former is not None:
            del self._named[kind, former]
        setattr(person, kind, value)
        self._named[kind, value] = person
        self._left.pop((kind, value), None)

    def remove(self, person: Person, by: str) -> frozenset[Name]:
        """Remove the person; `by` is "merge" or "delete". Return the identifiers that this frees."""
        del self.people[person.cio_id]
        person.exists = False
        names = frozenset((kind, getattr(person, kind)) for kind in self.kinds if getattr(person, kind) is not None)
        for name in names:
            del self._named[name]
            self._left[name] = by
        return names

    def is_suppressed(self, name: Name) -> bool:
        """Whether the identifier is suppressed."""
        return name in self._suppressed

    def suppress(self, names: frozenset[Name]) -> None:
        """Suppress the identifiers together: `unsuppress` of one of them applies to all."""
        self._suppressed |= dict.fromkeys(names, names)

    def unsuppress(self, name: Name) -> None:
        """Lift the suppression of the identifier and of those that were suppressed together with it."""
        for together in self._suppressed.get(name, ()):
            self._suppressed.pop(together, None)
