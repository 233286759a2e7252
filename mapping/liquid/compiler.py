"""`@liquid`: the subset of Liquid that the reference supports, on the python-liquid engine.

Tags and filters that the reference disables are refused in its words, with line and column. Unknown filters do nothing.
A template has at most 1000 characters; its output and its variables have at most 100 million. Values are rendered and
compared as in the engine of the reference (liquidjs 10.27): `1.0` is "1", an object is "[object Object]".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from typing import Any, Final, NamedTuple, TextIO

from liquid import BoundTemplate, Environment, Mode, RenderContext, Token, TokenStream, Undefined
from liquid.builtin.expressions import FilteredExpression, tokenize
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.echo_tag import EchoTag
from liquid.exceptions import FilterArgumentError, LiquidError
from liquid.output import LimitedStringIO
from liquid.token import TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_WORD
from liquid.utils import ReadOnlyChainMap

from mapping.errors import EngineFault, FailedDirective, FailedLiquid, Failing, Rejected
from mapping.javascript import UNDEFINED, length
from mapping.liquid.conditions import If, Unless
from mapping.liquid.filters import FILTERS, MAX_MEMORY, OUT_OF_MEMORY, FilterFault, plain, written
from mapping.paths import Resolver

MAX_LENGTH: Final = 1000

DISABLED_TAGS: Final = frozenset({"case", "for", "include", "layout", "render", "tablerow"})
DISABLED_FILTERS: Final = frozenset(
    [
        "array_to_sentence_string",
        "concat",
        "find",
        "find_exp",
        "find_index",
        "find_index_exp",
        "group_by",
        "group_by_exp",
        "has",
        "has_exp",
        "map",
        "newline_to_br",
        "reject",
        "reject_exp",
        "reverse",
        "sort",
        "sort_natural",
        "uniq",
        "where_exp",
        "type",
    ]
)

# The tags that the reference supports, and those that are valid only inside or at the end of another tag.
_TAGS = frozenset(
    {"assign", "capture", "comment", "cycle", "decrement", "echo", "if", "increment", "liquid", "raw", "unless", "#"}
)
_INNER_TAGS = frozenset({"else", "elsif", "endif", "endunless", "endcapture", "endcomment", "endraw"})
_ENDS = {"if": "endif", "unless": "endunless", "capture": "endcapture", "comment": "endcomment"}

_MARKUP = re.compile(r"\{\{|\{%")
_OUTPUT_END = re.compile(r"""(?:"(?:\\.|[^"\\])*(?:"|\Z)|'(?:\\.|[^'\\])*(?:'|\Z)|(?!\}\}).)*""", re.DOTALL)
_VALUE = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'|{};&@#$%^*+/\\~`:])*""", re.DOTALL)
_ENDRAW = re.compile(r"\{%-?\s*endraw\s*-?%\}")
_TAG_NAME = re.compile(r"\s*(#|[\w?-]*)")
_BLANKS = " \t\n\v\f\r\u00a0\u3000"
_SNAPSHOT_LENGTH = 32
_RESERVED_IN_TAGS = frozenset(
    ["not", "in", "offset", "limit", "reversed", "cols", "continue", "with", "for", "as", "if", "else", "required"]
)


class _Markup(NamedTuple):
    """A `{{ … }}` or `{% … %}`: its start, whether it is a tag, and the range of its content, trimmed."""

    begin: int
    is_tag: bool
    content_begin: int
    content_end: int


def compile_liquid(template: Any) -> Resolver:
    """Return the renderer of a template, parsed once. It raises Rejected, for an invalid template on every call.

    Call it inside `clock.at`.
    """
    if template == "":
        return lambda _event: ""
    try:
        markup, parsed = _parsed(template)
    except Rejected as error:
        return Failing(error)

    def render(event: Any) -> str:
        try:
            return parsed.render(event if type(event) is dict else {})
        except LiquidError as error:
            raise _failed(template, markup, error, "RenderError") from None
        except (OverflowError, ValueError, TypeError, KeyError) as error:
            raise EngineFault(str(error)) from None
        except MemoryError:
            raise EngineFault(OUT_OF_MEMORY, "AssertionError") from None

    return render


