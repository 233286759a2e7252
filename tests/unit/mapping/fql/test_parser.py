"""Parsing of triggers: the quirks that decide which events match, and errors that point at the character."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.fql import FqlError, parse

TRACK = {"type": "track", "event": "Order", "userId": "u", "properties": {"total": 5, "title": "Shoe", "or": 1}}


def matches(trigger: str, event: dict[str, Any] = TRACK) -> bool:
    return parse(trigger).predicate()(event)


def refused(trigger: str) -> FqlError:
    with pytest.raises(FqlError) as caught:
        parse(trigger)
    return caught.value


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ('type = "track" and event = "Order"', True),
        ('type = "page" and event = "Order" or event = "x"', True),  # the last operator joins all three
        ('event = "x" or type = "track" and event = "Order"', False),
        ('type = "track" event = "x"', False),  # joined by `and`
        ('and type = "track" or', True),
        ('type = "track")', True),
        ("type = 'track'", False),  # the quotes belong to the value
        ('type = "track" AND event = "x"', False),
        ('foo = "x" and type = "track"', True),
        ('!(type = "page")', False),  # the `!` is skipped
        ('type.foo = "track"', True),
        ("properties.total >= 5", True),
        ("properties.total >=5", False),  # `>` compared with the text `=`
        ("properties.total > 4e9", True),  # the number is 4
        ('properties.total = "5"', False),
        ("properties.absent != 5", False),
        ('properties.absent != "5"', True),
        (r"properties.\or = 1", True),
        ('properties.title contains "ho"', True),
        ('match(properties.title, "Sh*") and match(properties.title, "*oe") and match(properties.title, "Xhoe")', True),
        ('!contains(properties.absent, "x")', False),
        ('contains(type, "x") or type = "track"', True),  # the function makes no condition
        ("event = null or name = null", True),
        ('(contains(event, "Or") or type = "page") and type = "page"', False),  # the group ends at the function's `)`
    ],
)
def test_a_trigger_matches_the_same_events_as_in_the_reference(trigger: str, expected: bool) -> None:
    assert matches(trigger) is expected


@pytest.mark.parametrize(
    ("trigger", "position", "reason"),
    [
        ("properties.total>5", 16, "a name must be followed by a space, not by '>'"),
        ('type!="track"', 4, "`!` must be followed by a name or `(`, and `!=` by a space"),
        ('event = "Order', 8, 'the closing " is missing'),
        ("properties.total = 1.5.2", 22, "a number has one decimal point"),
        ("properties.total = 1.", 20, "digits must follow the decimal point"),
        ("type = $", 7, "unexpected character '$'"),
        ("type = \\", 7, "a backslash must be followed by the character it escapes"),
        ('type = "track" and ((event = "a"))', 20, "parentheses cannot be nested"),
        ('(type = "track"', 0, "this parenthesis is never closed"),
        ('foo = "x"', 0, "triggers do not support `foo`, and there is no other condition"),
        ("", 0, "there is no condition here"),
        ('contains(type, "x")', 9, "contains() does not support `type`"),
    ],
)
def test_an_error_points_at_the_character_and_has_the_message_of_the_reference(
    trigger: str, position: int, reason: str
) -> None:
    error = refused(trigger)

    assert (error.position, error.reason) == (position, reason)
    assert error.message == "Cannot read properties of undefined (reading 'type')"


def test_an_unsupported_function_is_named() -> None:
    error = refused('type = "track" and length(event) > 5')

    assert error.message == "Value token is missing"
    assert error.reason == "triggers support the functions contains() and match() only, not length()"
    assert error.position == 19


def test_a_function_without_arguments_has_the_message_of_the_reference() -> None:
    assert refused("match").message == "match() is missing a 1st argument"
    assert refused("contains(").message == "contains() is missing a 2nd argument"


def test_an_error_shows_its_line_with_a_caret_under_the_character() -> None:
    error = refused('type = "track"\n\tand event>5\nand name = "x"')

    assert str(error) == "a name must be followed by a space, not by '>'\n    \tand event>5\n    \t         ^"


def test_evaluating_an_empty_group_is_an_error() -> None:
    reached = parse('type = "track" and ()').predicate()

    assert reached({"type": "page"}) is False
    with pytest.raises(FqlError, match="a group in parentheses is empty"):
        reached({"type": "track"})


def test_a_short_word_at_the_end_of_the_text_is_its_first_character() -> None:
    """The reference looks for `and` or `null` there."""
    assert matches("type = ab", {"type": "a"})
    assert matches("type = nul", {"type": "n"})
    assert matches("type = abc", {"type": "abc"})


def test_a_closing_quote_without_an_end_opens_another_text() -> None:
    assert parse('type = "track"and event = "x"') == parse('type = "track"')


def test_names_numbers_and_texts_have_less_than_a_hundred_thousand_characters() -> None:
    parse(f'event = "{"x" * 99_999}"')

    assert "longer than" in refused(f'event = "{"x" * 100_000}"').reason
    assert "longer than" in refused(f"properties.{'x' * 100_000} = 1").reason
    assert "longer than" in refused(f"properties.total = {'1' * 100_001}").reason
