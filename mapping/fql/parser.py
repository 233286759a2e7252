"""Parse the tokens of a trigger to a condition, as leniently as `parseFql` in the reference.

The docstrings have the grammar, a rule for each method. It is unusual in three ways:

- there is no precedence: the last `and` or `or` of a group joins all its conditions;
- unexpected tokens are skipped (`...` below): unknown names, a stray `)`, `!` before anything but a function;
- a condition takes the next two tokens, and a function the next five, whatever they are.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

from mapping import javascript
from mapping.fql.conditions import FIELDS, ROOTS, Comparison, Condition, Group, Missing
from mapping.fql.errors import FqlError
from mapping.fql.tokens import Token, tokenize

FIELD_TYPES = {field: type for type, field in FIELDS.items()}
FUNCTIONS = frozenset({"contains", "match"})
# Members of every JavaScript object. The reference parses them as fields, but makes no condition of them.
_INHERITED = frozenset(
    {
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
        "__proto__",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
    }
)
_CALLED = re.compile(r"([A-Za-z]+)\([ \t\n]*$")
_FIELDS = frozenset(FIELD_TYPES) | _INHERITED

Rule = Literal["condition", "function", "group", "joint", "skipped"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The tokens of a rule of the grammar, in order, and the condition that they make, if any.

    A function always has six tokens (name, parenthesis, path, comma, value, parenthesis), whatever they are. A
    condition has three. A group has the two parentheses; the pieces between them are in `inner`.
    """

    rule: Rule
    tokens: tuple[Token, ...]
    condition: Condition | None = None
    inner: tuple[Piece, ...] = ()


def parse(source: str) -> Group:
    """Return the condition of `source`. Raises FqlError."""
    pieces = read(source)
    condition = _joined(pieces)
    if isinstance(condition, Missing):
        raise FqlError(*_why_nothing(pieces, source))
    return condition if isinstance(condition, Group) else Group("and", (condition,))


def _why_nothing(pieces: tuple[Piece, ...], source: str) -> tuple[str, str, int]:
    """Return the reason, source and position of the error for a text without a condition."""
    first = next((piece for piece in pieces if piece.tokens[0].kind == "ident"), None)
    if first is None:
        return "there is no condition here", source, 0
    word = first.tokens[0]
    if first.rule == "function":
        path = first.tokens[2]
        return f"{word.value}() does not support `{path.value}`", source, path.start
    return f"triggers do not support `{word.value}`, and there is no other condition", source, word.start


def read(source: str) -> tuple[Piece, ...]:
    """Return the pieces of `source`, in order. Raises FqlError."""
    return _Reader(source).expression(deque(_with_paths(tokenize(source))))


class _Reader:
    """The grammar. Each rule removes its tokens from the left of the remaining ones, and returns its piece."""

    def __init__(self, source: str) -> None:
        self._source = source

    def expression(self, tokens: deque[Token]) -> tuple[Piece, ...]:
        """expression = { condition | [ "!" ], function | group | "and" | "or" | ... }, eos ;"""
        pieces = []
        while tokens:
            token = tokens.popleft()
            match token.kind:
                case "eos":
                    break
                case "conditional":
                    pieces.append(Piece("joint", (token,)))
                case "parenleft":
                    pieces.append(self._group(token, tokens))
                case "ident" if token.value in FUNCTIONS:
                    pieces.append(self._function(token, tokens))
                case "ident" if token.value.split(".")[0] in _FIELDS:
                    pieces.append(self._condition(token, tokens))
                case "operator" if token.value == "!" and tokens[0].kind == "ident" and tokens[0].value in FUNCTIONS:
                    pieces.append(self._function(tokens.popleft(), tokens, "not_"))
                case _:
                    pieces.append(Piece("skipped", (token,)))
        return tuple(pieces)

    def _group(self, opening: Token, tokens: deque[Token]) -> Piece:
        """group = "(", expression, ")" ;    the first ")" ends the group, so a nested group is an error"""
        inner: deque[Token] = deque()
        while tokens:
            token = tokens.popleft()
            if token.kind == "parenright":
                inner.append(Token("eos", "eos", token.start, token.start))
                pieces = self.expression(inner)
                return Piece("group", (opening, token), _joined(pieces), pieces)
            inner.append(token)
        nested = inner[-1].start < len(self._source)
        reason = "parentheses cannot be nested" if nested else "this parenthesis is never closed"
        raise FqlError(reason, self._source, opening.start)

    def _condition(self, field: Token, tokens: deque[Token]) -> Piece:
        """condition = path, operator, value ;
        path = ( "type" | "event" | "name" | "userId" | "properties" | "traits" | "context" ), { ".", name } ;
        operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ? any token ? ;
        value = text | number | "true" | "false" | "null" | ? any token ? ;
        """
        operator = self._take(tokens, field, "Operator token is missing")
        value = self._take(tokens, field, "Value token is missing")
        return Piece("condition", (field, operator, value), _comparison(field, operator, value))

    def _function(self, name: Token, tokens: deque[Token], prefix: str = "") -> Piece:
        """function = ( "contains" | "match" ), "(", path, ",", value, ")" ;"""
        opening = self._pass(tokens)
        path = self._take(tokens, name, f"{name.value}() is missing a 1st argument")
        comma = self._pass(tokens)
        value = self._take(tokens, name, f"{name.value}() is missing a 2nd argument")
        closing = self._pass(tokens)
        operator, expected = _contains(value) if name.value == "contains" else _match(value)
        condition = _call(path, prefix + operator, expected)
        return Piece("function", (name, opening, path, comma, value, closing), condition)

    def _take(self, tokens: deque[Token], near: Token, message: str) -> Token:
        """Return the next token, whatever it is; raise FqlError if there is none."""
        if tokens:
            return tokens.popleft()
        if called := _CALLED.search(self._source, 0, near.start):
            reason = f"triggers support the functions contains() and match() only, not {called[1]}()"
            raise FqlError(reason, self._source, called.start(), message)
        raise FqlError(f"tokens are missing after `{near.value}`", self._source, near.start, message)

    def _pass(self, tokens: deque[Token]) -> Token:
        """Return the next token, whatever it is; another `eos` if there is none."""
        return tokens.popleft() if tokens else Token("eos", "eos", len(self._source), len(self._source))


