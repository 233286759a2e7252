"""The filters of `@liquid`, one function each, with the semantics of liquidjs 10.27. FILTERS is the registry.

A filter takes a value and arguments as JSON values (UNDEFINED: absent) and returns one. Numbers and texts follow the
rules of JavaScript. Additional arguments are ignored, as in a JavaScript function.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

from liquid import Undefined
from liquid.builtin.expressions.primitive import Blank, Empty

from mapping import javascript
from mapping.javascript import UNDEFINED, WHITE_SPACE, dates, json_text, truthy
from mapping.liquid.clock import time_s
from mapping.paths import compile_keys

MAX_MEMORY: Final = 100_000_000  # characters, the `memoryLimit` of the reference
OUT_OF_MEMORY: Final = "memory alloc limit exceeded"
_LONGEST_RANGE = 100_000  # items of `(1..n)`: all are made
_MOST_PADDING = 9_999  # of a part of a date

_DEFAULT_DATE = "%A, %B %-e, %Y at %-l:%M %P %z"
_SPACES = re.compile(f"[{WHITE_SPACE}]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT = re.compile(r"%([-_0^#:]+)?([0-9]+)?([EO])?(.)", re.DOTALL)
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
_HTML_ENDS = {"<script": "</script>", "<style": "</style>", "<!--": "-->", "<": ">"}
_UNESCAPES = {escaped: character for character, escaped in _ESCAPES.items()}


class FilterFault(Exception):
    """The arguments of a filter are invalid."""


def _bounded(characters: int) -> None:
    """Raise FilterFault when a filter would make a longer text than the reference allows."""
    if characters > MAX_MEMORY:
        raise FilterFault(OUT_OF_MEMORY)


def plain(value: Any) -> Any:
    """Return a value of the engine as a JSON value: its undefined, empty and range objects are converted."""
    if isinstance(value, Undefined):
        return UNDEFINED
    if isinstance(value, range):
        if len(value) > _LONGEST_RANGE:
            raise MemoryError
        return list(value)
    if isinstance(value, Empty | Blank):
        return ""
    return value


def written(value: Any) -> str:
    """Return the text of a value in the output: null is empty, the items of a list are concatenated."""
    if value is None or value is UNDEFINED:
        return ""
    if type(value) is list:
        return "".join(written(item) for item in value)
    return javascript.text(value)


def _number(value: Any) -> float:
    """Return JavaScript's `+value || 0`."""
    number = javascript.number_of(value)
    return 0.0 if math.isnan(number) else number


def _whole(number: float) -> int | float:
    return int(number) if math.isfinite(number) and number == math.floor(number) else number


def _of_numbers(calculate: Callable[..., float]) -> Callable[..., Any]:
    """Return a filter of numbers; its result is NaN without an argument that it needs."""

    def apply(*values: Any) -> Any:
        try:
            return _whole(calculate(*map(_number, values)))
        except (TypeError, ValueError):  # ValueError: an infinite number has no remainder, and NaN is not rounded
            return math.nan

    return apply


def _rounded(direction: Callable[[float], int]) -> Callable[..., float]:
    """Return a function that rounds a number in this direction. An infinite one stays as it is."""
    return lambda value, *_: value if math.isinf(value) else direction(value)


def _divide(dividend: float, divisor: float, integer: float = 0) -> float:
    if divisor == 0:
        return math.nan if dividend == 0 else math.copysign(math.inf, dividend)
    return math.floor(dividend / divisor) if integer else dividend / divisor


def _modulo(value: float, divisor: float) -> float:
    return math.nan if divisor == 0 else math.fmod(math.fmod(value, divisor) + divisor, divisor)


def _round(value: Any, places: Any = 0, *_ignored: Any) -> Any:
    number, power = _number(value), 10 ** _number(places)
    if not math.isfinite(number):
        return number
    return _whole(math.floor(number * power * (1 + 2**-52) + 0.5) / power)


def _list(value: Any) -> list[Any]:
    if value is None or value is UNDEFINED:
        return []
    return value if type(value) is list else [value]


