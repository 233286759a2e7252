"""Warnings: one per surprise, at its character, telling what really happens and what was probably meant."""

from __future__ import annotations

import pytest

from mapping.fql import FqlError, warnings


@pytest.mark.parametrize(
    ("trigger", "position", "really"),
    [
        ('type = "track" and event = "a" or event = "b"', 15, "`and` and `or` have no precedence: the last one, `or`"),
        ('type = "track" event = "x"', 15, "nothing joins this to what precedes it"),
        ('type = "track" and', 15, "no condition follows this operator"),
        ('or type = "track"', 0, "no condition precedes this operator"),
        ("properties.a >=5", 13, "`>=` with no space behind it is `>` compared with the text `=`: never true"),
        ('type == "track"', 5, "`==` compares with the text `=`"),
        ("type = 'track'", 7, "text in single quotes keeps them"),
        ("event = null", 8, "`event` is compared with the text `null`"),
        ("name = 5", 7, "`name` is compared with the text `5`"),
        ('type = "Track"', 7, "no event has the type `Track`"),
        ("type =", 5, "without a value this compares with the text `eos`"),
        ("type = ab", 7, "a word this short at the very end is read as `a`"),
        ("type = (", 7, "this compares with the text `(`"),
        ("properties.a = True", 15, "this compares with the text `True`"),
        ("properties.a = .5", 15, "this compares with the text `.`"),
        ("properties.a = -", 15, "`-` is no number"),
        ('properties.a > "abc"', 15, "`>` compares numbers, and this is none"),
        ("properties.a > 1e2", 16, "the number ends here: it is 1"),
        ("properties.a != 5", 13, "an event without `properties.a`, or with a text there, does not match"),
        ("properties = 5", 0, "this looks for a field `properties` in properties"),
        ('type.foo = "track"', 0, "what follows `type` is ignored"),
        ('properties.items.0.sku = "x"', 16, "the path ends here, and the comparison is never true"),
        ('properties.a contains "x"', 13, "`contains` between two values works, though nobody promises it"),
        ('event in ["a","b"]', 6, "`in` is no operator: it is never true"),
        ('event = "say \\"hi\\""', 8, "a backslash escapes nothing in text"),
        ('type = "track"and event = "x"', 13, "a closing quote with no space behind it opens another text"),
        ('type = "track" AND name = "x"', 15, "this `AND` is skipped"),
        ('type = "track" or(name = "x")', 15, "this `or` is skipped"),
        ('Type = "x" and type = "track"', 0, "triggers do not know `Type`: this condition is left out"),
        ('length and type = "track"', 0, "triggers know contains() and match() only: `length` is skipped"),
        ('!(type = "track")', 0, "this `!` negates nothing"),
        ('type = "track")', 14, "this parenthesis closes nothing"),
        ('type = "track" , name = "x"', 15, "`,` fits nowhere here"),
        ('type = "track" and ()', 19, "evaluating an empty group is an error"),
        ('contains(type, "x") and type = "track"', 9, "contains() makes no condition of `type`"),
        ('contains(properties.a "x") and type = "track"', 0, "contains takes the next five words"),
        ('contains(propertiesx, "a")', 9, "this looks for a field `propertiesx` in properties"),
        (
            'match(event, "Order")',
            13,
            "a pattern without `*` loses its first character: this matches what ends in `rder`",
        ),
        ('match(event, "*x*")', 13, "match knows one `*`, at one end: `*x` is taken as it stands"),
        ('!contains(properties.a, "x")', 1, "an event without a text in `properties.a` does not match"),
        ('!match(event, "x*")', 1, "an event without a text in `event` does not match"),
        ('(contains(event, "a") or name = "b")', 20, "the parenthesis that ends the function ends the group as well"),
        ('type = "page" and type = "track"', 0, "no event can ever match"),
    ],
)
def test_a_surprise_is_told_at_its_character(trigger: str, position: int, really: str) -> None:
    assert any(found.position == position and found.really.startswith(really) for found in warnings(trigger))


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
def test_a_trigger_that_does_what_it_says_draws_no_warning(trigger: str) -> None:
    assert warnings(trigger) == []


def test_what_is_meant_is_told_beside_it() -> None:
    (warning,) = warnings("properties.total >=5")

    assert warning.meant == "write `>=` and a space"
    assert str(warning) == (
        "`>=` with no space behind it is `>` compared with the text `=`: never true; write `>=` and a space\n"
        "    properties.total >=5\n"
        "                     ^"
    )


def test_what_is_no_trigger_is_refused_as_by_the_parser() -> None:
    with pytest.raises(FqlError):
        warnings("type = $")
