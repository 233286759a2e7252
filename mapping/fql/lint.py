"""What a trigger says and does not do: warnings for whoever wrote it, or carried it over.

The parser follows the reference, which accepts nearly everything. This goes over the pieces it took (`parser.read`)
and names those whose meaning surprises, each with what it really does and what was probably meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from mapping import javascript
from mapping.fql.conditions import OPERATORS, ROOTS, Comparison, Missing
from mapping.fql.errors import point_at
from mapping.fql.parser import FIELD_TYPES, Piece, parse, read
from mapping.fql.tokens import Token

EVENT_TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias", "delete"})
_ORDER = frozenset({"<", "<=", ">", ">="})
_WRITTEN = frozenset({"=", "!="}) | _ORDER
_LITERALS = frozenset({"true", "false", "null", "none", "nil", "undefined"})
_FIELDS = "type, event, name, userId, properties.…, traits.… and context.…"


@dataclass(frozen=True, slots=True)
class FqlWarning:
    """Something in a trigger that surprises: where, what it really does, and what was probably meant.

    `str(warning)` is the form for people: both sentences, the source, and a caret under the character.
    """

    source: str
    position: int
    really: str
    meant: str

    def __str__(self) -> str:
        return f"{self.really}; {self.meant}\n{self.caret()}"

    def caret(self) -> str:
        """Return the line of the source that is meant and, below it, a caret under the character."""
        return point_at(self.source, self.position)


Surprise = tuple[int, str, str]  # position, what it really does, what was probably meant


def warnings(source: str) -> list[FqlWarning]:
    """Return what surprises in the trigger `source`, in order of position. Raises FqlError as `parse` does."""
    condition = parse(source)
    found = [FqlWarning(source, *surprise) for surprise in _of_pieces(read(source))]
    if not found and frozenset() in (condition.types(), condition.events()):
        found.append(FqlWarning(source, 0, "no event can ever match", "look for conditions that exclude each other"))
    return sorted(found, key=lambda warning: warning.position)


def _of_pieces(pieces: tuple[Piece, ...]) -> Iterator[Surprise]:
    yield from _of_joints(pieces)
    for before, piece in pairwise((None, *pieces)):
        match piece:
            case Piece("condition", (field, operator, value), Comparison() as made):
                yield from _of_condition(field, operator, value, made)
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


def _of_joints(pieces: tuple[Piece, ...]) -> Iterator[Surprise]:
    """Two operators in one group, conditions without one between them, operators without two conditions."""
    joints = [piece.tokens[0] for piece in pieces if piece.rule == "joint"]
    count = sum(piece.made is not None for piece in pieces)
    odd = [joint for joint in joints if joint.value != joints[-1].value]
    if odd and count > 1:
        really = f"`and` and `or` have no precedence: the last one, `{joints[-1].value}`, joins all {count} conditions"
        yield odd[0].start, really, "put those that belong together in parentheses, or make two subscriptions"
    for before, after in pairwise((None, *pieces, None)):
        if before and after and before.made and after.made:
            joint = joints[-1].value if joints else "and"
            yield (
                after.tokens[0].start,
                f"nothing joins this to what precedes it: it is joined by `{joint}`",
                "write it",
            )
        elif before and before.rule == "joint" and (after is None or after.rule == "joint"):
            yield (
                before.tokens[0].start,
                "no condition follows this operator",
                "leave it out, or complete the condition",
            )
        elif before is None and after and after.rule == "joint":
            yield (
                after.tokens[0].start,
                "no condition precedes this operator",
                "leave it out, or complete the condition",
            )


def _of_condition(field: Token, operator: Token, value: Token, made: Comparison) -> Iterator[Surprise]:
    if operator.value not in _WRITTEN:
        yield _of_operator(field, operator)
        return
    yield from _of_path(field)
    yield from _of_value(operator, value)
    if made.type in ("event-type", "event", "name", "userId") and made.operator in ("=", "!="):
        yield from _of_comparison_with_text(field, value, made)
    if made.operator == "number_not_equals":
        really = f"an event without `{field.value}`, or with a text there, does not match"
        yield (
            operator.start,
            really,
            f"for those, too, write `({field.value} != {value.value} or {field.value} = null)`",
        )
    is_nan = made.operator in _ORDER and math.isnan(javascript.number_of(made.value))
    if is_nan and value.kind in ("string", "ident", "null"):
        yield value.start, f"`{operator.value}` compares numbers, and this is none: it is never true", "write a number"


def _of_path(field: Token) -> Iterator[Surprise]:
    root, dot, below = field.value.partition(".")
    is_root = FIELD_TYPES.get(root) in ROOTS
    if dot and not is_root:
        yield field.start, f"what follows `{root}` is ignored", f"write `{root}`, or `properties.{below}`"
    if is_root and not below:
        yield field.start, f"this looks for a field `{root}` in {root}", f"name a field in it: `{root}.…`"


def _of_operator(field: Token, operator: Token) -> Surprise:
    """An operator that is none: nothing, a piece of a path, a function written in between, or anything else."""
    match operator.value:
        case "." | "[":
            really = "the path ends here, and the comparison is never true"
            return (
                operator.start,
                really,
                "put a backslash before what begins with a digit or is a word of FQL: `a.\\0.b`",
            )
        case "contains" | "starts_with" | "ends_with":
            really = f"`{operator.value}` between two values works, though nobody promises it"
            return operator.start, really, f'write `contains({field.value}, "…")` or `match({field.value}, "…*")`'
        case known if known in OPERATORS:
            return operator.start, f"`{known}` works as an operator, though nobody promises it", "write `=` or `!=`"
        case other:
            return operator.start, f"`{other}` is no operator: it is never true", "write one of = != < <= > >="


def _of_value(operator: Token, value: Token) -> Iterator[Surprise]:
    match value.kind:
        case "operator" if value.start == operator.end and value.value == "=" and operator.value == "=":
            yield operator.start, "`==` compares with the text `=`, and skips what follows", "write `=`"
        case "operator" if value.start == operator.end and value.value == "=":
            symbol = operator.value + "="
            really = f"`{symbol}` with no space behind it is `{operator.value}` compared with the text `=`: never true"
            yield operator.start, really, f"write `{symbol}` and a space"
        case "dot":
            yield value.start, "this compares with the text `.`", "begin a number with a digit: `0.5`"
        case "eos":
            yield operator.start, "without a value this compares with the text `eos`", "write the value"
        case "string":
            yield from _of_text(value)
        case "number" if math.isnan(javascript.number_of(value.value)):
            yield value.start, f"`{value.value}` is no number", "write digits"
        case "ident":
            yield from _of_unquoted(value)
        case "null" | "number":
            pass
        case _:
            yield value.start, f"this compares with the text `{value.value}`", "put the value in double quotes"


def _of_text(value: Token) -> Iterator[Surprise]:
    if value.value[0] == "'":
        really = "text in single quotes keeps them: it is compared with the quotes"
        yield value.start, really, f'write `"{value.value[1:-1]}"`'
    if value.value[-2] == "\\":
        yield value.start, "a backslash escapes nothing in text: it ends at the next quote", "leave the quote out"
    if value.end - value.start < len(value.value):
        yield value.end, "a closing quote with no space behind it opens another text", "put a space behind it"


def _of_unquoted(value: Token) -> Iterator[Surprise]:
    if value.value.lower() in _LITERALS and value.value not in ("true", "false"):
        meant = value.value.lower() if value.value.lower() in ("true", "false") else "null"
        yield value.start, f"this compares with the text `{value.value}`", f"write `{meant}`"
    elif value.end - value.start > len(value.value) == 1:
        yield value.start, f"a word this short at the very end is read as `{value.value}`", "put it in double quotes"


def _of_comparison_with_text(field: Token, value: Token, made: Comparison) -> Iterator[Surprise]:
    is_literal = value.kind in ("null", "number") or (value.kind == "ident" and value.value in ("true", "false"))
    if is_literal:
        really = f"`{field.value}` is compared with the text `{made.value}`"
        yield value.start, really, f'write `"{made.value}"` if that is meant; there is no other test of its kind'
    elif made.type == "event-type" and value.value[0] == '"' and made.value not in EVENT_TYPES:
        lower = str(made.value).lower()
        meant = f'write `"{lower}"`' if lower in EVENT_TYPES else f"the types are {', '.join(sorted(EVENT_TYPES))}"
        yield value.start, f"no event has the type `{made.value}`", meant


def _of_function(piece: Piece) -> Iterator[Surprise]:
    name, opening, path, comma, value, closing = piece.tokens
    made = piece.made
    form = f'{name.value}(properties.title, "text")'
    if (opening.kind, comma.kind) != ("parenleft", "comma") or closing.kind not in ("parenright", "eos"):
        yield name.start, f"{name.value} takes the next five words, whatever they are", f"write it like `{form}`"
        return
    if not isinstance(made, Comparison):
        yield (
            path.start,
            f"{name.value}() makes no condition of `{path.value}`",
            f"its form is `{form}`, without `type`",
        )
        return
    root = path.value.split(".")[0]
    if root not in FIELD_TYPES:
        yield path.start, f"this looks for a field `{path.value}` in {_root_of(made)}", f"write `{_root_of(made)}.…`"
    yield from _of_path(path)
    if value.kind == "string":
        yield from _of_text(value)
    if name.value == "match":
        yield from _of_pattern(value)
    if made.operator.startswith("not_") and made.type not in ("event", "event-type"):
        really = f"an event without a text in `{path.value}` does not match"
        yield name.start, really, f"for those, too, write `({path.value} = null or !{name.value}(…))`"
    elif made.operator.startswith("not_"):
        yield name.start, f"an event without a text in `{path.value}` does not match", "mind that, or test the type"


def _root_of(made: Comparison) -> str:
    return next(field for field, type in FIELD_TYPES.items() if type == made.type)


def _of_pattern(value: Token) -> Iterator[Surprise]:
    """What `match` does with anything but one `*` at one end."""
    text = value.value[1:-1] if value.kind == "string" else value.value
    if value.value.endswith('*"'):
        literal = text[:-1]
    elif text.startswith("*"):
        literal = text[1:]
    else:
        really = f"a pattern without `*` loses its first character: this matches what ends in `{text[1:]}`"
        yield value.start, really, 'write `= "…"`, or a `*` at the beginning or the end'
        return
    if any(char in literal for char in "*?["):
        meant = "for a text in the middle write `contains(…)`; destination filters know whole patterns"
        yield value.start, f"match knows one `*`, at one end: `{literal}` is taken as it stands", meant


def _ends_with_a_function(group: Piece) -> bool:
    return group.rule == "group" and bool(group.inner) and group.inner[-1].rule == "function"


def _early_end(group: Piece) -> Surprise:
    really = "the parenthesis that ends the function ends the group as well: what follows stands outside"
    return group.tokens[1].start, really, "let one function be the last thing in the group, or make two subscriptions"


def _of_skipped(token: Token, before: Piece | None) -> Iterator[Surprise]:
    """What the reference skips without a word."""
    if token.kind == "parenright":
        if before is None or not _ends_with_a_function(before):
            yield token.start, "this parenthesis closes nothing: it is skipped", "leave it out"
    elif token.kind == "operator" and token.value == "!":
        meant = "write `!=`, or the opposite condition; only contains() and match() can be negated"
        yield token.start, "this `!` negates nothing: it is skipped", meant
    elif before and before.rule == "condition" and _is_cut_short(*before.tokens):
        pass  # told there: this is the rest of it
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
        yield token.start, f"`{token.value}` fits nowhere here: it is skipped", "leave it out"


def _is_cut_short(_field: Token, operator: Token, value: Token) -> bool:
    """Whether the condition ended before the writer thought it would."""
    is_reopened = value.kind == "string" and value.end - value.start < len(value.value)
    return operator.value not in _WRITTEN or value.kind not in ("string", "number", "ident", "null") or is_reopened


def _of_unknown_word(word: Token) -> Surprise:
    lower = word.value.lower()
    if lower in ("and", "or"):
        really = f"this `{word.value}` is skipped, so it does not join what it stands between"
        return word.start, really, f"write `{lower}`, in small letters and with a space behind it"
    if lower in ("not", "length", "lowercase", "uppercase", "typeof", "in"):
        really = f"triggers know contains() and match() only: `{word.value}` is skipped"
        return word.start, really, "use a destination filter, whose language has it"
    known = {field.lower(): field for field in FIELD_TYPES}.get(lower.split(".")[0].replace("_", ""))
    meant = f"write `{known}`" if known else f"the fields are {_FIELDS}; a destination filter knows all"
    return word.start, f"triggers do not know `{word.value}`: this condition is left out, and the rest decides", meant
