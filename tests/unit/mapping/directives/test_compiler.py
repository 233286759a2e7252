"""What each directive makes of an event, and how a wrong one says so."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from mapping import destination_of, transform, transform_batch, translate
from mapping.errors import FailedDirective, InvalidMapping
from mapping.javascript import UNDEFINED

EVENT = {
    "name": "Order Placed",
    "zero": 0,
    "none": None,
    "empty": "",
    "items": [{"sku": "a", "price": 1}, {"sku": "b"}],
    "nested": {"a": {"b": 1}, "list": [1, [2]], "nothing": {}},
    "json": '{"x": [1, null]}',
}
NAME = {"@path": "$.name"}


def made(mapping: Any, event: Any = EVENT) -> Any:
    return transform({"f": mapping}, event, 0.0).get("f", UNDEFINED)


class TestIf:
    @pytest.mark.parametrize(("path", "answer"), [("name", "yes"), ("zero", "yes"), ("empty", "yes"), ("none", "no")])
    def test_exists_is_neither_null_nor_missing(self, path: str, answer: str) -> None:
        assert made({"@if": {"exists": {"@path": f"$.{path}"}, "then": "yes", "else": "no"}}) == answer

    @pytest.mark.parametrize(("path", "answer"), [("name", "yes"), ("zero", "no"), ("empty", "no"), ("none", "no")])
    def test_blank_means_not_blank(self, path: str, answer: str) -> None:
        assert made({"@if": {"blank": {"@path": f"$.{path}"}, "then": "yes", "else": "no"}}) == answer

    @pytest.mark.parametrize("otherwise", [0, "", False, None])
    def test_a_falsy_else_is_as_good_as_none(self, otherwise: Any) -> None:
        assert made({"@if": {"exists": {"@path": "$.none"}, "then": 1, "else": otherwise}}) is UNDEFINED

    def test_a_falsy_then_is_kept(self) -> None:
        assert made({"@if": {"exists": NAME, "then": 0, "else": 1}}) == 0

    def test_what_is_asked_for_may_be_what_is_taken(self) -> None:
        first = {"@path": "$.none"}
        assert made({"@if": {"exists": first, "then": first, "else": NAME}}) == "Order Placed"
        assert made({"@if": {"exists": NAME, "then": NAME, "else": first}}) == "Order Placed"

    def test_true_is_not_one(self) -> None:
        assert made({"@if": {"exists": 1, "then": True}}) is True


class TestTexts:
    def test_case_changes_texts_only(self) -> None:
        assert made({"@case": {"operator": "upper", "value": NAME}}) == "ORDER PLACED"
        assert made({"@case": {"operator": "lower", "value": {"@path": "$.items"}}}) == EVENT["items"]

    def test_an_operator_is_only_looked_at_when_there_is_a_text(self) -> None:
        assert made({"@case": {"operator": "title", "value": {"@path": "$.zero"}}}) == 0
        with pytest.raises(FailedDirective, match='"lower" or "upper"'):
            made({"@case": {"operator": "title", "value": NAME}})

    def test_replace_is_everywhere_and_minds_case_unless_told_otherwise(self) -> None:
        assert made({"@replace": {"pattern": "e", "replacement": "3", "value": NAME}}) == "Ord3r Plac3d"
        assert made({"@replace": {"pattern": "E", "value": NAME, "ignorecase": True, "global": False}}) == "Ordr Placed"

    def test_a_replacement_may_refer_to_what_it_replaces(self) -> None:
        assert made({"@replace": {"pattern": "Order", "replacement": "<$&>$$", "value": NAME}}) == "<Order>$ Placed"

    def test_replace_makes_nothing_of_what_is_no_scalar(self) -> None:
        assert made({"@replace": {"pattern": "a", "value": {"@path": "$.items"}}}) == ""


class TestShapes:
    def test_array_path_shapes_each_item(self) -> None:
        assert made({"@arrayPath": ["$.items", {"id": {"@path": "$.sku"}}]}) == [{"id": "a"}, {"id": "b"}]

    def test_array_path_takes_an_object_for_a_list_of_one(self) -> None:
        assert made({"@arrayPath": ["$.nested.a", {"x": {"@path": "$.b"}}]}) == [{"x": 1}]

    def test_flatten_joins_names_and_drops_what_is_empty(self) -> None:
        flat = made({"@flatten": {"value": {"@path": "$.nested"}, "separator": "."}})
        assert flat == {"a.b": 1, "list.0": 1, "list.1.0": 2}

    def test_flatten_can_leave_lists_alone(self) -> None:
        flat = made({"@flatten": {"value": {"@path": "$.nested"}, "separator": "_", "omitArrays": True}})
        assert flat == {"a_b": 1, "list": [1, [2]]}

    @pytest.mark.parametrize(("direction", "winner"), [("left", 1), ("right", 2), ("LEFT", 2)])
    def test_merge_lets_one_side_win(self, direction: str, winner: int) -> None:
        merge = {"objects": [{"a": 1, "b": 1}, {"a": 2}], "direction": direction}
        assert made({"@merge": merge}) == {"a": winner, "b": 1}

    def test_json_goes_both_ways_and_gives_back_what_it_cannot_read(self) -> None:
        assert made({"@json": {"value": {"@path": "$.json"}, "mode": "decode"}}) == {"x": [1, None]}
        assert made({"@json": {"value": {"@path": "$.nested.a"}, "mode": "encode"}}) == '{"b":1}'
        assert made({"@json": {"value": NAME, "mode": "decode"}}) == "Order Placed"

    def test_exclude_when_null_cleans_objects_but_not_lists(self) -> None:
        mapping = {"@excludeWhenNull": {"a": {"@path": "$.none"}, "b": [{"@path": "$.none"}]}}
        assert made(mapping) == {"b": [None]}

    def test_transform_hides_the_event_from_its_mapping(self) -> None:
        mapping = {"@transform": {"apply": {"n": NAME}, "mapping": {"new": {"@path": "$.n"}, "old": NAME}}}
        assert made(mapping) == {"new": "Order Placed"}


class TestMappings:
    def test_what_is_undefined_leaves_objects_but_is_null_in_lists(self) -> None:
        missing = {"@path": "$.missing"}
        assert transform({"a": missing, "b": {"c": missing}, "d": [missing]}, EVENT, 0.0) == {"b": {}, "d": [None]}

    @pytest.mark.parametrize(("item", "operations"), [({"@path": "$.missing"}, 0), ({"@path": "$.none"}, 1)])
    def test_a_text_may_be_a_list_of_one_null_but_not_of_one_missing_value(self, item: Any, operations: int) -> None:
        subscription = {
            "subscribe": 'name = "Order Placed"',
            "partnerAction": "suppressPerson",
            "mapping": {"person_id": [item]},
        }
        translation = translate(EVENT, destination_of({"siteId": "s", "apiKey": "k"}, [subscription]), 0)

        assert len(translation.operations) == operations
        if not operations:
            (failure,) = translation.failures
            assert failure.message == "Person ID must be a string but it was undefined."

    def test_neither_mapping_nor_event_is_changed(self) -> None:
        mapping = {"f": {"@merge": {"objects": [{"@path": "$.nested"}, {"x": 1}], "direction": "right"}}}
        before = deepcopy((mapping, EVENT))
        transform(mapping, EVENT, 0.0)
        assert (mapping, EVENT) == before

    def test_every_fault_is_named_with_its_path(self) -> None:
        with pytest.raises(InvalidMapping) as refused:
            transform({"a": {"@path": 1}, "b": {"@nope": 1}}, EVENT, 0.0)
        assert [message.split(" ")[0] for message in refused.value.messages] == ["/a/@path", "/b"]

    def test_the_root_directive_gets_all_other_members(self) -> None:
        mapping = {"__segment_internal_directive": {"@transform": {"apply": {"n": NAME}}}, "x": {"@path": "$.n"}}
        assert transform(mapping, EVENT, 0.0) == {"x": "Order Placed"}

    @pytest.mark.parametrize("event", [None, [], "text", 5])
    def test_what_is_no_object_is_no_event(self, event: Any) -> None:
        with pytest.raises(FailedDirective, match="data must be an object"):
            transform({"f": NAME}, event, 0.0)

    def test_a_batch_takes_each_event_by_itself(self) -> None:
        assert transform_batch({"f": NAME}, [EVENT, {}], 0.0) == [{"f": "Order Placed"}, {}]

    def test_a_wrong_mapping_refuses_a_batch_of_none_as_well(self) -> None:
        with pytest.raises(InvalidMapping):
            transform_batch({"f": {"@path": 1}}, [], 0.0)
