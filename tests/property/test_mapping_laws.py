"""Laws of mapping: it is pure and total, independent of the order of subscriptions, and complete in its keys."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.identity_memory import named_in
from mapping import (
    Destination,
    batch_results,
    compile_destination,
    destination_of,
    event_results,
    ordering_keys,
    translate,
)
from mapping.actions import ACTIONS
from mapping.directives import DIRECTIVES
from mapping.errors import InvalidPayload, Rejected
from mapping.identifiers import CIO_PREFIX
from mapping.liquid.filters import FILTERS
from mapping.operation import Operation, Translation
from mapping.ordering_keys import IdentifierScheme

NOW_S = 1717243200.0
NOW = "2024-06-01T12:00:00Z"
SETTINGS = {"siteId": "s", "apiKey": "k"}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["", "2024-03-05T10:20:30Z", "2024-02-30", "-5", "Jo@example.com", "cio_1", "42", "{{userId}}", "$.a"]
    ),
)
KEYS = ["a", "email", "id", "userId", "properties", "traits", "token", "device", "personas", "objectId", "0"]
keys = st.sampled_from(KEYS) | st.text(max_size=4)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=10
)
ids = st.sampled_from(["u", "42", "jo@example.com", "JO@Example.com", "cio_af12", "anon"]) | scalars
event_names = st.sampled_from(
    ["Order Placed", "Application Opened", "Device Deleted", "Relationship Deleted", "User Deleted", "Object Deleted",
     "User Suppressed", "User Unsuppressed", "Report Delivery Event", "Report Content Event"]
)  # fmt: skip
attributes = st.dictionaries(
    st.sampled_from(["email", "objectId", "object_type_id", "url", "deliveryId", "metric", "timestamp", "actionType"]),
    scalars,
    max_size=4,
)
events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["track", "identify", "page", "screen", "group", "alias"]) | scalars,
        "receivedAt": st.just(NOW),
    },
    optional={
        "event": event_names | json_values,
        "messageId": scalars,
        "timestamp": scalars,
        "userId": ids | json_values,
        "anonymousId": ids | json_values,
        "previousId": ids | json_values,
        "groupId": ids | json_values,
        "name": scalars,
        "properties": attributes | json_values,
        "traits": attributes | json_values,
        "context": st.fixed_dictionaries({"device": st.fixed_dictionaries({"token": ids, "type": scalars})})
        | json_values,
    },
)
paths = st.sampled_from(["$.userId", "$.traits.email", "$.properties", "$.a[0].b", "$.", "$.anonymousId", "$.event"])
directives = st.sampled_from(sorted(DIRECTIVES))
OPTIONS = ["value", "mode", "exists", "then", "objects", "direction", "operator", "pattern", "separator", "apply"]
pieces = st.recursive(
    scalars | st.builds(lambda path: {"@path": path}, paths),
    lambda inner: st.one_of(
        st.dictionaries(directives, inner, min_size=1, max_size=1),
        st.dictionaries(
            directives,
            st.dictionaries(st.sampled_from(OPTIONS), inner | st.sampled_from(["left", "decode", "."]), max_size=3),
            min_size=1,
            max_size=1,
        ),
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)
LIQUID = """{{ }} {% %} a userId | upcase date: '%Y' if endif : assign x = 1 . [ ] == plus: traits.email - é raw endraw
    {%if a<userId%} {%else%} {%endif%} {%echo a%} {{userId}} {{a|size}} contains > >= or and nil blank empty"""
NOW_DATE = "'now' | date: '%s%L'"
filtered = st.builds(
    lambda value, filters: {"@liquid": "{{ " + " | ".join([value, *filters]) + " }}"},
    st.sampled_from(
        [
            "a",
            "userId",
            "properties",
            "traits.email",
            "missing",
            "1.5",
            "'x y'",
            "nil",
            "true",
            "(1..3)",
            "now",
            NOW_DATE,
        ]
    ),
    st.lists(
        st.sampled_from(sorted(FILTERS)).flatmap(lambda name: st.sampled_from([name, f"{name}: 1", f"{name}: a, 'x'"])),
        max_size=3,
    ),
)
liquids = filtered | st.lists(st.sampled_from(LIQUID.split()), max_size=10).map(
    lambda parts: {"@liquid": " ".join(parts)}
)
actions = st.sampled_from(list(ACTIONS.values()))
triggers = st.sampled_from(['type = "track"', "userId != null", "type != 5", "properties.\\. = 1", "((", ""]) | scalars


@st.composite
def subscriptions(draw: st.DrawFn) -> dict[str, Any]:
    action = draw(actions)
    changed = draw(
        st.dictionaries(st.sampled_from([field.key for field in action.fields]), pieces | liquids, max_size=3)
    )
    mapping = {**action.default_mapping, **changed}
    return {"subscribe": draw(triggers), "partnerAction": action.slug, "mapping": mapping}


PRESETS = compile_destination("presets")


class TestTranslate:
    @settings(max_examples=3_000)
    @given(events | json_values)
    def test_any_event_is_translated_without_other_errors_and_unchanged(self, event: Any) -> None:
        before = deepcopy(event)
        translation = translate(event, PRESETS, NOW_S)
        assert all(isinstance(failure.error, Rejected) for failure in translation.failures)
        assert all(type(operation.body) is dict for operation in translation.operations)
        assert event == before

    @given(events)
    def test_every_body_can_be_encoded_as_json(self, event: Any) -> None:
        for operation in translate(event, PRESETS, NOW_S).operations:
            assert orjson.loads(orjson.dumps(operation.body)) is not None

    @given(events, st.lists(subscriptions(), min_size=1, max_size=3))
    def test_a_translation_is_repeatable(self, event: Any, rows: list[Any]) -> None:
        destination = destination_of(SETTINGS, rows)
        first, second = (translate(event, destination, NOW_S) for _ in range(2))
        assert first.operations == second.operations
        assert reasons(first) == reasons(second)

    @given(events, st.lists(subscriptions(), min_size=2, max_size=4), st.randoms())
    def test_the_order_of_subscriptions_does_not_change_the_operations(
        self, event: Any, rows: list[Any], random: Any
    ) -> None:
        shuffled = random.sample(rows, len(rows))
        first, second = (
            translate(event, destination_of(SETTINGS, listed), NOW_S).operations for listed in (rows, shuffled)
        )
        assert sorted(map(sent, first)) == sorted(map(sent, second))


class TestResults:
    @settings(max_examples=1_000)
    @given(events | json_values, st.lists(subscriptions() | json_values, max_size=3), st.booleans())
    def test_any_json_value_has_results_as_event_as_mapping_and_as_batch(
        self, event: Any, rows: list[Any], in_batch: bool
    ) -> None:
        destination = destination_of(SETTINGS, rows)
        results = (
            batch_results([event, event], destination, NOW_S) if in_batch else event_results(event, destination, NOW_S)
        )
        assert results.keys() == {"requests", "results", "error"}

    @given(json_values)
    def test_any_json_value_as_settings_is_a_destination_or_refused(self, value: Any) -> None:
        try:
            destination = destination_of(value, [])
        except InvalidPayload:
            return
        assert destination.url.startswith("https://track")


class TestOrderingKeys:
    @settings(max_examples=2_000)
    @given(events | json_values)
    def test_every_person_in_an_operation_is_a_key_of_its_event(self, event: Any) -> None:
        assert_keys_are_complete(event, PRESETS)

    @given(events, st.lists(subscriptions(), min_size=1, max_size=3))
    def test_every_person_in_an_operation_of_any_mapping_is_a_key_of_its_event(
        self, event: Any, rows: list[Any]
    ) -> None:
        destination = destination_of(SETTINGS, rows)
        keys = ordering_keys(event, destination)
        assert len(set(keys)) == len(keys)
        assert_keys_are_complete(event, destination)

    @pytest.mark.parametrize("scheme", ["email_or_id", "id"])
    @given(events)
    def test_a_person_is_remembered_by_an_ordering_key_of_the_event(self, scheme: IdentifierScheme, event: Any) -> None:
        """Else an erasure, which knows these keys, would not find what is remembered."""
        destination = compile_destination("d", identifiers=scheme)
        keys = ordering_keys(event, destination)
        for operation in translate(event, destination, NOW_S).operations:
            assert set(named_in(operation.body, scheme)) <= set(keys)


def assert_keys_are_complete(event: Any, destination: Destination) -> None:
    keys = ordering_keys(event, destination)
    for operation in translate(event, destination, NOW_S).operations:
        for scheme, value in people_of(operation):
            assert key_of(scheme, value) in keys


def reasons(translation: Translation) -> list[tuple[int, str, str]]:
    return [(failure.subscription, failure.error_class, failure.message) for failure in translation.failures]


def sent(operation: Operation) -> str:
    return repr((operation.action, operation.path, operation.body))


def people_of(operation: Operation) -> list[tuple[str, Any]]:
    """Return every identifier of a person in the body: its own, those of a merge and those in relationships."""
    named = [operation.body.get(name) for name in ("identifiers", "primary", "secondary")]
    related = [each.get("identifiers") for each in operation.body.get("cio_relationships") or ()]
    people = [who for who in [*named, *related] if type(who) is dict and "object_id" not in who]
    return [pair for who in people for pair in who.items() if pair[0] in ("id", "email", "cio_id", "anonymous_id")]


def key_of(scheme: str, value: str) -> str:
    if scheme == "email":
        return f"email:{value.lower()}"
    return f"{scheme}:{value.removeprefix(CIO_PREFIX) if scheme == 'cio_id' else value}"
