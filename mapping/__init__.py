"""Translate Segment events to Customer.io operations.

    journeys = destinations(document)["journeys"]      # the configuration, compiled once
    ordering_keys(event, journeys)                     # the keys that the event is ordered by
    translate(event, journeys, now_s)                  # filter, map, validate: operations and failures

The package is pure: it uses no store, no network, no clock and no randomness. The same event, destination and time
always give the same result. `translate` and `ordering_keys` raise for no JSON value.

The results are those of Segment's Customer.io destination, called *the reference* (docs/compatibility.md).
"""

from mapping.actions import effect_of
from mapping.configuration import destinations, lint_warnings
from mapping.delivery import Delivery
from mapping.destination import Destination, compile_destination
from mapping.directives import transform, transform_batch, validate_mapping
from mapping.errors import ConfigurationError, MappingError
from mapping.explain import Decision, Explanation, explain
from mapping.operation import CHANGES_IDENTITY, IRREVERSIBLE, Effect, Failure, Operation, Translation
from mapping.ordering import OrderingInfo, ordering_info, ordering_keys, orderings
from mapping.privacy_requests import DELETION, Person, PrivacyAction, PrivacyRequest, privacy_request_of
from mapping.reference_results import (
    batch_results,
    credentials_results,
    deletion_results,
    destination_of,
    event_results,
)
from mapping.restrictions import RESTRICTED, Restrictions
from mapping.translation import translate

__all__ = [
    "CHANGES_IDENTITY",
    "DELETION",
    "IRREVERSIBLE",
    "RESTRICTED",
    "ConfigurationError",
    "Decision",
    "Delivery",
    "Destination",
    "Effect",
    "Explanation",
    "Failure",
    "MappingError",
    "Operation",
    "OrderingInfo",
    "Person",
    "PrivacyAction",
    "PrivacyRequest",
    "Restrictions",
    "Translation",
    "batch_results",
    "compile_destination",
    "credentials_results",
    "deletion_results",
    "destination_of",
    "destinations",
    "effect_of",
    "event_results",
    "explain",
    "lint_warnings",
    "ordering_info",
    "ordering_keys",
    "orderings",
    "privacy_request_of",
    "transform",
    "transform_batch",
    "translate",
    "validate_mapping",
]
