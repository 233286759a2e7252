"""Segment events to Customer.io operations: pure, no store, no network, no clock.

    journeys = destinations(document)["journeys"]      # configuration, compiled once
    ordering_keys(event, journeys)                     # what the event is ordered by
    translate(event, journeys, now_s)                  # filter, map, validate: operations and failures

The behaviour is that of Segment's Customer.io destination action, answer for answer (docs/compatibility.md). The same
event, destination and clock always give the same result, and no JSON makes `translate` or `ordering_keys` raise.
"""

from mapping.configuration import destinations, surprises
from mapping.delivery import Delivery
from mapping.destination import Destination, compile_destination
from mapping.directives import transform, transform_batch
from mapping.directives.validate import validate_mapping
from mapping.errors import ConfigurationError, MappingError
from mapping.explain import Decision, Explanation, explain
from mapping.operation import Failure, Operation, Translation
from mapping.ordering import Placement, ordering_keys, placement
from mapping.privacy_requests import DELETION, Order, OrderedAction, Person, order_of
from mapping.reference_results import answer_batch, answer_credentials, answer_deletion, answer_event, destination_of
from mapping.translation import translate

__all__ = [
    "DELETION",
    "ConfigurationError",
    "Decision",
    "Delivery",
    "Destination",
    "Explanation",
    "Failure",
    "MappingError",
    "Operation",
    "Order",
    "OrderedAction",
    "Person",
    "Placement",
    "Translation",
    "answer_batch",
    "answer_credentials",
    "answer_deletion",
    "answer_event",
    "compile_destination",
    "destination_of",
    "destinations",
    "explain",
    "order_of",
    "ordering_keys",
    "placement",
    "surprises",
    "transform",
    "transform_batch",
    "translate",
    "validate_mapping",
]