def _join(value: Any, separator: Any = None) -> str:
    between = " " if separator is None or separator is UNDEFINED else written(separator)
    texts = ["" if item is None or item is UNDEFINED else javascript.text(item) for item in _list(value)]
    _bounded(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def _item(position: int) -> Callable[..., Any]:
    def item(value: Any, *_ignored: Any) -> Any:
        if type(value) is list or type(value) is str:
            return value[position] if value else UNDEFINED
        return ""

    return item


def _size(value: Any, *_ignored: Any) -> int:
    if type(value) is str:
        return javascript.length(value)
    return len(value) if type(value) is list else 0


def _slice(value: Any, begin: Any = UNDEFINED, count: Any = 1, *_ignored: Any) -> Any:
    if value is None or value is UNDEFINED:
        return []
    sequence = value if type(value) is list else written(value)
    if math.isnan(javascript.number_of(begin)):
        return sequence[:0]
    first, wanted = int(_number(begin)), int(_number(count))
    if first < 0:
        first += len(sequence)
    if first < 0 or wanted < 0:
        return [] if type(value) is list else ""
    return sequence[first : first + wanted]


def _sum(value: Any, name: Any = UNDEFINED, *_ignored: Any) -> Any:
    look_up = compile_keys(written(name)) if truthy(name) else _itself
    return _whole(sum(_number(look_up(item)) for item in _list(value)))


def _itself(value: Any) -> Any:
    return value


def _compact(value: Any, *_ignored: Any) -> list[Any]:
    return [item for item in _list(value) if item is not None and item is not UNDEFINED]


def _where(value: Any, name: Any = UNDEFINED, expected: Any = UNDEFINED, *_ignored: Any) -> list[Any]:
    if name is UNDEFINED:
        return []
    look_up = compile_keys(written(name))
    if expected is UNDEFINED:
        return [item for item in _list(value) if look_up(item) not in (False, None, UNDEFINED)]
    return [item for item in _list(value) if equals(look_up(item), expected)]


def equals(left: Any, right: Any) -> bool:
    """Whether two values are equal in liquidjs: booleans and objects only to themselves."""
    if type(left) is bool or type(right) is bool:
        return left is right
    if type(left) is dict or type(right) is dict:
        return left is right
    return bool(left == right)


def _append(value: Any, *arguments: Any) -> str:
    if len(arguments) != 1:
        raise FilterFault("append expect 2 arguments")
    return written(value) + written(arguments[0])


def _prepend(value: Any, *arguments: Any) -> str:
    if len(arguments) != 1:
        raise FilterFault("prepend expect 2 arguments")
    return written(arguments[0]) + written(value)


def _strip(strip: Callable[[str, str], str]) -> Callable[..., str]:
    def apply(value: Any, characters: Any = UNDEFINED, *_ignored: Any) -> str:
        return strip(written(value), written(characters) if truthy(characters) else WHITE_SPACE)

    return apply


def _split(value: Any, separator: Any = UNDEFINED, *_ignored: Any) -> list[str]:
    text, between = written(value), written(separator)
    pieces = text.split(between) if between else list(text)
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


def _replace(value: Any, pattern: Any = UNDEFINED, replacement: Any = UNDEFINED, *_ignored: Any) -> str:
    text, sought, put = written(value), written(pattern), written(replacement)
    count = text.count(sought)
    _bounded(len(text) + count * (len(put) - len(sought)))
    return text.replace(sought, put) if sought else put.join(text)


def _replace_first(value: Any, pattern: Any = UNDEFINED, replacement: Any = UNDEFINED, *_ignored: Any) -> str:
    return written(value).replace(written(pattern), written(replacement), 1)


def _replace_last(value: Any, pattern: Any = UNDEFINED, replacement: Any = UNDEFINED, *_ignored: Any) -> str:
    text, sought = written(value), written(pattern)
    before, found, after = text.rpartition(sought) if sought else (text, "", "")
    return before + written(replacement) + after if found or not sought else text


def _remove(value: Any, pattern: Any = UNDEFINED, *_ignored: Any) -> str:
    return _replace(value, pattern, "")


def _capitalize(value: Any, *_ignored: Any) -> str:
    text = written(value)
    return text[:1].upper() + text[1:].lower()


def _truncate(value: Any, limit: Any = UNDEFINED, tail: Any = "...", *_ignored: Any) -> Any:
    text, end, limit = written(value), written(tail), 50 if limit is UNDEFINED else limit
    if len(text) <= javascript.number_of(limit):
        return value
    return text[: max(0, int(_number(limit)) - len(end))] + end


def _truncate_words(value: Any, limit: Any = UNDEFINED, tail: Any = "...", *_ignored: Any) -> str:
    words, number = _SPACES.split(written(value)), javascript.number_of(15 if limit is UNDEFINED else limit)
    if math.isnan(number):
        return ""
    number = min(1 if number <= 0 else number, len(words) + 1)
    wanted = int(number)
    return " ".join(words[:wanted]) + (written(tail) if len(words) >= number else "")


def _number_of_words(value: Any, *_ignored: Any) -> int:
    text = written(value).strip(WHITE_SPACE)
    return len(_SPACES.split(text)) if text else 0


def _escape(value: Any, *_ignored: Any) -> str:
    return re.sub("[&<>\"']", lambda match: _ESCAPES[match[0]], written(value))


def _escape_once(value: Any, *_ignored: Any) -> str:
    return _escape(re.sub("&(?:amp|lt|gt|#34|#39);", lambda match: _UNESCAPES[match[0]], written(value)))


def _strip_html(value: Any, *_ignored: Any) -> str:
    """Return the text without `<script…</script>`, `<style…</style>`, `<!--…-->` and `<…>`.

    An end that is not found once is not looked for again: a text of many `<` would take the square of its length.
    """
    text, kept, position = written(value), [], 0
    ends = dict(_HTML_ENDS)
    while (start := text.find("<", position)) >= 0:
        kept.append(text[position:start])
        position = start + 1
        for opening, closing in tuple(ends.items()):
            if text.startswith(opening, start):
                end = text.find(closing, start + len(opening))
                if end >= 0:
                    position = end + len(closing)
                    break
                del ends[opening]
        else:
            kept.append("<")
    return "".join((*kept, text[position:]))


def _url_decode(value: Any, *_ignored: Any) -> str:
    try:
        decoded = unquote(re.sub("%(?![0-9a-fA-F]{2})", "\ud800", written(value)), errors="strict")
    except UnicodeDecodeError:
        raise FilterFault("URI malformed") from None
    if "\ud800" in decoded:
        raise FilterFault("URI malformed")
    return decoded.replace("+", " ")


def _url_encode(value: Any, *_ignored: Any) -> str:
    return quote(written(value), safe="-_.!~*'()").replace("%20", "+")


def _cgi_escape(value: Any, *_ignored: Any) -> str:
    return quote(written(value), safe="-_.~").replace("%20", "+")


def _uri_escape(value: Any, *_ignored: Any) -> str:
    return quote(written(value), safe=";,/?:@&=+$-_.!~*'()#[]")


def _slugify(value: Any, mode: Any = "default", cased: Any = False, *_ignored: Any) -> str:
    text = written(value)
    if mode in ("default", "latin", "pretty"):
        extra = "._~!$&'()+,;=@" if mode == "pretty" else ""
        if mode == "latin":
            text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        kept = "".join(c if unicodedata.category(c)[0] in "ML" or c.isdecimal() or c in extra else "\0" for c in text)
        text = re.sub("^-|-$", "", re.sub("\0+", "-", kept))
    elif mode in ("raw", "ascii"):
        pattern = _SPACES if mode == "raw" else re.compile("[^A-Za-z0-9]+")
        text = re.sub("^-|-$", "", pattern.sub("-", text))
    return text if truthy(cased) else text.lower()


def _default(value: Any, otherwise: Any = UNDEFINED, *options: Any) -> Any:
    if type(value) is list or type(value) is str:
        return value or otherwise
    if value is False and any(option == ["allow_false", True] for option in options):
        return False
    return otherwise if value in (None, UNDEFINED) or value is False else value


def _to_integer(value: Any, *_ignored: Any) -> Any:
    return _whole(javascript.number_of(value))


def _json(value: Any, indent: Any = UNDEFINED, *_ignored: Any) -> Any:
    text = json_text(value)
    is_number = type(indent) in (int, float)
    between = " " * max(0, min(10, int(indent))) if is_number else indent[:10] if type(indent) is str else ""
    if not between or type(text) is not str:
        return text
    return json.dumps(json.loads(text), ensure_ascii=False, indent=between)


def _base64_decode(value: Any, *_ignored: Any) -> str:
    encoded = re.sub("[^A-Za-z0-9+/]", "", written(value).replace("-", "+").replace("_", "/"))
    whole = encoded[:-1] if len(encoded) % 4 == 1 else encoded  # a single character is not a byte
    return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", "replace")


def _hmac(value: Any, key: Any = UNDEFINED, *_ignored: Any) -> str:
    return hmac.new(written(key).encode(), written(value).encode(), "sha256").hexdigest()


def _moment(value: Any, offset: Any) -> datetime | None:
    """Return the date of a value in the zone `offset` minutes behind UTC; None for values that are not dates."""
    if value in ("now", "today"):
        milliseconds: float | None = time_s() * 1000
    elif type(value) is bool:
        milliseconds = int(value)
    elif type(value) is list:
        milliseconds = dates.milliseconds(javascript.text(value))
    elif type(value) in (int, float):
        milliseconds = value * 1000
    elif type(value) is str:
        milliseconds = float(value) * 1000 if re.fullmatch("[0-9]+", value) else dates.milliseconds(value)
    else:
        milliseconds = None
    if milliseconds is None or not math.isfinite(milliseconds):
        return None
    minutes = offset if type(offset) in (int, float) else 0
    try:
        return _EPOCH + timedelta(milliseconds=math.floor(milliseconds) - minutes * 60_000)
    except OverflowError:
        return None


def _date(value: Any, pattern: Any = None, offset: Any = UNDEFINED, *_ignored: Any) -> Any:
    moment = _moment(value, offset)
    if moment is None:
        return value
    pattern = _DEFAULT_DATE if pattern is None or pattern is UNDEFINED else written(pattern)
    minutes = int(offset) if type(offset) in (int, float) else 0
    return _FORMAT.sub(lambda match: _formatted(match, moment, minutes), pattern)


def _formatted(match: re.Match[str], moment: datetime, offset: int) -> str:
    flags, width, _modifier, code = match.groups(default="")
    if code not in _DATE_PARTS:
        return match[0]
    if int(width or 0) > _MOST_PADDING:
        raise FilterFault(OUT_OF_MEMORY)
    part, padded = _DATE_PARTS[code]
    if code == "z":
        hours, minutes = divmod(abs(offset), 60)
        text = f"{'-' if offset > 0 else '+'}{hours:02}{':' if ':' in flags else ''}{minutes:02}"
    elif code == "N":
        digits = int(width or 9)
        text = f"{moment.microsecond // 1000:03}"[:digits].ljust(digits, "0")
    else:
        text = str(part(moment))
    if "^" in flags:
        text = text.upper()
    elif "#" in flags:
        text = text.lower() if any(character.isupper() for character in text) else text.upper()
    fill = " " if "_" in flags else "0" if "0" in flags else " " if code in "aAbBceklpP" else "0"
    return text if "-" in flags else text.rjust(int(width or padded), fill)


def _week(moment: datetime, first_day: int) -> int:
    weekday = moment.isoweekday() % 7
    january_first = moment.replace(month=1, day=1).isoweekday() % 7
    now = moment.timetuple().tm_yday + first_day - weekday
    return (now - (7 - january_first + first_day)) // 7 + 1


def _ordinal(moment: datetime) -> str:
    return "th" if moment.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(moment.day % 10, "th")


def _american(moment: datetime, pattern: str) -> str:
    return pattern.format(
        m=moment.month,
        d=moment.day,
        y=moment.year,
        time=f"{moment.hour % 12 or 12}:{moment:%M:%S}\u202f{'AM' if moment.hour < 12 else 'PM'}",
    )


# The output of each letter of a date format, and the width to which it is padded.
_DATE_PARTS: Final[dict[str, tuple[Callable[[datetime], Any], int]]] = {
    "a": (lambda moment: f"{moment:%a}", 0),
    "A": (lambda moment: f"{moment:%A}", 0),
    "b": (lambda moment: f"{moment:%b}", 0),
    "B": (lambda moment: f"{moment:%B}", 0),
    "h": (lambda moment: f"{moment:%b}", 0),
    "c": (lambda moment: _american(moment, "{m}/{d}/{y}, {time}"), 0),
    "C": (lambda moment: int(str(moment.year)[:2]), 0),
    "d": (lambda moment: moment.day, 2),
    "e": (lambda moment: moment.day, 2),
    "H": (lambda moment: moment.hour, 2),
    "I": (lambda moment: moment.hour % 12 or 12, 2),
    "j": (lambda moment: moment.timetuple().tm_yday, 3),
    "k": (lambda moment: moment.hour, 2),
    "l": (lambda moment: moment.hour % 12 or 12, 2),
    "L": (lambda moment: moment.microsecond // 1000, 3),
    "m": (lambda moment: moment.month, 2),
    "M": (lambda moment: moment.minute, 2),
    "N": (lambda moment: moment.microsecond, 0),
    "p": (lambda moment: "AM" if moment.hour < 12 else "PM", 0),
    "P": (lambda moment: "am" if moment.hour < 12 else "pm", 0),
    "q": (_ordinal, 0),
    "s": (lambda moment: math.floor(moment.timestamp() + 0.5), 0),
    "S": (lambda moment: moment.second, 2),
    "u": (lambda moment: moment.isoweekday(), 0),
    "U": (lambda moment: _week(moment, 0), 2),
    "w": (lambda moment: moment.isoweekday() % 7, 0),
    "W": (lambda moment: _week(moment, 1), 2),
    "x": (lambda moment: _american(moment, "{m}/{d}/{y}"), 0),
    "X": (lambda moment: _american(moment, "{time}"), 0),
    "y": (lambda moment: str(moment.year)[2:4], 0),
    "Y": (lambda moment: moment.year, 0),
    "z": (lambda _moment: "", 0),
    "Z": (lambda _moment: "UTC", 0),
    "t": (lambda _moment: "\t", 0),
    "n": (lambda _moment: "\n", 0),
    "%": (lambda _moment: "%", 0),
}


def _date_in_words(month: str) -> Callable[..., Any]:
    def apply(value: Any, kind: Any = UNDEFINED, style: Any = UNDEFINED, *_ignored: Any) -> Any:
        if kind != "ordinal":
            return _date(value, f"%d {month} %Y")
        return _date(value, f"{month} %-d%q, %Y" if style == "US" else f"%-d%q {month} %Y")

    return apply


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": _of_numbers(lambda value, *_: abs(value)),
    "append": _append,
    "at_least": _of_numbers(lambda *values: max(values)),
    "at_most": _of_numbers(lambda *values: min(values)),
    "base64_decode": _base64_decode,
    "base64_encode": lambda value, *_: base64.b64encode(written(value).encode()).decode(),
    "capitalize": _capitalize,
    "ceil": _of_numbers(_rounded(math.ceil)),
    "cgi_escape": _cgi_escape,
    "compact": _compact,
    "date": _date,
    "date_to_long_string": _date_in_words("%B"),
    "date_to_rfc822": lambda value, *_: _date(value, "%a, %d %b %Y %H:%M:%S %z"),
    "date_to_string": _date_in_words("%b"),
    "date_to_xmlschema": lambda value, *_: _date(value, "%Y-%m-%dT%H:%M:%S%:z"),
    "default": _default,
    "divided_by": _of_numbers(_divide),
    "downcase": lambda value, *_: written(value).lower(),
    "escape": _escape,
    "escape_once": _escape_once,
    "first": _item(0),
    "floor": _of_numbers(_rounded(math.floor)),
    "hmac_sha256": _hmac,
    "inspect": _json,
    "join": lambda value, separator=None, *_: _join(value, separator),
    "json": _json,
    "jsonify": _json,
    "last": _item(-1),
    "lstrip": _strip(str.lstrip),
    "minus": _of_numbers(lambda value, subtrahend, *_: value - subtrahend),
    "modulo": _of_numbers(lambda value, divisor, *_: _modulo(value, divisor)),
    "normalize_whitespace": lambda value, *_: _SPACES.sub(" ", written(value)),
    "number_of_words": _number_of_words,
    "plus": _of_numbers(lambda value, added, *_: value + added),
    "pop": lambda value, *_: _list(value)[:-1],
    "prepend": _prepend,
    "push": lambda value, item=UNDEFINED, *_: [*_list(value), item],
    "raw": lambda value, *_: value,
    "remove": _remove,
    "remove_first": lambda value, pattern=UNDEFINED, *_: _replace_first(value, pattern, ""),
    "remove_last": lambda value, pattern=UNDEFINED, *_: _replace_last(value, pattern, ""),
    "replace": _replace,
    "replace_first": _replace_first,
    "replace_last": _replace_last,
    "round": _round,
    "rstrip": _strip(str.rstrip),
    "sha256": lambda value, *_: hashlib.sha256(written(value).encode()).hexdigest(),
    "shift": lambda value, *_: _list(value)[1:],
    "size": _size,
    "slice": _slice,
    "slugify": _slugify,
    "split": _split,
    "strip": _strip(str.strip),
    "strip_html": _strip_html,
    "strip_newlines": lambda value, *_: re.sub("\r?\n", "", written(value)),
    "sum": _sum,
    "times": _of_numbers(lambda value, factor, *_: value * factor),
    "to_integer": _to_integer,
    "truncate": _truncate,
    "truncatewords": _truncate_words,
    "unshift": lambda value, item=UNDEFINED, *_: [item, *_list(value)],
    "upcase": lambda value, *_: written(value).upper(),
    "uri_escape": _uri_escape,
    "url_decode": _url_decode,
    "url_encode": _url_encode,
    "where": _where,
    "xml_escape": _escape,
}