def disabled_filters(template: str) -> list[str]:
    """Return the names of the disabled filters that a valid template has."""
    return [name for name in _parsed(template)[1].filter_names() if name in DISABLED_FILTERS]


def _parsed(template: Any) -> tuple[list[_Markup], BoundTemplate]:
    if type(template) is not str:
        raise FailedDirective("liquid template value must be a string")
    if length(template) > MAX_LENGTH:
        raise FailedDirective(f"liquid template values are limited to {MAX_LENGTH} characters")
    markup = list(_scan(template))
    _check(template, markup)
    try:
        return markup, _ENVIRONMENT.from_string(template)
    except LiquidError as error:
        raise _failed(template, [], error, "ParseError") from None


def _scan(template: str) -> Iterator[_Markup]:
    """Yield the markup of a template in order; raise TokenizationError for unclosed markup."""
    position = 0
    while (found := _MARKUP.search(template, position)) is not None:
        begin = found.start()
        is_tag = found[0] == "{%"
        inner_end = _end_of(template, begin + 2, is_tag)
        if inner_end < 0:
            kind = "tag" if is_tag else "output"
            raise _at(
                template, begin, f"{kind} {_snapshot(template, begin, len(template))} not closed", "TokenizationError"
            )
        position = inner_end + 2
        first, last = begin + 2, inner_end
        first += template[first:last].startswith("-")
        last -= template[first:last].endswith("-")
        first += len(template[first:last]) - len(template[first:last].lstrip(_BLANKS))
        last -= len(template[first:last]) - len(template[first:last].rstrip(_BLANKS))
        yield _Markup(begin, is_tag, first, last)
        if is_tag and template[first:last] == "raw":
            end = _ENDRAW.search(template, position)
            if end is None and position == len(template):
                raise _at(template, begin, f"tag {template[begin:]} not closed", "ParseError")
            if end is None:
                shown = _snapshot(template, begin, len(template))
                raise _at(template, position, f"raw {shown} not closed", "TokenizationError")
            position = end.end()


def _end_of(template: str, position: int, is_tag: bool) -> int:
    if is_tag:
        return template.find("%}", position)
    end = _OUTPUT_END.match(template, position)
    return end.end() if end is not None and template.startswith("}}", end.end()) else -1


def _check(template: str, markup: list[_Markup]) -> None:
    """Raise the error of the reference for the first tag that is unknown, disabled or not closed, and for an output
    without a value."""
    open_tags: list[tuple[str, _Markup]] = []
    for each in markup:
        content = template[each.content_begin : each.content_end]
        if not each.is_tag:
            if not (open_tags and open_tags[-1][0] == "comment"):
                _check_output(template, each, content)
            continue
        named = _TAG_NAME.match(content)
        name = named[1] if named else ""
        in_comment = bool(open_tags) and open_tags[-1][0] == "comment"
        if open_tags and name == _ENDS[open_tags[-1][0]]:
            open_tags.pop()
        elif in_comment:
            continue
        elif name in DISABLED_TAGS:
            raise _at(template, each.begin, f'tag "{name}" is disabled', "ParseError")
        elif name not in _TAGS and not (name in _INNER_TAGS and open_tags):
            raise _at(template, each.begin, f'tag "{name}" not found', "ParseError")
        elif name in _ENDS:
            open_tags.append((name, each))
    if open_tags:
        begin = open_tags[-1][1].begin
        raw = template[begin : template.index("%}", begin) + 2]
        raise _at(template, begin, f"tag {raw} not closed", "ParseError")


def _check_output(template: str, output: _Markup, content: str) -> None:
    if not content or content[0] in "{|:,)]}!@#$%^&*=+\\;/`~":
        shown = _snapshot(template, output.content_begin, output.content_end)
        raise _at(template, output.content_begin, f"invalid value expression: {shown}", "TokenizationError")
    value = _VALUE.match(content)
    end = value.end() if value else 0
    if content[end : end + 1] not in ("", "|", '"', "'"):
        raise _at(template, output.content_begin + end + 1, 'expected "|" before filter', "TokenizationError")


