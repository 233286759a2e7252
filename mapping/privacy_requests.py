"""Orders to forget a person: Segment's deletion request, and what an operator says with `segue forget`.

An order travels as an event of its own: it stands in the person's lanes behind all that came before it, and comes to
one operation for each identifier that Customer.io may know the person by. No trigger is asked, as in Segment.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from mapping import identifiers
from mapping.actions import ACTIONS
from mapping.coercion import text_of
from mapping.envelope import JsonObject
from mapping.operation import ENTITY_PATH, Operation
from mapping.ordering_keys import IdentifierScheme, anonymous_key, email_key, person_key

DELETION: Final = "delete"  # the type of Segment's deletion request
_OPERATORS: Final = "segue order"  # the type of an operator's; ingest takes none from outside

PrivacyAction = Literal["delete", "suppress", "unsuppress"]  # each is the effect of the action that carries it out
_ACTIONS: Final[tuple[PrivacyAction, ...]] = get_args(PrivacyAction)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody by every identity that is known of them."""

    user_ids: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    anonymous_ids: tuple[str, ...] = ()

    def keys(self, scheme: IdentifierScheme) -> tuple[str, ...]:
        """Return the ordering keys of all identities."""
        keys = [person_key(text, scheme) for text in (*self.user_ids, *self.emails)]
        keys += [key for text in self.emails if (key := email_key(text, scheme))]
        keys += [anonymous_key(text, scheme) for text in self.anonymous_ids]
        return tuple(dict.fromkeys(keys))

    def texts(self) -> tuple[str, ...]:
        """Return all identities as they were given."""
        return (*self.user_ids, *self.emails, *self.anonymous_ids)


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """What is to be done with a person at Customer.io; whoever is deleted or suppressed is forgotten here."""

    person: Person
    action: PrivacyAction

    def event(self, message_id: str) -> JsonObject:
        """Return the event that carries an operator's order."""
        person = {kind: list(texts) for kind, texts in asdict(self.person).items()}
        return {"type": _OPERATORS, "messageId": message_id, "action": self.action, "person": person}


def privacy_request_of(event: JsonObject) -> PrivacyRequest | None:
    """Return the order that the event is; None for any other event."""
    kind = event.get("type")
    if kind not in (DELETION, _OPERATORS):
        return None
    if kind == DELETION:
        user_id, anonymous_id = text_of(event.get("userId")), text_of(event.get("anonymousId"))
        return PrivacyRequest(
            Person((user_id,) if user_id else (), (), (anonymous_id,) if anonymous_id else ()), "delete"
        )
    person, action = event.get("person"), event.get("action")
    if type(person) is dict and type(action) is str and action in _ACTIONS:
        return PrivacyRequest(
            Person(_texts(person.get("user_ids")), _texts(person.get("emails")), _texts(person.get("anonymous_ids"))),
            action,
        )
    return None


def operations(order: PrivacyRequest) -> tuple[Operation, ...]:
    """Return what is to be sent. A visitor of whom only anonymous ids are known is nobody at Customer.io."""
    people = [identifiers.person(text) for text in (*order.person.user_ids, *order.person.emails)]
    distinct = [who for at, who in enumerate(people) if who not in people[:at]]
    slug = next(action.slug for action in ACTIONS.values() if action.effect == order.action)
    return tuple(
        Operation(-1, slug, order.action, ENTITY_PATH, {"type": "person", "action": order.action, "identifiers": who})
        for who in distinct
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if type(text) is str) if type(value) is list else ()
