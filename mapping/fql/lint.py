"""Lint triggers: warn of conditions that do something else than they seem to.

The parser follows the reference, which accepts nearly every text. The linter checks the pieces that the parser reads
(`parser.read`). Each warning says what the trigger actually does, and has a suggestion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from mapping import javascript
from mapping.envelope import EVENT_TYPES
from mapping.fql.conditions import OPERATORS, ROOTS, Comparison, Missing
from mapping.fql.errors import point_at
from mapping.fql.parser import FIELD_TYPES, Piece, parse, read
from mapping.fql.tokens import Token

_ORDER = frozenset({"<", "<=", ">", ">="})
_WRITTEN = frozenset({"=", "!="}) | _ORDER
_LITERALS = frozenset({"true", "false", "null", "none", "nil", "undefined"})
_FIELDS = "type, event, name, userId, properties.…, traits.… and context.…"


@dataclass(frozen=True, slots=True)
class FqlWarning:
    """A warning: the position in the trigger, what it actually does there, and a suggestion.

    `str(warning)` has both sentences, the source, and a caret under the character.
    """

    source: str
    position: int
    actual: str
    suggestion: str

    def __str__(self) -> str:
        return f"{self.actual}; {self.suggestion}\n{self.caret()}"

    def caret(self) -> str:
        """Return the line of the source and, below it, a caret under the character."""
        return point_at(self.source, self.position)


Finding = tuple[int, str, str]  # position, what the trigger actually does, suggestion


def warnings(source: str) -> list[FqlWarning]:
    """Return the warnings for the trigger `source`, in order of position. Raises FqlError as `parse` does."""
    condition = parse(source)
    found = [FqlWarning(source, *finding) for finding in _of_pieces(read(source))]
    if not found and frozenset() in (condition.types(), condition.events()):
        found.append(FqlWarning(source, 0, "no event can ever match", "look for conditions that exclude each other"))
    return sorted(found, key=lambda warning: warning.position)


def _of_pieces(pieces: tuple[Piece, ...]) -> Iterator[Finding]:
    yield from _of_joints(pieces)
    for before, piece in pairwise((None, *pieces)):
        match piece:
            case Piece("condition", (field, operator, value), Comparison() as condition):
                yield from _of_condition(field, operator, value, condition)
            case Piece("function"):
                yield from _of_function(piece)
            case Piece("group", (opening, _), Missing()):
                yield opening.start, "evaluating an empty group is an error", "put a condition into it"
            case Piece("group", _, _, inner):
                yield from _of_pieces(inner)
            case Piece("skipped", (token,)) if before is None or before.rule != "skipped":
                yield from _of_skipped(token, before)
    for group, after in pairwise(pieces):
        if _ends_with_a_function(group) and after.tokens[0].kind != "parenright":
            yield _early_end(group)


def _of_joints(pieces: tuple[Piece, ...]) -> Iterator[Finding]:
    """Warn of two operators in a group, conditions without an operator, and operators without two conditions."""
    joints = [piece.tokens[0] for piece in pieces if piece.rule == "joint"]
    count = sum(piece.condition is not None for piece in pieces)
    others = [joint for joint in joints if joint.value != joints[-1].value]
    if others and count > 1:
        actual = f"`and` and `or` have no precedence: the last one, `{joints[-1].value}`, joins all {count} conditions"
        yield others[0].start, actual, "group conditions with parentheses, or make two subscriptions"
    for before, after in pairwise((None, *pieces, None)):
        if before and after and before.condition and after.condition:
            joint = joints[-1].value if joints else "and"
            yield (
                after.tokens[0].start,
                f"there is no operator before this condition: it is joined by `{joint}`",
                "write the operator",
            )
        elif before and before.rule == "joint" and (after is None or after.rule == "joint"):
            yield (
                before.tokens[0].start,
                "no condition follows this operator",
                "remove it, or complete the condition",
            )
        elif before is None and after and after.rule == "joint":
            yield (
                after.tokens[0].start,
                "no condition precedes this operator",
                "remove it, or complete the condition",
            )


def _of_condition(field: Token, operator: Token, value: Token, condition: Comparison) -> Iterator[Finding]:
    if operator.value not in _WRITTEN:
        yield _of_operator(field, operator)
        return
    yield from _of_path(field)
    yield from _of_value(operator, value)
    if condition.type in ("event-type", "event", "name", "userId") and condition.operator in ("=", "!="):
        yield from _of_comparison_with_text(field, value, condition)
    if condition.operator == "number_not_equals":
        actual = f"events without `{field.value}`, or with a text in it, do not match"
        suggestion = f"to select events without it, write `({field.value} != {value.value} or {field.value} = null)`"
        yield operator.start, actual, suggestion
    is_nan = condition.operator in _ORDER and math.isnan(javascript.number_of(condition.value))
    if is_nan and value.kind in ("string", "ident", "null"):
        actual = f"`{operator.value}` compares numbers and this is not a number: the condition is never true"
        yield value.start, actual, "write a number"


def _of_path(field: Token) -> Iterator[Finding]:
    root, dot, below = field.value.partition(".")
    is_root = FIELD_TYPES.get(root) in ROOTS
    if dot and not is_root:
        yield field.start, f"what follows `{root}` is ignored", f"write `{root}`, or `properties.{below}`"
    if is_root and not below:
        yield field.start, f"this looks for a field `{root}` in {root}", f"name a field in it: `{root}.…`"


def _of_operator(field: Token, operator: Token) -> Finding:
    """Warn of an operator that is not one: a piece of a path, the name of a function, or anything else."""
    match operator.value:
        case "." | "[":
            actual = "the path ends here, and the comparison is never true"
            suggestion = "put a backslash before a name that begins with a digit or is a word of FQL: `a.\\0.b`"
            return operator.start, actual, suggestion
        case "contains" | "starts_with" | "ends_with":
            actual = f"`{operator.value}` works as an operator, but is undocumented"
            return operator.start, actual, f'write `contains({field.value}, "…")` or `match({field.value}, "…*")`'
        case known if known in OPERATORS:
            return operator.start, f"`{known}` works as an operator, but is undocumented", "write `=` or `!=`"
        case other:
            actual = f"`{other}` is not an operator: the condition is never true"
            return operator.start, actual, "write one of = != < <= > >="


def _of_value(operator: Token, value: Token) -> Iterator[Finding]:
    match value.kind:
        case "operator" if value.start == operator.end and value.value == "=" and operator.value == "=":
            yield operator.start, "`==` compares with the text `=`, and skips what follows", "write `=`"
        case "operator" if value.start == operator.end and value.value == "=":
            symbol = operator.value + "="
            actual = f"without a space after it, `{symbol}` is `{operator.value}` and the text `=`: never true"
            yield operator.start, actual, f"write a space after `{symbol}`"
        case "dot":
            yield value.start, "this compares with the text `.`", "begin a number with a digit: `0.5`"
        case "eos":
            yield operator.start, "without a value this compares with the text `eos`", "write the value"
        case "string":
            yield from _of_text(value)
        case "number" if math.isnan(javascript.number_of(value.value)):
            yield value.start, f"`{value.value}` is not a number", "write digits"
        case "ident":
            yield from _of_unquoted(value)
        case "null" | "number":
            pass
        case _:
            yield value.start, f"this compares with the text `{value.value}`", "put the value in double quotes"


def _of_text(value: Token) -> Iterator[Finding]:
    if value.value[0] == "'":
        actual = "single quotes are part of the text: it is compared with the quotes"
        yield value.start, actual, f'write `"{value.value[1:-1]}"`'
    if value.value[-2] == "\\":
        yield value.start, "a backslash does not escape a quote: the text ends at the next quote", "remove the quote"
    if value.end - value.start < len(value.value):
        yield value.end, "a closing quote without a space after it opens another text", "write a space after it"


def _of_unquoted(value: Token) -> Iterator[Finding]:
    if value.value.lower() in _LITERALS and value.value not in ("true", "false"):
        literal = value.value.lower() if value.value.lower() in ("true", "false") else "null"
        yield value.start, f"this compares with the text `{value.value}`", f"write `{literal}`"
    elif value.end - value.start > len(value.value) == 1:
        yield (
            value.start,
            f"a word this short at the end of a trigger is read as `{value.value}`",
            "put it in double quotes",
        )


def _of_comparison_with_text(field: Token, value: Token, condition: Comparison) -> Iterator[Finding]:
    is_literal = value.kind in ("null", "number") or (value.kind == "ident" and value.value in ("true", "false"))
    if is_literal:
        actual = f"`{field.value}` is compared with the text `{condition.value}`"
        yield value.start, actual, f'write `"{condition.value}"` to compare with that text; the field has no other test'
    elif condition.type == "event-type" and value.value[0] == '"' and condition.value not in EVENT_TYPES:
        lower = str(condition.value).lower()
        suggestion = f'write `"{lower}"`' if lower in EVENT_TYPES else f"the types are {', '.join(sorted(EVENT_TYPES))}"
        yield value.start, f"no event has the type `{condition.value}`", suggestion


def _of_function(piece: Piece) -> Iterator[Finding]:
    name, opening, path, comma, value, closing = piece.tokens
    condition = piece.condition
    form = f'{name.value}(properties.title, "text")'
    if (opening.kind, comma.kind) != ("parenleft", "comma") or closing.kind not in ("parenright", "eos"):
        yield name.start, f"{name.value} takes the next five tokens, whatever they are", f"write it like `{form}`"
        return
    if not isinstance(condition, Comparison):
        yield (
            path.start,
            f"{name.value}() does not support `{path.value}`",
            f"write it like `{form}`",
        )
        return
    root = path.value.split(".")[0]
    if root not in FIELD_TYPES:
        yield (
            path.start,
            f"this looks for a field `{path.value}` in {_root_of(condition)}",
            f"write `{_root_of(condition)}.…`",
        )
    yield from _of_path(path)
    if value.kind == "string":
        yield from _of_text(value)
    if name.value == "match":
        yield from _of_pattern(value)
    if condition.operator.startswith("not_") and condition.type not in ("event", "event-type"):
        actual = f"events without a text in `{path.value}` do not match"
        suggestion = f"to select events without it, write `({path.value} = null or !{name.value}(…))`"
        yield name.start, actual, suggestion
    elif condition.operator.startswith("not_"):
        yield name.start, f"events without a text in `{path.value}` do not match", "to select them, test `type`"


def _root_of(condition: Comparison) -> str:
    return next(field for field, type in FIELD_TYPES.items() if type == condition.type)


def _of_pattern(value: Token) -> Iterator[Finding]:
    """Warn of a pattern that is not a text with a single `*` at one end."""
    text = value.value[1:-1] if value.kind == "string" else value.value
    if value.value.endswith('*"'):
        literal = text[:-1]
    elif text.startswith("*"):
        literal = text[1:]
    else:
        actual = f"a pattern without `*` loses its first character: this matches texts that end in `{text[1:]}`"
        yield value.start, actual, 'write `= "…"`, or a `*` at the beginning or the end'
        return
    if any(char in literal for char in "*?["):
        actual = f"match supports one `*`, at one end: `{literal}` is compared literally"
        yield value.start, actual, "write `contains(…)`, or use a destination filter, which supports patterns"


def _ends_with_a_function(group: Piece) -> bool:
    return group.rule == "group" and bool(group.inner) and group.inner[-1].rule == "function"


def _early_end(group: Piece) -> Finding:
    actual = "the parenthesis that ends the function ends the group as well: what follows is outside the group"
    return group.tokens[1].start, actual, "put the function at the end of the group, or make two subscriptions"


def _of_skipped(token: Token, before: Piece | None) -> Iterator[Finding]:
    """Warn of a token that the reference skips silently."""
    if token.kind == "parenright":
        if before is None or not _ends_with_a_function(before):
            yield token.start, "this parenthesis closes no group: it is skipped", "remove it"
    elif token.kind == "operator" and token.value == "!":
        suggestion = "write `!=`, or the opposite condition; only contains() and match() can be negated"
        yield token.start, "this `!` negates no condition: it is skipped", suggestion
    elif before and before.rule == "condition" and _is_cut_short(*before.tokens):
        pass  # the condition has a warning, which covers this token
    elif before and before.tokens[-1].kind == "number" and before.tokens[-1].end == token.start:
        number = before.tokens[-1].value
        yield (
            token.start,
            f"the number ends here: it is {number}, and the rest is skipped",
            "write digits and one point",
        )
    elif token.kind == "ident":
        yield _of_unknown_word(token)
    else:
        yield token.start, f"`{token.value}` is unexpected here: it is skipped", "remove it"


def _is_cut_short(_field: Token, operator: Token, value: Token) -> bool:
    """Whether the condition ends earlier than it seems to, so that the rest of it is skipped."""
    is_reopened = value.kind == "string" and value.end - value.start < len(value.value)
    return operator.value not in _WRITTEN or value.kind not in ("string", "number", "ident", "null") or is_reopened


def _of_unknown_word(word: Token) -> Finding:
    lower = word.value.lower()
    if lower in ("and", "or"):
        actual = f"this `{word.value}` is skipped and does not join conditions"
        return word.start, actual, f"write `{lower}` in lower case, with a space after it"
    if lower in ("not", "length", "lowercase", "uppercase", "typeof", "in"):
        actual = f"triggers support contains() and match() only: `{word.value}` is skipped"
        return word.start, actual, "use a destination filter, which supports it"
    known = {field.lower(): field for field in FIELD_TYPES}.get(lower.split(".")[0].replace("_", ""))
    suggestion = f"write `{known}`" if known else f"the fields are {_FIELDS}; destination filters support all fields"
    return word.start, f"triggers do not support `{word.value}`: this condition is ignored", suggestion
