"""Parse the text of a destination filter to expressions: full FQL, with precedence, nesting and functions.

Source: Segment's public documentation, "Destination Filter Query Language". The parser is strict: text that the
documentation leaves ambiguous is an error with its position. The dialect of triggers shares only the error class.

    words      and or in true false null, in lower case; names only after a dot
    text       in single or double quotes; a backslash in it is a backslash
    number     an optional minus, digits, an optional point with digits
    path       names joined by dots; a name is letters, digits, `_`, `-`, or any character after a backslash
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from mapping.fql.errors import FqlError

DEEPEST = 50  # levels of nested parentheses, lists, functions and `!`

LONGEST_INTEGER = 300  # digits; a longer number becomes a float, which is infinite

# The number of arguments of each function.
ARGUMENTS: Final = {
    "contains": 2,
    "match": 2,
    "length": 1,
    "typeof": 1,
    "lowercase": 1,
    "uppercase": 1,
    "snakecase": 1,
    "kebabcase": 1,
    "titlecase": 1,
}
PREDICATES: Final = frozenset({"contains", "match"})
COMPARISONS: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", "in"})
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_WORDS: Final = frozenset({"and", "or", "in", *_CONSTANTS})


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, number, true, false or null."""

    value: str | float | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """The value at these keys of the event; null if there is none."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of ARGUMENTS and its arguments."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two expressions and an operator of COMPARISONS."""

    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """True unless the operand is true."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class And:
    """`and`: true if all operands are true."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`or`: true if an operand is true."""

    operands: tuple[Expression, ...]


Expression = Literal | Path | ListOf | Call | Compare | Not | And | Or

