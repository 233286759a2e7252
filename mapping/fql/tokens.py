"""Split the text of a trigger into tokens with their positions.

The rules are those of `@segment/fql-ts` 1.10.1, with all its quirks, because a trigger must select the same events:

- operators of two characters and the words `and`, `or`, `null` must be followed by white space, `,`, `]`, `)` or the
  end of the text: `>=5` is `>` and `=`; `or(` is a name;
- a name must be followed by one of these, or by `.`, `(`, `=`, `!`; any other character is an error (`a>5`);
- a text in quotes has no escapes, and its closing quote must be followed by one of these as well;
- a backslash in a name escapes any character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mapping.fql.errors import FqlError
from mapping.javascript import length

Kind = Literal[
    "ident",
    "dot",
    "operator",
    "conditional",
    "string",
    "number",
    "null",
    "brackleft",
    "brackright",
    "parenleft",
    "parenright",
    "comma",
    "eos",
]

LONGEST = 99_999  # characters of one name, number or text
SPACE = " \t\n"
END = SPACE + ",])"

_PUNCTUATION: dict[str, Kind] = {
    ".": "dot",
    "[": "brackleft",
    "]": "brackright",
    ",": "comma",
    "(": "parenleft",
    ")": "parenright",
}
_KEYWORDS: dict[str, Kind] = {"and": "conditional", "or": "conditional", "null": "null"}
_NAME = re.compile(r"(?:[A-Za-z0-9_-]|\\[\0-\uffff])+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"[-+0-9][0-9.]*")


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its kind, its value, and the half-open range of its characters in the source.

    The value of a text includes the quotes; the value of a name does not include backslashes.
    """

    kind: Kind
    value: str
    start: int
    end: int


def tokenize(source: str) -> list[Token]:
    """Return the tokens of `source`, `eos` at the end. Raises FqlError at the first unexpected character."""
    tokens = []
    position = 0
    while position < len(source):
        if source[position] in SPACE:
            position += 1
            continue
        token = _token(source, position)
        tokens.append(token)
        position = token.end
    tokens.append(Token("eos", "eos", len(source), len(source)))
    return tokens


def _token(source: str, start: int) -> Token:
    char = source[start]
    following = source[start + 1 : start + 2]
    if char in _PUNCTUATION:
        return Token(_PUNCTUATION[char], char, start, start + 1)
    if char == "!" and following and _is_letter_or_paren(following):
        return Token("operator", "!", start, start + 1)
    if char in "!=<>":
        return _operator(source, start)
    if _is_letter(char) or char in "\\_":
        return _word(source, start)
    if char in "0123456789+-":
        return _number(source, start)
    if char in "\"'":
        return _text(source, start)
    raise FqlError(f"unexpected character {char!r}", source, start)


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _is_letter_or_paren(char: str) -> bool:
    return char == "(" or _is_letter(char)


def _ends_at(source: str, position: int) -> bool:
    return position >= len(source) or source[position] in END


def _operator(source: str, start: int) -> Token:
    """operator = "=" | "<" | ">" | ( "!=" | "<=" | ">=" ), end ;"""
    char = source[start]
    if char != "=" and source.startswith("=", start + 1) and _ends_at(source, start + 2):
        return Token("operator", char + "=", start, start + 2)
    if char == "!":
        raise FqlError("`!` must be followed by a name or `(`, and `!=` by a space", source, start)
    return Token("operator", char, start, start + 1)


def _word(source: str, start: int) -> Token:
    """word = ( "and" | "or" | "null" ), end | name ;"""
    for keyword, kind in _KEYWORDS.items():
        end = start + len(keyword)
        if source.startswith(keyword, start) and _ends_at(source, end):
            return Token(kind, keyword, start, end)
    if _is_lost_at_the_end(source, start):
        return Token("ident", source[start], start, len(source))
    return _name(source, start)


def _is_lost_at_the_end(source: str, start: int) -> bool:
    """Whether the text ends while the reference looks for a keyword; it then keeps the first letter only.

    It looks ahead one character after an `a` (for `and`) and two after an `n` (for `null`): `ab` at the end of the text
    is the name `a`.
    """
    looked_at = {"a": 1, "n": 2}.get(source[start], 0)
    rest = source[start + 1 : start + 2 + looked_at]
    return 0 < length(rest) <= looked_at and not any(char in END for char in rest)


def _name(source: str, start: int) -> Token:
    r"""name = ( letter | "_" | escaped ), { letter | digit | "_" | "-" | escaped }, ( end | ? before . ( = or ! ? ) ;
    escaped = "\", ? any character ? ;
    """
    match = _NAME.match(source, start)
    if match is None:
        raise FqlError("a backslash must be followed by the character it escapes", source, start)
    end = match.end()
    if not _ends_at(source, end) and source[end] not in ".(=!":
        raise FqlError(f"a name must be followed by a space, not by {source[end]!r}", source, end)
    value = _ESCAPE.sub(r"\1", match.group())
    _check_length(value, source, start)
    return Token("ident", value, start, end)


def _number(source: str, start: int) -> Token:
    """number = ( digit | "+" | "-" ), { digit }, [ ".", { digit } ] ;    a point must not be the end"""
    match = _NUMBER.match(source, start)
    assert match is not None
    value, end = match.group(), match.end()
    if value.count(".") > 1:
        raise FqlError("a number has one decimal point", source, source.index(".", source.index(".", start) + 1))
    if value.endswith(".") and _ends_at(source, end):
        raise FqlError("digits must follow the decimal point", source, end - 1)
    _check_length(value[1:], source, start)
    return Token("number", value, start, end)


def _text(source: str, start: int) -> Token:
    """text = '"', { ? any but '"' ? }, '"' | "'", { ? any but "'" ? }, "'" ;

    A closing quote that is not followed by `end` also opens the next text: `"a"b"` is `"a"` and `"b"`.
    """
    closing = source.find(source[start], start + 1)
    if closing < 0:
        raise FqlError(f"the closing {source[start]} is missing", source, start)
    _check_length(source[start + 1 : closing], source, start)
    end = closing + 1 if _ends_at(source, closing + 1) else closing
    return Token("string", source[start : closing + 1], start, end)


def _check_length(value: str, source: str, start: int) -> None:
    if len(value) > LONGEST:
        raise FqlError(f"longer than {LONGEST} characters", source, start)
