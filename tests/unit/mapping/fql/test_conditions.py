"""Conditions: look-up, the events that can match, the AST and printing."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.fql import Comparison, FqlError, Group, from_ast, parse


@pytest.mark.parametrize(
    ("path", "properties", "value"),
    [
        ("total", {"total": 5}, "5"),
        ("a.b.c", {"a": {"b": {"c": 5}}}, "5"),
        (r"items.\1.sku.length", {"items": [{}, {"sku": "abcde"}]}, "5"),
        ("title.length", {"title": "abcde"}, "5"),
        (r"title.\0", {"title": "abc"}, '"a"'),
        (r"a\ b", {"a b": 5}, "5"),
        ("zero.x.y", {"zero": 0}, "0"),  # a false value stops the look-up and is its result
        ("empty.x", {"empty": ""}, '""'),
        ("off.x", {"off": False}, "false"),
        ("one.x", {"one": 1}, "null"),
        (r"items.\7", {"items": [1]}, "null"),
        (r"items.\01", {"items": [1, 2]}, "null"),
        ("items.length", {"items": []}, "0"),
        ("x", None, "null"),
        ("length", "text", "4"),
    ],
)
def test_a_path_is_looked_up_as_in_javascript(path: str, properties: Any, value: str) -> None:
    assert parse(f"properties.{path} = {value}").predicate()({"properties": properties})


def test_true_is_not_a_number() -> None:
    assert not parse("properties.a = 1 or properties.a > 0").predicate()({"properties": {"a": True}})


@pytest.mark.parametrize(
    ("trigger", "types", "events"),
    [
        ('type = "track"', {"track"}, None),
        ('type = "track" and event = "a"', {"track"}, {"a"}),
        ('type = "track" and (event = "a" or event = "b")', {"track"}, {"a", "b"}),
        ('event = "a" or type = "track"', None, None),
        ('type != "track"', None, None),
        ('type = "track" and type = "page"', set(), None),
        ('contains(event, "a")', None, None),
        ('type like "track"', set(), set()),
        ('type = "track" or userId like "x"', {"track"}, None),
        ('() and type = "track"', None, None),  # the error comes first, whatever the type
        ('type = "track" and ()', {"track"}, None),
    ],
)
def test_types_and_events_are_those_of_events_that_can_match(
    trigger: str, types: set[str] | None, events: set[str] | None
) -> None:
    condition = parse(trigger)

    assert condition.types() == types
    assert condition.events() == (None if events is None else frozenset(events))


def test_merged_comparisons_of_a_field_have_the_same_result() -> None:
    others = parse('event != "a" and type = "track" and event != "b"').predicate()
    some = parse('event = "a" or event = "b"').predicate()

    assert others({"type": "track", "event": "c"})
    assert others({"type": "track"})
    assert others({"type": "track", "event": ["a"]})
    assert not others({"type": "track", "event": "b"})
    assert some({"event": "b"})
    assert not some({"event": ["b"]})


def test_an_ast_round_trips() -> None:
    ast = {
        "type": "group",
        "operator": "or",
        "children": [
            {"type": "event-property", "operator": "number_equals", "name": "total", "value": 5},
            {"type": "group", "operator": "and", "children": [{"type": "name", "operator": "exists"}, None]},
        ],
    }

    assert from_ast(ast).to_ast() == ast


@pytest.mark.parametrize("ast", [None, {}, {"type": "event", "operator": "="}, {"type": "group", "children": []}])
def test_an_ast_of_another_shape_is_refused(ast: Any) -> None:
    with pytest.raises(FqlError):
        from_ast(ast)


def test_an_infinite_number_is_null_in_the_ast() -> None:
    assert parse("properties.a = -").to_ast()["children"][0]["value"] is None


def test_values_are_compared_and_printed_as_texts_of_javascript() -> None:
    group = Group("and", (Comparison("event", "=", value=1e21), Comparison("name", "<", value=["7"])))

    assert group.to_fql() == "event = 1e+21 and name < 7"
    assert group.events() == {"1e+21"}


def test_an_outer_pair_of_parentheses_is_removed_if_it_is_the_only_one() -> None:
    inner = Group("or", (Comparison("event", "=", value="a"), Comparison("event", "=", value="b")))
    call = Comparison("event", "contains", value="c")

    assert Group("and", (inner,)).to_fql() == 'event = "a" or event = "b"'
    assert Group("and", (Group("or", (*inner.children, call)),)).to_fql().startswith("(event")


def test_unknown_conditions_and_empty_groups_cannot_be_printed() -> None:
    with pytest.raises(FqlError) as caught:
        Group("and", (Comparison("mystery", "=", value=1),)).to_fql()
    assert caught.value.message == "Unknown condition type"
    with pytest.raises(FqlError):
        parse('type = "a" and ()').to_fql()


def test_unknown_types_and_operators_are_never_true() -> None:
    event = {"type": "track"}

    assert not from_ast({"type": "group", "operator": "xor", "children": []}).predicate()(event)
    assert not Group("and", (Comparison("mystery", "!=", value=1),)).predicate()(event)
    assert not Group("and", (Comparison("event", "like", value=1),)).predicate()(event)
    assert Group("and", ()).predicate()(event)
    assert not Group("or", ()).predicate()(event)


def test_a_path_of_separators_only_cannot_be_evaluated() -> None:
    predicate = parse(r"properties.\. = 1").predicate()

    with pytest.raises(FqlError) as caught:
        predicate({})
    assert caught.value.message == "Cannot read properties of null (reading 'reduce')"
