"""Laws of both dialects of FQL: parsing is total, printing round-trips, and `types` and `events` are complete."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mapping.filters.evaluate import parse_filter, predicate
from mapping.filters.parser import And, Call, Compare, Expression, ListOf, Literal, Not, Or, Path
from mapping.filters.parser import parse as parse_expression
from mapping.filters.rules import allow, block, sample
from mapping.fql import Comparison, FqlError, Group, Missing, from_ast, parse, warnings

# Pieces whose combinations reach most of both grammars.
SEPARATED = """
type event name userId properties traits context properties.total properties.a.b traits.plan . , ( ) [ ] ! != = == <
<= > >= and or null true false in AND or( contains( match( !contains( contains match length( typeof( foo "track" "x*"
"*x" 'x' "" 5 -1.5 1. - 1e2 a n na ab nul \\ \\0 \\. 😀 é constructor exists starts_with
"""
PIECES = SEPARATED.split()
WHITE_SPACE = [" ", "\t", "\n", "\r", ""]

texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES + WHITE_SPACE), max_size=12).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars | st.sampled_from(["track", "x", "xyz", 5, 0, ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "plan", "0"]), inner, max_size=3)
    ),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "page", "identify", "x"]) | scalars,
        "event": st.sampled_from(["x", "xyz", "track"]) | scalars,
        "name": scalars,
        "userId": scalars,
        "messageId": scalars,
        "properties": st.dictionaries(st.sampled_from(["total", "a", "b", "length"]), values, max_size=3) | values,
        "traits": st.dictionaries(st.sampled_from(["plan", "a"]), values, max_size=2) | values,
        "context": values,
    },
)


class TestTriggers:
    @given(texts)
    def test_any_text_is_a_condition_or_an_fql_error(self, text: str) -> None:
        error = _error(parse, text)

        if error:
            assert 0 <= error.position <= len(text)
            assert error.caret().endswith("^")
        else:
            assert all(0 <= warning.position <= len(text) for warning in warnings(text))

    @given(texts, events)
    def test_a_condition_is_true_or_false_and_raises_only_if_can_fail(self, text: str, event: Any) -> None:
        condition = _parsed(text)
        try:
            assert condition.predicate()(event) in (True, False)
        except FqlError:
            assert condition.can_fail

    @given(texts, events)
    def test_a_condition_is_true_only_for_its_types_and_events(self, text: str, event: Any) -> None:
        condition = _parsed(text)
        try:
            may_match = condition.predicate()(event)
        except FqlError:
            may_match = True  # events for which it fails must not be excluded

        if may_match:
            assert condition.types() is None or event.get("type") in condition.types()
            assert condition.events() is None or event.get("event") in condition.events()

    @given(texts, events)
    def test_the_compiled_predicate_agrees_with_an_evaluation_of_the_tree(self, text: str, event: Any) -> None:
        condition = _parsed(text)
        if not condition.can_fail:
            assert condition.predicate()(event) is _evaluated(condition, event)

    @given(texts)
    def test_an_ast_of_finite_numbers_round_trips(self, text: str) -> None:
        ast = _parsed(text).to_ast()

        if not re.search("'value': None", repr(ast)):
            assert from_ast(ast).to_ast() == ast


# Printing does not escape quotes and escapes only some characters of a path. The law holds for what it can express:
# texts without double quotes; path components that are not words and begin with A to Z or an escaped character;
# numbers without an exponent; functions only at the end of a group in parentheses; and one level of such groups.
words = st.text(
    alphabet=st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters='"'), max_size=8
)
components = st.from_regex(r"[A-Za-z_ é\[][A-Za-z0-9_ -]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("and", "or", "null")
)
paths = st.lists(components, min_size=1, max_size=3).map(".".join).filter(lambda path: "[" not in path)
numbers = st.integers(-(10**9), 10**9) | st.floats(0.001, 1e9)
below = st.sampled_from(["event-property", "event-trait", "event-context"])
plain = st.sampled_from(["name", "userId"])
fields = st.tuples(below, paths) | st.tuples(plain, st.none())
# A text that is printed with a star at one end must not have one at the other.
endings = words.filter(lambda text: text and not text.endswith("*"))

comparisons = st.one_of(
    st.builds(Comparison, st.sampled_from(["event", "event-type"]), st.sampled_from(["=", "!="]), value=words),
    st.builds(lambda f, op, v: Comparison(f[0], op, f[1], v), fields, st.sampled_from(["=", "!="]), words),
    st.builds(lambda f, op: Comparison(f[0], op, f[1]), fields, st.sampled_from(["exists", "not_exists"])),
    st.builds(
        lambda f, op, v: Comparison(f[0], op, f[1], v),
        st.tuples(below, paths),
        st.sampled_from(["<", "<=", ">", ">=", "number_equals", "number_not_equals"]),
        numbers,
    ),
    st.builds(
        lambda f, op: Comparison(f[0], op, f[1]), st.tuples(below, paths), st.sampled_from(["is_true", "is_false"])
    ),
)
functions = st.builds(
    lambda f, op, v: Comparison(f[0], op, f[1], v),
    fields | st.just(("event", None)),
    st.sampled_from(["contains", "not_contains", "starts_with", "not_starts_with"]),
    words,
) | st.builds(
    lambda f, op, v: Comparison(f[0], op, f[1], v), fields, st.sampled_from(["ends_with", "not_ends_with"]), endings
)
joints = st.sampled_from(["and", "or"])
groups = st.builds(
    lambda operator, children, last: Group(operator, (*children, last)),
    joints,
    st.lists(comparisons, min_size=1, max_size=3),
    comparisons | functions,
)
printable = st.builds(
    lambda operator, children: Group(operator, tuple(children)),
    joints,
    st.lists(comparisons | functions | groups, min_size=2, max_size=4),
) | st.builds(lambda only: Group("and", (only,)), comparisons | functions)


@given(printable)
def test_a_printed_condition_parses_to_the_condition(condition: Group) -> None:
    assert parse(condition.to_fql()) == condition


# Expressions of filters; all of them can be written.
filter_words = st.text(alphabet=st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=5)
literals = st.builds(
    Literal, filter_words | st.integers(-(10**6), 10**6) | st.floats(0.001, 1e6) | st.booleans() | st.none()
)
field_paths = st.sampled_from(
    ["type", "event", "properties", "properties.a", "properties.a.b", "traits.plan", "in.or"]
).map(lambda path: Path(tuple(path.split("."))))
lists = st.builds(lambda items: ListOf(tuple(items)), st.lists(literals | field_paths, max_size=3))
calls = st.builds(
    lambda name, argument: Call(name, (argument,)),
    st.sampled_from(["length", "typeof", "lowercase", "uppercase", "snakecase", "kebabcase", "titlecase"]),
    literals | field_paths | lists,
)
operands = literals | field_paths | lists | calls
predicates = st.builds(
    lambda name, a, b: Call(name, (a, b)), st.sampled_from(["contains", "match"]), operands, operands
)
leaves = st.one_of(
    field_paths,
    predicates,
    st.builds(Literal, st.booleans()),
    st.builds(Compare, operands, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), operands),
    st.builds(Compare, operands, st.just("in"), lists | field_paths),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda found: And(tuple(found))),
        st.lists(inner, min_size=2, max_size=3).map(lambda found: Or(tuple(found))),
    ),
    max_leaves=10,
)


class TestFilters:
    @given(texts | st.lists(st.sampled_from([*PIECES, "'x'", "&&", "['a', 1]"]), max_size=9).map(" ".join))
    def test_any_text_is_a_filter_or_an_fql_error(self, text: str) -> None:
        error = _error(parse_filter, text)

        assert error is None or 0 <= error.position <= len(text)

    @given(expressions)
    def test_the_print_with_the_fewest_parentheses_parses_to_the_same_tree(self, expression: Expression) -> None:
        assert parse_expression(_written(expression)) == expression

    @given(expressions, events)
    def test_not_binds_tighter_than_and_which_binds_tighter_than_or(self, expression: Expression, event: Any) -> None:
        compiled = parse_filter(_written(expression))

        assert compiled(event) is _is_true(expression, event)

    @given(filter_words, st.text(alphabet="ab*?[]-\\x", max_size=8))
    def test_a_glob_agrees_with_an_exhaustive_match(self, text: str, pattern: str) -> None:
        for subject in (text, pattern, "ab" + text):
            matches = parse_filter("match(event, properties.a)")({"event": subject, "properties": {"a": pattern}})
            assert matches is _matches_exhaustively(pattern, subject)


names = st.dictionaries(
    st.sampled_from(["properties", "properties.a", "traits", "context.a"]),
    st.lists(st.sampled_from(["a", "b", "plan"]), max_size=2),
    max_size=3,
)


class TestActions:
    @given(names, events)
    def test_block_and_allow_do_not_change_the_event(self, fields: Any, event: Any) -> None:
        before = deepcopy(event)

        block(fields)(event)
        allow(fields)(event)

        assert event == before

    @given(names, events)
    def test_block_and_allow_are_idempotent(self, fields: Any, event: Any) -> None:
        for change in (block(fields), allow(fields)):
            once = change(event)
            assert once is not None
            assert change(once) == once

    @given(st.floats(0, 1), st.floats(0, 1), events)
    def test_a_larger_sample_includes_a_smaller_one(self, first: float, second: float, event: Any) -> None:
        if sample(min(first, second))(event) is not None:
            assert sample(max(first, second))(event) is not None


def _error(parse_text: Callable[[str], object], text: str) -> FqlError | None:
    try:
        parse_text(text)
    except FqlError as error:
        return error
    return None


def _parsed(text: str) -> Group:
    try:
        return parse(text)
    except FqlError:
        return Group("and", ())


def _evaluated(condition: Any, event: dict[str, Any]) -> bool:
    """Evaluate the tree child by child, each condition separately."""
    match condition:
        case Group("and", children):
            return all(_evaluated(child, event) for child in children)
        case Group("or", children):
            return any(_evaluated(child, event) for child in children)
        case Comparison():
            return condition.predicate()(event)
        case Missing() | Group():
            return False
    raise AssertionError(condition)


def _written(expression: Expression, within: int = 0) -> str:
    """Return the expression as text; `within` is the precedence of the context: 1 in `or`, 2 in `and`, 3 in `!`."""
    match expression:
        case Literal(str(text)):
            return f"'{text}'"
        case Literal(bool() | None as constant):
            return {True: "true", False: "false", None: "null"}[constant]
        case Literal(number):
            return repr(number)
        case Path(keys):
            return ".".join(keys)
        case ListOf(items):
            return f"[{', '.join(_written(item) for item in items)}]"
        case Call(function, arguments):
            return f"{function}({', '.join(_written(argument) for argument in arguments)})"
        case Compare(left, operator, right):
            binds, text = 3, f"{_written(left)} {operator} {_written(right)}"
            return f"({text})" if within > 2 else text
        case Not(operand):
            return f"!{_written(operand, 3)}"
        case And(operands):
            binds, text = 2, " and ".join(_written(operand, 2) for operand in operands)
        case Or(operands):
            binds, text = 1, " or ".join(_written(operand, 1) for operand in operands)
    return f"({text})" if within >= binds else text


def _is_true(expression: Expression, event: dict[str, Any]) -> bool:
    """Evaluate the boolean part of the tree with Python's operators, and each leaf separately."""
    match expression:
        case And(operands):
            return all(_is_true(operand, event) for operand in operands)
        case Or(operands):
            return any(_is_true(operand, event) for operand in operands)
        case Not(operand):
            return not _is_true(operand, event)
        case leaf:
            return predicate(leaf)(event)


def _matches_exhaustively(pattern: str, text: str) -> bool:
    """Match a glob with every length for each `*`."""
    if not pattern:
        return not text
    head, rest = pattern[0], pattern[1:]
    end = pattern.find("]", 2)
    if head == "*":
        return any(_matches_exhaustively(rest, text[cut:]) for cut in range(len(text) + 1))
    if head == "[" and end > 0 and pattern[1] != "]":
        return (
            bool(text) and _is_one_of(text[0], pattern[1:end]) and _matches_exhaustively(pattern[end + 1 :], text[1:])
        )
    if head == "\\" and rest:
        head, rest = rest[0], rest[1:]
        return text[:1] == head and _matches_exhaustively(rest, text[1:])
    return bool(text) and head in ("?", text[0]) and _matches_exhaustively(rest, text[1:])


def _is_one_of(char: str, characters: str) -> bool:
    if len(characters) >= 3 and characters[1] == "-":
        return characters[0] <= char <= characters[2] or _is_one_of(char, characters[3:])
    return bool(characters) and (char == characters[0] or _is_one_of(char, characters[1:]))