def _joined(pieces: tuple[Piece, ...]) -> Condition:
    """Return the conditions of the pieces, joined by the last operator, or by `and` without one."""
    children = tuple(piece.condition for piece in pieces if piece.condition is not None)
    if not children:
        return Missing()
    if len(children) == 1:
        return children[0]
    operators = [piece.tokens[0].value for piece in pieces if piece.rule == "joint"]
    return Group(operators[-1] if operators else "and", children)


def _comparison(field: Token, operator: Token, value: Token) -> Comparison | None:
    """Return the condition of three tokens.

    `type` and `event` are always compared with a text. For other fields `null` tests existence, and `true` and `false`
    are booleans except for `name`. Below `properties`, `traits` and `context`, `=` and `!=` compare numbers as numbers.
    """
    root = field.value.split(".")[0]
    type = FIELD_TYPES.get(root)
    if type is None:
        return None
    if type in ("event-type", "event"):
        return Comparison(type, operator.value, value=_text(value))
    name = field.value.removeprefix(root + ".") if type in ROOTS else None
    special = _SPECIAL.get((operator.value, value.value))
    if special and not (type == "name" and special in ("is_true", "is_false")):
        return Comparison(type, special, name)
    if name is None:
        return Comparison(type, operator.value, value=_text(value))
    if value.kind == "number":
        return Comparison(type, _NUMERIC.get(operator.value, operator.value), name, _value(value))
    return Comparison(type, operator.value, name, _value(value))


def _contains(value: Token) -> tuple[str, str]:
    return "contains", _text(value)


def _match(value: Token) -> tuple[str, str]:
    """Return the operator and the expected text: `"x*"` is a prefix; any other value is a suffix from its second
    character on."""
    if value.value.endswith('*"'):
        return "starts_with", _text(value)[:-1]
    return "ends_with", _text(value)[1:]


def _call(path: Token, operator: str, expected: str) -> Comparison | None:
    """Return the condition of a function; None for `type` and other fields that the reference does not support."""
    if path.value in ("event", "name", "userId"):
        return Comparison(path.value, operator, value=expected)
    for root in ("properties", "traits", "context"):
        if path.value.startswith(root):  # `propertiesx` as well: it tests a property of that name
            return Comparison(FIELD_TYPES[root], operator, path.value.removeprefix(root + "."), expected)
    return None


_SPECIAL = {
    ("=", "null"): "not_exists",
    ("!=", "null"): "exists",
    ("=", "true"): "is_true",
    ("=", "false"): "is_false",
}
_NUMERIC = {"=": "number_equals", "!=": "number_not_equals"}


def _with_paths(tokens: list[Token]) -> list[Token]:
    """Return the tokens with each `name . name` joined to a name: `properties.total`."""
    joined: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        after = tokens[index + 1] if index + 1 < len(tokens) else token
        if token.kind == "dot" and after.kind == "ident" and joined and joined[-1].kind == "ident":
            before = joined.pop()
            token = Token("ident", f"{before.value}.{after.value}", before.start, after.end)
            index += 1
        joined.append(token)
        index += 1
    return joined


def _value(token: Token) -> str | float | bool:
    if token.kind == "string":
        return token.value[1:-1] if token.value[0] == '"' else token.value
    if token.kind == "number":
        return javascript.number_of(token.value)
    if token.kind == "ident" and token.value in ("true", "false"):
        return token.value == "true"
    return token.value


def _text(token: Token) -> str:
    return javascript.text(_value(token))
