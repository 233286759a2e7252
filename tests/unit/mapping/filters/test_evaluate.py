"""Expressions of filters: the examples of Segment's documentation, cases that it leaves undefined, and errors."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.filters.evaluate import parse_filter
from mapping.fql.errors import FqlError

# The event of the examples in the documentation, with more fields.
EVENT = {
    "event": "Button Clicked",
    "type": "track",
    "context": {"library": {"name": "analytics.js", "version": "1.0"}},
    "properties": {
        "features": ["discounts", "dark-mode"],
        "product 1": {"price": "19.99"},
        "on": True,
        "n": 5,
        "none": None,
        "in": {"or": 1},
        "kana": "ア",
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event = 'Button Clicked'", True),
        ("event = 'Screen Tapped'", False),
        ("context.path.path = '/login'", False),
        ("type = 'identify' or type = 'track'", True),
        ("event = 'Button Clicked' and type = 'track'", True),
        ("match( context.library.version, '1.*' )", True),
        ("match( context.library.version, '2.*' )", False),
        ("type = 'track' and ( event = 'Click' or match( event, 'Button *' ) )", True),
        ("!contains( context.library.name, 'js' )", False),
        ("'dark-mode' in properties.features", True),
        ("'blink' in properties.features", False),
        ("!( type in ['track', 'identify'] )", False),
        (r"properties.product\ 1.price = '19.99'", True),
    ],
)
def test_the_examples_of_the_documentation_have_the_documented_results(text: str, expected: bool) -> None:
    assert parse_filter(text)(EVENT) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type = 'track' or type = 'x' and type = 'y'", True),  # `and` binds tighter
        ("(type = 'track' or type = 'x') and type = 'y'", False),
        ("((((type = 'track'))))", True),
        ("!!properties.on", True),
        ("!properties.absent", True),
        ("properties.on and !properties.none", True),
        ("properties.n", False),  # a number is not true
        ("properties.n >=5 and properties.n<6", True),
        ("properties.n = 5.0 and properties.n != '5'", True),
        ("properties.on = 1", False),
        ("properties.none = null and properties.absent = null", True),
        ("properties.features = ['discounts', \"dark-mode\"]", True),
        ("properties.features = ['discounts']", False),
        ("properties.features > 1", False),
        ("event < 'Z'", False),  # texts have no order
        ("properties.n in [4, 5.0, 'x']", True),
        ("null in [properties.absent]", True),
        ("properties.n in properties.absent", False),
        ("properties.in.or = 1", True),  # words are words only by themselves
        ("length(properties.features) = 2 and length(properties.kana) = 3 and length(absent) = 0", True),
        ("length(properties.n) = null", True),
        ("typeof(event) = 'string' and typeof(properties.n) = 'number' and typeof(properties.on) = 'bool'", True),
        ("typeof(absent) = 'null' and typeof(properties.features) = 'list' and typeof(context) = 'object'", True),
        ("lowercase(event) = 'button clicked' and uppercase(type) = 'TRACK'", True),
        ("snakecase(event) = 'Button_Clicked' and kebabcase(event) = 'Button-Clicked'", True),
        ("titlecase('test string') = 'Test String'", True),
        ("lowercase(properties.n) = null and lowercase(absent) = null", True),
        ("contains(event, 'Click') and !contains(event, 'click') and !contains(absent, 'x')", True),
        ("contains(lowercase(event), lowercase('CLICK'))", True),
        ("(type = 'track') = properties.on", True),
    ],
)
def test_documented_and_undefined_cases(text: str, expected: bool) -> None:
    assert parse_filter(text)(EVENT) is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("abcd", "a*d", True),
        ("", "*", True),
        ("abc", "ab", False),
        ("abcd", "a??d", True),
        ("abcd", "*d", True),
        ("ab*d", r"ab\*d", True),
        ("abxd", r"ab\*d", False),
        ("abCd", "ab[cC]d", True),
        ("abcd", "ab[a-z]d", True),
        ("abcd", "ab[A-Z]d", False),
        ("a.d", "a.d", True),
        ("axd", "a.d", False),
        ("a\nd", "a*d", True),
        ("a[d", "a[d", True),
        ("a]d", r"a\]d", True),
        ("a-d", "a[-x]d", True),
        ("ad", "a[z-a]d", False),
    ],
)
def test_globs_match_the_whole_text(text: str, pattern: str, expected: bool) -> None:
    assert parse_filter(f"match(event, '{pattern}')")({"event": text}) is expected
    assert parse_filter("match(event, properties.pattern)")({"event": text, "properties": {"pattern": pattern}}) is (
        expected
    )


@pytest.mark.parametrize("event", [{}, {"event": None}, {"event": 5}, {"event": ["Button"]}])
def test_a_value_that_is_not_a_text_matches_no_pattern(event: dict[str, Any]) -> None:
    assert not parse_filter("match(event, '*')")(event)
    assert not parse_filter("match('x', event)")(event)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "expected a path, a value or a condition"),
        ("type =", 6, "expected a path, a value or a condition"),
        ("type == 'track'", 5, "write `=` for `==`"),
        ("a && b", 2, "write `and` for `&&`"),
        ("a AND b", 2, "write `and` for `AND`"),
        ("not a", 0, "write `!` for `not`"),
        ("!type = 'track'", 6, "`!` before a comparison needs parentheses: `!( … )`"),
        ("a < b < c", 6, "comparisons cannot be chained: join two by `and`"),
        ("a = 'x' b", 8, "expected `and`, `or` or the end"),
        ("(a", 2, "expected `)`"),
        ("[a b] = c", 3, "expected `,` or `]`"),
        ("contains(a, b", 13, "expected `,` or `)`"),
        ("contains(a)", 0, "contains() takes 2 arguments, not 1"),
        ("a or bool(b)", 5, "there is no such function; there are contains, match"),
        ("type in 'track'", 8, "`in` must be followed by a list or a path"),
        ('userId = oops"', 13, 'the closing " is missing'),
        ("a = 1e2", 4, "a number is digits"),
        ("a = 1.2.3", 4, "a number is digits"),
        ("properties.größe = 1", 13, "unexpected character 'ö'; in a name, put a backslash before it"),
        ("a or 'x'", 5, "this is not a condition"),
        ("length(a) and b", 0, "this is not a condition"),
        ("!5", 1, "this is not a condition"),
        ("(" * 51 + "a" + ")" * 51, 51, "nested deeper than 50"),
        ("!" * 5000 + "a", 51, "nested deeper than 50"),
    ],
)
def test_an_invalid_filter_is_refused_at_the_character(text: str, position: int, reason: str) -> None:
    with pytest.raises(FqlError) as caught:
        parse_filter(text)

    assert caught.value.position == position
    assert caught.value.reason.startswith(reason)


def test_a_number_too_long_for_an_integer_can_be_compared() -> None:
    assert parse_filter(f"properties.n < {'9' * 5000}")(EVENT)
