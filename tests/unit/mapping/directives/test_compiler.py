"""The results of directives, and the errors of invalid ones."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from mapping import destination_of, transform, transform_batch, translate
from mapping.errors import EngineFault, FailedDirective, InvalidMapping
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


def resolved(mapping: Any, event: Any = EVENT) -> Any:
    return transform({"f": mapping}, event, 0.0).get("f", UNDEFINED)


class TestIf:
    @pytest.mark.parametrize(("path", "result"), [("name", "yes"), ("zero", "yes"), ("empty", "yes"), ("none", "no")])
    def test_exists_is_neither_null_nor_missing(self, path: str, result: str) -> None:
        assert resolved({"@if": {"exists": {"@path": f"$.{path}"}, "then": "yes", "else": "no"}}) == result

    @pytest.mark.parametrize(("path", "result"), [("name", "yes"), ("zero", "no"), ("empty", "no"), ("none", "no")])
    def test_blank_means_not_blank(self, path: str, result: str) -> None:
        assert resolved({"@if": {"blank": {"@path": f"$.{path}"}, "then": "yes", "else": "no"}}) == result

    @pytest.mark.parametrize("otherwise", [0, "", False, None])
    def test_a_falsy_else_counts_as_absent(self, otherwise: Any) -> None:
        assert resolved({"@if": {"exists": {"@path": "$.none"}, "then": 1, "else": otherwise}}) is UNDEFINED

    def test_a_falsy_then_is_kept(self) -> None:
        assert resolved({"@if": {"exists": NAME, "then": 0, "else": 1}}) == 0

    def test_exists_and_then_may_be_the_same_path(self) -> None:
        first = {"@path": "$.none"}
        assert resolved({"@if": {"exists": first, "then": first, "else": NAME}}) == "Order Placed"
        assert resolved({"@if": {"exists": NAME, "then": NAME, "else": first}}) == "Order Placed"

    def test_true_is_not_one(self) -> None:
        assert resolved({"@if": {"exists": 1, "then": True}}) is True


class TestTexts:
    def test_case_changes_only_texts(self) -> None:
        assert resolved({"@case": {"operator": "upper", "value": NAME}}) == "ORDER PLACED"
        assert resolved({"@case": {"operator": "lower", "value": {"@path": "$.items"}}}) == EVENT["items"]

    def test_an_operator_is_validated_only_for_a_text(self) -> None:
        assert resolved({"@case": {"operator": "title", "value": {"@path": "$.zero"}}}) == 0
        with pytest.raises(FailedDirective, match='"lower" or "upper"'):
            resolved({"@case": {"operator": "title", "value": NAME}})

    def test_replace_is_global_and_case_sensitive_by_default(self) -> None:
        assert resolved({"@replace": {"pattern": "e", "replacement": "3", "value": NAME}}) == "Ord3r Plac3d"
        assert (
            resolved({"@replace": {"pattern": "E", "value": NAME, "ignorecase": True, "global": False}})
            == "Ordr Placed"
        )

    def test_a_replacement_may_refer_to_the_match(self) -> None:
        assert resolved({"@replace": {"pattern": "Order", "replacement": "<$&>$$", "value": NAME}}) == "<Order>$ Placed"

    def test_a_replacement_that_multiplies_a_long_text_is_an_error(self) -> None:
        with pytest.raises(EngineFault, match="Invalid string length"):
            resolved({"@replace": {"pattern": "a", "replacement": "$'", "value": NAME}}, {"name": "a" * 20_000})

    def test_replace_of_a_value_that_is_not_a_scalar_is_empty(self) -> None:
        assert resolved({"@replace": {"pattern": "a", "value": {"@path": "$.items"}}}) == ""


class TestShapes:
    def test_array_path_shapes_each_item(self) -> None:
        assert resolved({"@arrayPath": ["$.items", {"id": {"@path": "$.sku"}}]}) == [{"id": "a"}, {"id": "b"}]

    def test_array_path_treats_an_object_as_a_list_of_one(self) -> None:
        assert resolved({"@arrayPath": ["$.nested.a", {"x": {"@path": "$.b"}}]}) == [{"x": 1}]

    def test_flatten_joins_names_and_removes_empty_objects(self) -> None:
        flat = resolved({"@flatten": {"value": {"@path": "$.nested"}, "separator": "."}})
        assert flat == {"a.b": 1, "list.0": 1, "list.1.0": 2}

    def test_flatten_can_keep_lists(self) -> None:
        flat = resolved({"@flatten": {"value": {"@path": "$.nested"}, "separator": "_", "omitArrays": True}})
        assert flat == {"a_b": 1, "list": [1, [2]]}

    @pytest.mark.parametrize(("direction", "winner"), [("left", 1), ("right", 2), ("LEFT", 2)])
    def test_the_direction_of_merge_decides_which_value_remains(self, direction: str, winner: int) -> None:
        merge = {"objects": [{"a": 1, "b": 1}, {"a": 2}], "direction": direction}
        assert resolved({"@merge": merge}) == {"a": winner, "b": 1}

    def test_json_encodes_and_decodes_and_returns_invalid_text_unchanged(self) -> None:
        assert resolved({"@json": {"value": {"@path": "$.json"}, "mode": "decode"}}) == {"x": [1, None]}
        assert resolved({"@json": {"value": {"@path": "$.nested.a"}, "mode": "encode"}}) == '{"b":1}'
        assert resolved({"@json": {"value": NAME, "mode": "decode"}}) == "Order Placed"

    def test_half_a_surrogate_pair_in_decoded_json_becomes_the_replacement_character(self) -> None:
        decoded = resolved(
            {"@json": {"mode": "decode", "value": NAME}}, {"name": '{"a\\ud800": ["\\ud83d\\ude00", "\\udc00"]}'}
        )
        assert decoded == {"a\ufffd": ["😀", "\ufffd"]}

    def test_exclude_when_null_removes_nulls_from_objects_but_not_from_lists(self) -> None:
        mapping = {"@excludeWhenNull": {"a": {"@path": "$.none"}, "b": [{"@path": "$.none"}]}}
        assert resolved(mapping) == {"b": [None]}

    def test_the_mapping_of_transform_sees_only_the_applied_object(self) -> None:
        mapping = {"@transform": {"apply": {"n": NAME}, "mapping": {"new": {"@path": "$.n"}, "old": NAME}}}
        assert resolved(mapping) == {"new": "Order Placed"}


class TestMappings:
    def test_undefined_members_are_removed_from_objects_and_null_in_lists(self) -> None:
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

    def test_every_fault_has_its_path(self) -> None:
        with pytest.raises(InvalidMapping) as refused:
            transform({"a": {"@path": 1}, "b": {"@nope": 1}}, EVENT, 0.0)
        assert [message.split(" ")[0] for message in refused.value.messages] == ["/a/@path", "/b"]

    def test_the_root_directive_wraps_all_other_members(self) -> None:
        mapping = {"__segment_internal_directive": {"@transform": {"apply": {"n": NAME}}}, "x": {"@path": "$.n"}}
        assert transform(mapping, EVENT, 0.0) == {"x": "Order Placed"}

    @pytest.mark.parametrize("event", [None, [], "text", 5])
    def test_an_event_must_be_an_object(self, event: Any) -> None:
        with pytest.raises(FailedDirective, match="data must be an object"):
            transform({"f": NAME}, event, 0.0)

    def test_a_batch_transforms_each_event(self) -> None:
        assert transform_batch({"f": NAME}, [EVENT, {}], 0.0) == [{"f": "Order Placed"}, {}]

    def test_an_invalid_mapping_also_refuses_an_empty_batch(self) -> None:
        with pytest.raises(InvalidMapping):
            transform_batch({"f": {"@path": 1}}, [], 0.0)