_TOKEN = re.compile(
    r"""
      (?P<space>  [ \t\r\n]+ )
    | (?P<text>   "[^"]*" | '[^']*' )
    | (?P<number> -?[0-9]+(?:\.[0-9]+)? (?![A-Za-z0-9_.\\-]) )
    | (?P<path>   (?:[A-Za-z_] | \\.) (?:[A-Za-z0-9_-] | \\.)* (?: \. (?:[A-Za-z0-9_-] | \\.)+ )* )
    | (?P<symbol> == | != | <= | >= | [=<>!(),\[\]] )
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY = re.compile(r"(?:[^.\\]|\\.)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SUGGESTIONS = {"==": "=", "&&": "and", "||": "or", "AND": "and", "OR": "or", "NOT": "!", "not": "!", "IN": "in"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def symbol(self) -> str:
        """The symbol or word; empty for texts, numbers, paths and the end."""
        return self.text if self.kind in ("symbol", "word") else ""


def parse(source: str) -> Expression:
    """Return the expression of `source`. Raises FqlError with the position of the fault."""
    return _Parser(source).filter()


def is_condition(expression: Expression) -> bool:
    """Whether an expression can be true or false, unlike a text, a number, a list or a length."""
    match expression:
        case Literal(value):
            return value is None or isinstance(value, bool)
        case ListOf():
            return False
        case Call(function):
            return function in PREDICATES
        case _:
            return True


class _Parser:
    """The grammar, a method for each rule; each returns its expression."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = iter(_tokens(source))
        self._next = next(self._tokens)
        self._depth = 0

    def filter(self) -> Expression:
        """filter = either, end ;    a condition: neither a text nor a number nor a list"""
        start = self._next
        expression = self._either()
        if self._next.kind != "end":
            raise self._error("expected `and`, `or` or the end")
        return self._condition(expression, start)

    def _either(self) -> Expression:
        """either = both, { "or", both } ;"""
        return self._joined("or", Or, self._both)

    def _both(self) -> Expression:
        """both = term, { "and", term } ;"""
        return self._joined("and", And, self._term)

    def _joined(self, word: str, join: type[And | Or], rule: Callable[[], Expression]) -> Expression:
        start = self._next
        first = rule()
        if self._next.symbol != word:
            return first
        operands = [self._condition(first, start)]
        while self._accept(word):
            start = self._next
            operands.append(self._condition(rule(), start))
        return join(tuple(operands))

    def _term(self) -> Expression:
        """term = "!", negated | operand, [ comparison, operand ] ;
        comparison = "=" | "!=" | "<" | "<=" | ">" | ">=" | "in" ;
        """
        if self._accept("!"):
            with self._deeper():
                return self._negated()
        left = self._operand()
        if self._next.symbol not in COMPARISONS:
            return left
        operator = self._advance().text
        start = self._next
        right = self._operand()
        if operator == "in" and not isinstance(right, ListOf | Path):
            raise self._error("`in` must be followed by a list or a path", start)
        if self._next.symbol in COMPARISONS:
            raise self._error("comparisons cannot be chained: join two by `and`")
        return Compare(left, operator, right)

    def _negated(self) -> Expression:
        """negated = "!", negated | operand ;    no comparison follows: `!a = b` could be `(!a) = b` or `!(a = b)`"""
        start = self._next
        operand = self._term() if start.symbol == "!" else self._operand()
        if self._next.symbol in COMPARISONS:
            raise self._error("`!` before a comparison needs parentheses: `!( … )`")
        return Not(self._condition(operand, start))

    def _operand(self) -> Expression:
        """operand = "(", either, ")" | list | call | path | text | number | "true" | "false" | "null" ;"""
        token = self._advance()
        match token.kind, token.text:
            case "symbol", "(":
                with self._deeper():
                    inner = self._either()
                    self._expect(")")
                return inner
            case "symbol", "[":
                return ListOf(self._items("]"))
            case "path", function if self._next.text == "(" and function in ARGUMENTS:
                return self._call(token)
            case "path", _ if self._next.text == "(":
                raise self._error(f"there is no such function; there are {', '.join(ARGUMENTS)}", token)
            case "path", word if word in _SUGGESTIONS:
                raise self._error("", token)
            case "path", path:
                return Path(tuple(_ESCAPED.sub(r"\1", key) for key in _KEY.findall(path)))
            case "text", text:
                return Literal(text[1:-1])
            case "number", number:
                return Literal(float(number) if "." in number or len(number) > LONGEST_INTEGER else int(number))
            case "word", word if word in _CONSTANTS:
                return Literal(_CONSTANTS[word])
        raise self._error("expected a path, a value or a condition", token)

    def _call(self, name: _Token) -> Expression:
        """call = function, "(", operand, { ",", operand }, ")" ;"""
        self._expect("(")
        arguments = self._items(")")
        count = ARGUMENTS[name.text]
        if len(arguments) != count:
            noun = "argument" if count == 1 else "arguments"
            raise self._error(f"{name.text}() takes {count} {noun}, not {len(arguments)}", name)
        return Call(name.text, arguments)

    def _items(self, closing: str) -> tuple[Expression, ...]:
        """list = "[", [ operand, { ",", operand } ], "]" ;"""
        items: list[Expression] = []
        with self._deeper():
            while self._next.symbol != closing:
                if items and not self._accept(","):
                    raise self._error(f"expected `,` or `{closing}`")
                items.append(self._operand())
        self._expect(closing)
        return tuple(items)

    def _condition(self, expression: Expression, start: _Token) -> Expression:
        if not is_condition(expression):
            raise self._error("this is not a condition: it can be neither true nor false", start)
        return expression

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"nested deeper than {DEEPEST}")
        yield
        self._depth -= 1

    def _advance(self) -> _Token:
        token = self._next
        self._next = next(self._tokens, token)
        return token

    def _accept(self, symbol: str) -> bool:
        found = self._next.symbol == symbol
        if found:
            self._advance()
        return found

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self._error(f"expected `{symbol}`")

    def _error(self, reason: str, token: _Token | None = None) -> FqlError:
        token = token or self._next
        if token.text in _SUGGESTIONS:
            reason = f"write `{_SUGGESTIONS[token.text]}` for `{token.text}`"
        return FqlError(reason, self._source, token.start, reason)


def _tokens(source: str) -> list[_Token]:
    """Return the tokens of `source`; the last is of the kind `end`."""
    tokens = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise FqlError(reason := _unreadable(source, position), source, position, reason)
        kind = match.lastgroup or ""
        if kind == "path" and match.group() in _WORDS:
            kind = "word"
        if kind != "space":
            tokens.append(_Token(kind, match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(source))]


def _unreadable(source: str, position: int) -> str:
    """Return the reason why no token begins here."""
    match source[position]:
        case '"' | "'" as quote:
            return f"the closing {quote} is missing"
        case char if char.isdigit() or char == "-":
            return "a number is digits, optionally with a point and more digits"
        case char if source[position : position + 2] in _SUGGESTIONS:
            return f"write `{_SUGGESTIONS[source[position : position + 2]]}` for `{char}{char}`"
        case char:
            return f"unexpected character {char!r}; in a name, put a backslash before it"
