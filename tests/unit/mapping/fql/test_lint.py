"""Lint warnings: one for each fault, at its character, with what the trigger actually does and a suggestion."""

from __future__ import annotations

import pytest

from mapping.fql import FqlError, warnings


@pytest.mark.parametrize(
    ("trigger", "position", "actual"),
    [
        ('type = "track" and event = "a" or event = "b"', 15, "`and` and `or` have no precedence: the last one, `or`"),
        ('type = "track" event = "x"', 15, "there is no operator before this condition"),
        ('type = "track" and', 15, "no condition follows this operator"),
        ('or type = "track"', 0, "no condition precedes this operator"),
        ("properties.a >=5", 13, "without a space after it, `>=` is `>` and the text `=`: never true"),
        ('type == "track"', 5, "`==` compares with the text `=`"),
        ("type = 'track'", 7, "single quotes are part of the text"),
        ("event = null", 8, "`event` is compared with the text `null`"),
        ("name = 5", 7, "`name` is compared with the text `5`"),
        ('type = "Track"', 7, "no event has the type `Track`"),
        ("type =", 5, "without a value this compares with the text `eos`"),
        ("type = ab", 7, "a word this short at the end of a trigger is read as `a`"),
        ("type = (", 7, "this compares with the text `(`"),
        ("properties.a = True", 15, "this compares with the text `True`"),
        ("properties.a = .5", 15, "this compares with the text `.`"),
        ("properties.a = -", 15, "`-` is not a number"),
        ('properties.a > "abc"', 15, "`>` compares numbers and this is not a number"),
        ("properties.a > 1e2", 16, "the number ends here: it is 1"),
        ("properties.a != 5", 13, "events without `properties.a`, or with a text in it, do not match"),
        ("properties = 5", 0, "this looks for a field `properties` in properties"),
        ('type.foo = "track"', 0, "what follows `type` is ignored"),
        ('properties.items.0.sku = "x"', 16, "the path ends here, and the comparison is never true"),
        ('properties.a contains "x"', 13, "`contains` works as an operator, but is undocumented"),
        ('event in ["a","b"]', 6, "`in` is not an operator: the condition is never true"),
        ('event = "say \\"hi\\""', 8, "a backslash does not escape a quote"),
        ('type = "track"and event = "x"', 13, "a closing quote without a space after it opens another text"),
        ('type = "track" AND name = "x"', 15, "this `AND` is skipped"),
        ('type = "track" or(name = "x")', 15, "this `or` is skipped"),
        ('Type = "x" and type = "track"', 0, "triggers do not support `Type`: this condition is ignored"),
        ('length and type = "track"', 0, "triggers support contains() and match() only: `length` is skipped"),
        ('!(type = "track")', 0, "this `!` negates no condition"),
        ('type = "track")', 14, "this parenthesis closes no group"),
        ('type = "track" , name = "x"', 15, "`,` is unexpected here"),
        ('type = "track" and ()', 19, "evaluating an empty group is an error"),
        ('contains(type, "x") and type = "track"', 9, "contains() does not support `type`"),
        ('contains(properties.a "x") and type = "track"', 0, "contains takes the next five tokens"),
        ('contains(propertiesx, "a")', 9, "this looks for a field `propertiesx` in properties"),
        (
            'match(event, "Order")',
            13,
            "a pattern without `*` loses its first character: this matches texts that end in `rder`",
        ),
        ('match(event, "*x*")', 13, "match supports one `*`, at one end: `*x` is compared literally"),
        ('!contains(properties.a, "x")', 1, "events without a text in `properties.a` do not match"),
        ('!match(event, "x*")', 1, "events without a text in `event` do not match"),
        ('(contains(event, "a") or name = "b")', 20, "the parenthesis that ends the function ends the group as well"),
        ('type = "page" and type = "track"', 0, "no event can ever match"),
    ],
)
def test_a_warning_points_at_the_character(trigger: str, position: int, actual: str) -> None:
    assert any(found.position == position and found.actual.startswith(actual) for found in warnings(trigger))


@pytest.mark.parametrize(
    "trigger",
    [
        'type = "track"',
        'type="track"',
        'type = "track" and (event = "a" or event = "b") and properties.total >= 5.5',
        'type = "track" and (event = "c" or contains(event, "b"))',
        'name != null and userId = null and traits.vip = true and context.page.path != "/x"',
        'match(event, "Order *") or match(traits.email, "*@example.com")',
        r'properties.items.\0.sku = "A" or properties.with\ space > -1',
    ],
)
def test_an_unambiguous_trigger_has_no_warning(trigger: str) -> None:
    assert warnings(trigger) == []


def test_a_warning_has_a_suggestion() -> None:
    (warning,) = warnings("properties.total >=5")

    assert warning.suggestion == "write a space after `>=`"
    assert str(warning) == (
        "without a space after it, `>=` is `>` and the text `=`: never true; write a space after `>=`\n"
        "    properties.total >=5\n"
        "                     ^"
    )


def test_the_linter_raises_the_errors_of_the_parser() -> None:
    with pytest.raises(FqlError):
        warnings("type = $")
