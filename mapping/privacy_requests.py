"""Privacy requests: Segment's deletion request, and the requests of operators (`segue forget`, `segue unsuppress`).

A privacy request is an event. It is ordered like other events, by all identities of the person. It makes an operation
for each identifier by which Customer.io may know the person. Subscriptions do not apply to it, as in Segment.
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
_FROM_OPERATOR: Final = "segue privacy request"  # the type of an operator's; ingest does not accept it
_TYPES: Final = (DELETION, _FROM_OPERATOR)

# Each is also the effect of the action that performs it, and Customer.io's name of the operation.
PrivacyAction = Literal["delete", "suppress", "unsuppress"]
_ACTIONS: Final[tuple[PrivacyAction, ...]] = get_args(PrivacyAction)


@dataclass(frozen=True, slots=True)
class Person:
    """A person, by all identities that are known."""

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
        """Return all identities, unchanged."""
        return (*self.user_ids, *self.emails, *self.anonymous_ids)


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """A request for an action on a person. Deletion and suppression also erase the data that Segue stores of them."""

    person: Person
    action: PrivacyAction

    def event(self, message_id: str) -> JsonObject:
        """Return the event of an operator's request: `{"type", "messageId", "action", "person"}`."""
        person = {kind: list(texts) for kind, texts in asdict(self.person).items()}
        return {"type": _FROM_OPERATOR, "messageId": message_id, "action": self.action, "person": person}


def privacy_request_of(event: JsonObject) -> PrivacyRequest | None:
    """Return the privacy request in an event; None if it is another event."""
    kind = event.get("type")
    if kind not in _TYPES:
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


def operations_of(request: PrivacyRequest) -> tuple[Operation, ...]:
    """Return the operations of a request; none for anonymous ids, which Customer.io does not store as people."""
    person, verb = request.person, request.action
    named = [identifiers.of_person(text) for text in (*person.user_ids, *person.emails)]
    distinct = [who for index, who in enumerate(named) if who not in named[:index]]
    slug = next(action.slug for action in ACTIONS.values() if action.effect == verb)
    return tuple(
        Operation(-1, slug, verb, ENTITY_PATH, {"type": "person", "action": verb, "identifiers": who})
        for who in distinct
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if type(text) is str) if type(value) is list else ()
