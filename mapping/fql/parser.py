"""Tokens to a condition, as the reference's `parseFql` reads them: meaning for meaning, leniency included.

The grammar stands in the docstrings, one rule per function. Three things surprise who reads it as a grammar:

- nothing has precedence: one `and` or `or`, the last one written, joins all the conditions of a group;
- what fits nowhere is skipped (`...` below): unknown names, a stray `)`, `!` before anything but a function;
- a condition takes the next two tokens, and a function the next five, whatever they are.
"""

from __future__ import annotations

from collections import deque

from mapping.fql.conditions import Comparison, Condition, Group, Missing
from mapping.fql.errors import FqlError
from mapping.fql.javascript import number_of, text_of
from mapping.fql.tokens import Token, tokenize

FIELD_TYPES = {
    "type": "event-type",
    "event": "event",
    "name": "name",
    "userId": "userId",
    "properties": "event-property",
    "traits": "event-trait",
    "context": "event-context",
}
FUNCTIONS = frozenset({"contains", "match"})
# Members which every JavaScript object has: the reference takes them for known fields, and makes no condition of them.
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


def parse(source: str) -> Group:
    """Return the condition that `source` means. Raises FqlError, whose `message` is the reference's."""
    return _Parser(source).trigger()


class _Parser:
    """One reading of one text. `_tokens` are those not yet read; the functions take them from its left."""

    def __init__(self, source: str) -> None:
        self._source = source

    def trigger(self) -> Group:
        """trigger = expression, eos ;    at least one condition"""
        condition = self._expression(deque(_with_paths(tokenize(self._source))))
        if isinstance(condition, Group):
            return condition
        if isinstance(condition, Missing):
            raise FqlError("there is no condition in it", self._source, 0)
        return Group("and", (condition,))

    def _expression(self, tokens: deque[Token]) -> Condition:
        """expression = { condition | [ "!" ], function | group | "and" | "or" | ... } ;"""
        children: list[Condition] = []
        operator = "and"
        while tokens:
            token = tokens.popleft()
            match token.kind:
                case "eos":
                    break
                case "conditional":
                    operator = token.value
                case "parenleft":
                    children.append(self._group(token, tokens))
                case "ident" if token.value in FUNCTIONS:
                    children.extend(self._function(token, tokens, negated=False))
                case "ident":
                    children.extend(self._condition(token, tokens))
                case "operator" if token.value == "!" and tokens[0].kind == "ident" and tokens[0].value in FUNCTIONS:
                    children.extend(self._function(tokens.popleft(), tokens, negated=True))
        match children:
            case []:
                return Missing()
            case [child]:
                return child
            case _:
                return Group(operator, tuple(children))

    def _group(self, opening: Token, tokens: deque[Token]) -> Condition:
        """group = "(", expression, ")" ;    the first ")" ends it, so a group in a group is an error"""
        inner: deque[Token] = deque()
        while tokens:
            token = tokens.popleft()
            if token.kind == "parenright":
                inner.append(Token("eos", "eos", token.start, token.start))
                return self._expression(inner)
            inner.append(token)
        raise FqlError("this parenthesis is never closed", self._source, opening.start)

    def _condition(self, field: Token, tokens: deque[Token]) -> list[Condition]:
        """condition = path, operator, value ;
        path = ( "type" | "event" | "name" | "userId" | "properties" | "traits" | "context" ), { ".", name } ;
        operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ? any token ? ;
        value = text | number | "true" | "false" | "null" | ? any token ? ;
        """
        root = field.value.split(".")[0]
        if root not in FIELD_TYPES and root not in _INHERITED:
            return []
        operator = self._take(tokens, field, "Operator token is missing")
        value = self._take(tokens, field, "Value token is missing")
        if root in _INHERITED:
            return []
        type = FIELD_TYPES[root]
        match type:
            case "event" | "event-type":
                return [Comparison(type, operator.value, value=_text(value))]
            case "name":
                special = _SPECIAL.get((operator.value, value.value)) if value.value == "null" else None
            case _:
                special = _SPECIAL.get((operator.value, value.value))
        name = None if type in ("name", "userId") else field.value.removeprefix(root + ".")
        if special:
            return [Comparison(type, special, name)]
        if name is None:
            return [Comparison(type, operator.value, value=_text(value))]
        if value.kind == "number" and operator.value in _NUMERIC:
            return [Comparison(type, _NUMERIC[operator.value], name, _value(value))]
        return [Comparison(type, operator.value, name, _value(value))]

    def _function(self, name: Token, tokens: deque[Token], negated: bool) -> list[Condition]:
        """function = ( "contains" | "match" ), "(", path, ",", value, ")" ;

        `match` knows `"x*"`, begins with; from any other value it drops the first character and compares the end.
        """
        _skip(tokens)
        path = self._take(tokens, name, f"{name.value}() is missing a 1st argument")
        _skip(tokens)
        value = self._take(tokens, name, f"{name.value}() is missing a 2nd argument")
        _skip(tokens)
        if name.value == "contains":
            operator, expected = "contains", _text(value)
        elif value.value.endswith('*"'):
            operator, expected = "starts_with", _text(value)[:-1]
        else:
            operator, expected = "ends_with", _text(value)[1:]
        return _function_of(path, "not_" + operator if negated else operator, expected)

    def _take(self, tokens: deque[Token], near: Token, message: str) -> Token:
        """Return the next token, or raise FqlError when there is none."""
        if tokens:
            return tokens.popleft()
        raise FqlError(message, self._source, near.end, message)


def _skip(tokens: deque[Token]) -> None:
    """Drop the next token, if there is one."""
    if tokens:
        tokens.popleft()


_SPECIAL = {
    ("=", "null"): "not_exists",
    ("!=", "null"): "exists",
    ("=", "true"): "is_true",
    ("=", "false"): "is_false",
}
_NUMERIC = {"=": "number_equals", "!=": "number_not_equals"}


def _with_paths(tokens: list[Token]) -> list[Token]:
    """Return the tokens with `name . name` joined to one name: `properties.total`."""
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


def _function_of(path: Token, operator: str, expected: str) -> list[Condition]:
    """Return the condition of a function: none for `type` and other fields the reference does not know there."""
    if path.value in ("event", "name", "userId"):
        return [Comparison(path.value, operator, value=expected)]
    for root in ("properties", "traits", "context"):
        if path.value.startswith(root):  # `propertiesx` too: it looks for a property of that name
            return [Comparison(FIELD_TYPES[root], operator, path.value.removeprefix(root + "."), expected)]
    return []


def _value(token: Token) -> str | float | bool:
    if token.kind == "string":
        return token.value[1:-1] if token.value[0] == '"' else token.value
    if token.kind == "number":
        return number_of(token.value)
    if token.kind == "ident" and token.value in ("true", "false"):
        return token.value == "true"
    return token.value


def _text(token: Token) -> str:
    return text_of(_value(token))