def _failed(template: str, markup: list[_Markup], error: LiquidError, error_class: str) -> FailedLiquid:
    """Return an error of the engine as the reference reports it, at the markup that it is in."""
    position = error.token.start_index if error.token is not None else 0
    begin = max((each.begin for each in markup if each.begin <= position), default=0)
    return _at(template, begin, str(error.message), error_class)


def _at(template: str, position: int, message: str, error_class: str) -> FailedLiquid:
    before = template[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    return FailedLiquid(f"{message}, line:{line}, col:{column}", error_class)


def _snapshot(template: str, begin: int, end: int) -> str:
    text = template[begin:end]
    if len(text) > _SNAPSHOT_LENGTH:
        text = f"{text[: _SNAPSHOT_LENGTH - 3]}..."
    return json.dumps(text, ensure_ascii=False)


class _WrittenOutputNode(OutputNode):
    """`{{ … }}`, with its value as text of JavaScript."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(written(plain(self.expression.evaluate(context))))


class _WrittenOutput(Output):
    """The parser of `{{ … }}`, in which words that are reserved in tags are ordinary names."""

    node_class = _WrittenOutputNode

    def parse(self, stream: TokenStream) -> OutputNode:
        token = stream.eat(TOKEN_OUTPUT)
        source = stream.expect(TOKEN_EXPRESSION)
        words = (_as_word(inner) for inner in tokenize(source.value, source))
        return self.node_class(token, FilteredExpression.parse(self.env, TokenStream(words)))


class _WrittenEcho(EchoTag):
    """`{% echo … %}`, rendered like `{{ … }}`."""

    node_class = _WrittenOutputNode  # type: ignore[assignment]  # both have a token and an expression


def _as_word(token: Token) -> Token:
    return token._replace(kind=TOKEN_WORD) if token.kind in _RESERVED_IN_TAGS else token


class _Context(RenderContext):
    """A scope without the engine's variables `now` and `today`: they read the clock, and liquidjs has none."""

    __slots__ = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        return _buffer(MAX_MEMORY - (buf.size if isinstance(buf, LimitedStringIO) else 0))


class _Template(BoundTemplate):
    context_class = _Context

    def _get_buffer(self) -> StringIO:
        return _buffer(MAX_MEMORY)


def _buffer(limit: int) -> LimitedStringIO:
    """Return an output that keeps the line ends of what is written. The engine's own makes each of them a line feed."""
    return LimitedStringIO(limit, newline="")


class _Environment(Environment):
    template_class = _Template
    local_namespace_limit = MAX_MEMORY
    output_stream_limit = MAX_MEMORY
    suppress_blank_control_flow_blocks = False

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in (_WrittenOutput, _WrittenEcho, If, Unless):
            self.add_tag(tag)
        self.filters.clear()
        for name, apply in FILTERS.items():
            self.add_filter(name, partial(_filter, apply))
        for name in DISABLED_FILTERS:
            self.add_filter(name, partial(_refuse_filter, name))


def _filter(apply: Callable[..., Any], left: Any, *arguments: Any, **options: Any) -> Any:
    """Call a filter as liquidjs does: a named argument is an argument `[name, value]` after the others."""
    positional = [plain(argument) for argument in arguments]
    named = [[name, plain(value)] for name, value in options.items()]
    try:
        result = apply(plain(left), *positional, *named)
    except FilterFault as fault:
        raise FilterArgumentError(str(fault), token=None) from None
    return _MISSING if result is UNDEFINED else result


_MISSING: Final = Undefined("", token=None)


def _refuse_filter(name: str, *_arguments: Any, **_options: Any) -> Any:
    raise FilterArgumentError(f'filter "{name}" is disabled', token=None)


_ENVIRONMENT: Final = _Environment(tolerance=Mode.STRICT, strict_filters=False)
