"""The directives of a mapping, one function each, compiled once to a function of the event.

A mapping is JSON in which an object with an `@` key is computed from the event. The semantics are those of the
reference (segmentio/action-destinations, packages/core/src/mapping-kit). Unlike there, the mapping and the event are
never changed. Compiling never fails: an invalid directive fails when it is resolved.

`transform(mapping, event, now_s)` does all steps: root directive, validation, resolution, removal of UNDEFINED members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from mapping import javascript
from mapping.directives.template import compile_template, render
from mapping.directives.validate import MAX_PATTERN_LENGTH, MAX_REPLACEMENT_LENGTH, directive_of, validate_mapping
from mapping.envelope import JsonObject
from mapping.errors import EngineFault, FailedDirective, Failing, Rejected
from mapping.javascript import UNDEFINED, strip_undefined, truthy, type_name
from mapping.liquid import at, compile_liquid
from mapping.paths import Resolver, compile_path

ROOT_DIRECTIVE: Final = "__segment_internal_directive"

_MAX_REPLACED: Final = 10_000_000  # characters that `@replace` makes; an event has 32 KB, and `$'` repeats all of it
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


def transform(mapping: Any, event: Any, now_s: float) -> Any:
    """Return the result of the mapping for an event; UNDEFINED if a directive at the root has no value.

    `now_s`: the time in Liquid templates, Unix seconds. Raises Rejected.
    """
    with at(now_s):
        return strip_undefined(compile_mapping(mapping)(event))


def transform_batch(mapping: Any, events: list[Any], now_s: float) -> list[Any]:
    """Return the result of the mapping for each event; None for UNDEFINED. Events may be any JSON value.

    `now_s`: the time in Liquid templates, Unix seconds. Raises Rejected.
    """
    validate_mapping(root_of(mapping))
    resolve = compile_root(mapping)
    with at(now_s):
        return [None if result is UNDEFINED else strip_undefined(result) for result in map(resolve, events)]


def compile_mapping(mapping: Any) -> Resolver:
    """Return the mapping as a function of an event. The function raises FailedDirective unless the event is an object
    or UNDEFINED, which counts as an empty object."""
    resolve = compile_root(mapping)

    def resolve_event(event: Any) -> Any:
        if event is UNDEFINED:
            event = {}
        if type(event) is not dict:
            raise FailedDirective(f"data must be an object, got {type_name(event)}")
        return resolve(event)

    return resolve_event


def compile_root(mapping: Any) -> Resolver:
    """Return the mapping as a function of any JSON value. An invalid mapping raises all its faults for every event."""
    try:
        root = root_of(mapping)
        validate_mapping(root)
    except Rejected as error:
        return Failing(error)
    if directive_of(root) is not None or type(root) is not dict:
        return compile_member(root)
    members = [(key, compile_member(root[key])) for key in javascript.keys(root)]

    def resolve_members(event: Any) -> JsonObject:
        resolved = {}
        for key, resolve in members:
            value = resolve(event)
            if value is not UNDEFINED:
                resolved[key] = value
        return resolved

    return resolve_members


def root_of(mapping: Any) -> Any:
    """Return the mapping to resolve: a root directive, if there is one, wraps all other members."""
    if mapping is None or mapping is UNDEFINED:
        raise EngineFault("a mapping must not be null")
    members = dict(javascript.entries(mapping))
    if ROOT_DIRECTIVE not in members:
        return members
    root = members.pop(ROOT_DIRECTIVE)
    if root is None:
        raise EngineFault("the root directive must not be null")
    options = dict(javascript.entries(root))
    if len(options) > 1:
        raise FailedDirective("The root mapping must only have a single directive object")
    name, option = next(iter(options.items()), ("", None))
    if type(option) is dict:
        return {name: {**option, "mapping": members}} if type(root) is dict else [{**option, "mapping": members}]
    if type(option) is list:
        return root
    raise FailedDirective("The root directive must be an object")


def compile_value(mapping: Any) -> Resolver:
    """Return a node of a mapping as a function of the event. The result may have UNDEFINED members."""
    if type(mapping) is list:
        items = [compile_value(item) for item in mapping]
        return lambda event: [item(event) for item in items]
    if type(mapping) is not dict:
        return partial(_constant, mapping)
    name = directive_of(mapping)
    if name is not None:
        return _directive(name, mapping[name])
    members = [(key, compile_value(mapping[key])) for key in javascript.keys(mapping)]
    return lambda event: {key: resolve(event) for key, resolve in members}


def compile_member(mapping: Any) -> Resolver:
    """Return the mapping of a field as a function of the event. The result has no UNDEFINED members.

    The result itself may be UNDEFINED, and so may the item of a list of one: a field of type text accepts a list of one
    null and refuses a list of one missing value.
    """
    resolve = compile_value(mapping)
    if not _holds_undefined(mapping):
        return resolve

    def resolve_member(event: Any) -> Any:
        value = resolve(event)
        is_one_missing = type(value) is list and len(value) == 1 and value[0] is UNDEFINED
        return value if is_one_missing else strip_undefined(value)

    return resolve_member


def _holds_undefined(mapping: Any) -> bool:
    """Whether the result may have UNDEFINED members. Directives that return a value of the event or a text do not."""
    match directive_of(mapping):
        case "@path" | "@template" | "@replace" | "@liquid":
            return False
        case "@case" | "@json" as name:
            options = mapping[name]
            return type(options) is dict and _holds_undefined(options.get("value"))
        case "@if":
            options = mapping["@if"]
            return type(options) is dict and any(_holds_undefined(options.get(key)) for key in ("then", "else"))
    return type(mapping) is dict or type(mapping) is list


def _directive(name: str, options: Any) -> Resolver:
    compiler = DIRECTIVES.get(name)
    if compiler is None:
        return Failing(FailedDirective(f"{name} is not a valid directive, got undefined"))
    return compiler(options)


def _constant(value: Any, _event: Any) -> Any:
    return value


def _path(option: Any) -> Resolver:
    if type(option) is str:
        return compile_path(option)
    return _text_option("@path", option, lambda path, event: compile_path(path)(event))


def _template(option: Any) -> Resolver:
    if type(option) is str:
        return compile_template(option)
    return _text_option("@template", option, render)


def _text_option(name: str, option: Any, apply: Callable[[str, Any], Any]) -> Resolver:
    """Return the resolver of a directive whose text is computed itself."""
    if directive_of(option) is None:
        return Failing(FailedDirective(f"{name}: expected string, got {type_name(option)}"))
    resolve = compile_value(option)

    def resolve_text(event: Any) -> Any:
        value = resolve(event)
        if type(value) is not str:
            raise FailedDirective(f"{name}: expected string, got {type_name(value)}")
        return apply(value, event)

    return resolve_text


def _if(options: Any) -> Resolver:
    if type(options) is not dict:
        return Failing(FailedDirective('@if requires an object with an "exists" key'))
    if not truthy(options.get("exists")) and not truthy(options.get("blank")):
        return Failing(FailedDirective('@if requires an "exists" key or a "blank" key'))
    # A falsy `else` counts as absent (vectors map-if-*: 0, "", false).
    otherwise = compile_value(options["else"] if truthy(options.get("else")) else UNDEFINED)
    if directive_of(options.get("exists")) == "@path" and options["exists"] == options.get("then"):
        return _first_of(compile_value(options["exists"]), otherwise)
    exists = _exists(options["exists"]) if "exists" in options else _is_not_blank(options["blank"])
    then = compile_value(options.get("then", UNDEFINED))
    return lambda event: then(event) if exists(event) else otherwise(event)


def _first_of(resolve: Resolver, otherwise: Resolver) -> Resolver:
    """Return the resolver of the most common `@if`, in which `exists` and `then` are the same path."""

    def first_of(event: Any) -> Any:
        value = resolve(event)
        return otherwise(event) if value is None or value is UNDEFINED else value

    return first_of


def _exists(option: Any) -> Resolver:
    resolve = compile_value(option)

    def exists(event: Any) -> bool:
        value = resolve(event)
        return value is not UNDEFINED and value is not None

    return exists


def _is_not_blank(option: Any) -> Resolver:
    """Return whether a value is defined and, by loose comparison, not the empty text.

    Quirk of the reference: `blank` means *not* blank.
    """
    resolve = compile_value(option)

    def is_not_blank(event: Any) -> bool:
        value = resolve(event)
        if type(value) is list:
            return javascript.text(value) != ""
        if type(value) is str:
            return javascript.truthy(value)
        return truthy(value)

    return is_not_blank


def _case(options: Any) -> Resolver:
    if type(options) is not dict or not truthy(options.get("operator")):
        needed = 'a "operator" key' if type(options) is dict else 'an object with a "operator" key'
        return Failing(FailedDirective(f"@case requires {needed}"))
    if not truthy(options.get("value")):
        return partial(_constant, UNDEFINED)
    resolve = compile_value(options["value"])
    operator = options["operator"]

    def change_case(event: Any) -> Any:
        value = resolve(event)
        if type(value) is not str:
            return value
        if operator == "lower":
            return value.lower()
        if operator == "upper":
            return value.upper()
        raise FailedDirective('operator key should have a value of "lower" or "upper"')

    return change_case


def _replace(options: Any) -> Resolver:
    if type(options) is not dict or not truthy(options.get("pattern")):
        needed = 'a "pattern" key' if type(options) is dict else 'an object with a "pattern" key'
        return Failing(FailedDirective(f"@replace requires {needed}"))
    if not truthy(options.get("value")):
        return partial(_constant, UNDEFINED)
    resolve = compile_value(options["value"])
    ignore_case = _option(options, "ignorecase", False)
    everywhere = _option(options, "global", True)
    pairs = [(options["pattern"], _option(options, "replacement", ""))]
    usable = type(ignore_case) is bool and type(everywhere) is bool and all(type(part) is str for part in pairs[0])
    second = options.get("pattern2")
    if type(second) is str and second and type(_option(options, "replacement2", "")) is str:
        pairs.append((second, _option(options, "replacement2", "")))

    def replace(event: Any) -> Any:
        value = resolve(event)
        if type(value) in (bool, int, float):
            value = javascript.text(value)
        if type(value) is not str or not usable:
            return ""
        for pattern, replacement in pairs:
            value = _replace_text(value, pattern, replacement, ignore_case, everywhere)
        return value

    return replace


def _option(options: JsonObject, name: str, default: Any) -> Any:
    """Return an option of `@replace`; null counts as absent."""
    value = options.get(name)
    return default if value is None else value


def _replace_text(value: str, pattern: str, replacement: str, ignore_case: bool, everywhere: bool) -> str:
    if javascript.length(pattern) > MAX_PATTERN_LENGTH:
        raise FailedDirective(f'@replace requires a "pattern" less than {MAX_PATTERN_LENGTH} characters')
    if javascript.length(replacement) > MAX_REPLACEMENT_LENGTH:
        raise FailedDirective(f'@replace requires a "replacement" less than {MAX_REPLACEMENT_LENGTH} characters')
    searched = "".join(map(_folded, value)) if ignore_case else value
    sought = "".join(map(_folded, pattern)) if ignore_case else pattern
    pieces: list[str] = []
    done = length = 0
    while (start := searched.find(sought, done)) >= 0:
        end = start + len(sought)
        pieces += (value[done:start], _expand(replacement, value, start, end))
        length += len(pieces[-2]) + len(pieces[-1])
        if length > _MAX_REPLACED:
            raise EngineFault("Invalid string length", "RangeError")
        done = end
        if not everywhere:
            break
    return "".join((*pieces, value[done:]))


def _folded(character: str) -> str:
    """Return 22.2.2.7.3 Canonicalize, without the u flag: the upper case if it is one character and not another ASCII
    one."""
    upper = character.upper()
    if len(upper) != 1 or ord(character) > 0xFFFF or (ord(character) >= 128 > ord(upper)):
        return character
    return upper


def _expand(replacement: str, value: str, start: int, end: int) -> str:
    """Return 22.1.3.19.1 GetSubstitution for a pattern without groups: `$$ $& $` $'`."""
    if "$" not in replacement:
        return replacement
    meanings = {"$": "$", "&": value[start:end], "`": value[:start], "'": value[end:]}
    expanded: list[str] = []
    position = 0
    while position < len(replacement):
        meaning = meanings.get(replacement[position + 1 : position + 2]) if replacement[position] == "$" else None
        expanded.append(replacement[position] if meaning is None else meaning)
        position += 1 if meaning is None else 2
    return "".join(expanded)


def _array_path(options: Any) -> Resolver:
    if type(options) is not list:
        return Failing(FailedDirective(f"@arrayPath expected array, got {type_name(options)}"))
    path = options[0] if options else UNDEFINED
    look_up = compile_path(path) if type(path) is str else compile_value(path)
    shape = options[1] if len(options) > 1 else None
    if type(shape) is not dict or not shape:
        return look_up
    resolve = compile_value(shape)

    def shape_items(event: Any) -> Any:
        root = look_up(event)
        if type(root) is list:
            return [resolve(item) for item in root]
        if type(root) is dict:
            return [resolve(root)]
        return root

    return shape_items


def _flatten(options: Any) -> Resolver:
    if type(options) is not dict or not truthy(options.get("separator")):
        needed = 'a "separator" key' if type(options) is dict else 'an object with a "separator" key'
        return Failing(FailedDirective(f"@flatten requires {needed}"))
    resolve_separator = compile_value(options["separator"])
    resolve = compile_value(options.get("value", UNDEFINED))
    keep_lists = truthy(options.get("omitArrays"))

    def flatten(event: Any) -> Any:
        separator = resolve_separator(event)
        if type(separator) is not str:
            raise FailedDirective("@flatten requires a string separator")
        flat: JsonObject = {}
        _flatten_into(flat, resolve(event), "", separator, keep_lists)
        return flat

    return flatten


def _flatten_into(flat: JsonObject, value: Any, prefix: str, separator: str, keep_lists: bool) -> None:
    if type(value) is dict or (type(value) is list and not keep_lists):
        for key, item in javascript.entries(value):
            _flatten_into(flat, item, f"{prefix}{separator}{key}" if prefix else key, separator, keep_lists)
    else:
        flat[prefix] = value


def _json(options: Any) -> Resolver:
    if type(options) is not dict:
        return Failing(FailedDirective('@json requires an object with a "value" key'))
    for name in ("mode", "value"):
        if not truthy(options.get(name)):
            return Failing(FailedDirective(f'@json requires a "{name}" key'))
    resolve = compile_value(options["value"])
    if options["mode"] == "encode":
        return lambda event: javascript.json_text(resolve(event))
    if options["mode"] == "decode":
        return lambda event: _decoded(resolve(event))

    def resolve_for_nothing(event: Any) -> Any:
        resolve(event)
        return UNDEFINED

    return resolve_for_nothing


def _decoded(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        decoded = javascript.parse_json(value)
    except ValueError:
        return value
    return _without_halves(decoded) if "\\u" in value else decoded


def _without_halves(value: Any) -> Any:
    """Return the value with U+FFFD for each half of a surrogate pair, which no JSON in UTF-8 can contain."""
    if type(value) is str:
        return _HALF_PAIR.sub("\ufffd", value)
    if type(value) is dict:
        return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return [_without_halves(item) for item in value] if type(value) is list else value


def _merge(options: Any) -> Resolver:
    if type(options) is not dict:
        return Failing(FailedDirective('@merge requires an object with an "objects" key and a "direction" key'))
    for name in ("direction", "objects"):
        if not truthy(options.get(name)):
            return Failing(FailedDirective(f'@merge requires a "{name}" key'))
    if type(options["objects"]) is not list:
        kind = "object" if type(options["objects"]) is dict else type_name(options["objects"])
        return Failing(FailedDirective(f"@merge: expected opts.array, got {kind}"))
    resolve_direction = compile_value(options["direction"])
    resolvers = [compile_value(item) for item in options["objects"]]

    def merge(event: Any) -> Any:
        direction = resolve_direction(event)
        objects = [resolve(event) for resolve in resolvers]
        merged: JsonObject = {}
        for item in reversed(objects) if direction == "left" else objects:
            merged.update(javascript.entries(item))
        return merged

    return merge


def _transform(options: Any) -> Resolver:
    if type(options) is not dict:
        return Failing(FailedDirective('@transform requires an object with an "apply" key and a "mapping" key'))
    for name in ("mapping", "apply"):
        if not truthy(options.get(name)):
            return Failing(FailedDirective(f'@transform requires a "{name}" key'))
    if type(options["apply"]) is not dict:
        return Failing(FailedDirective('@transform "apply" key should be an object'))
    apply = compile_mapping(options["apply"])
    resolve = compile_value(options["mapping"])
    return lambda event: resolve(strip_undefined(apply(event)))


def _exclude_when_null(option: Any) -> Resolver:
    resolve = compile_value(option)

    def exclude(event: Any) -> Any:
        value = resolve(event)
        return UNDEFINED if value is None else _without_nulls(value)

    return exclude


def _without_nulls(value: Any) -> Any:
    if type(value) is not dict:
        return value
    return {key: UNDEFINED if item is None else _without_nulls(item) for key, item in value.items()}


DIRECTIVES: Final[dict[str, Callable[[Any], Resolver]]] = {
    "@if": _if,
    "@case": _case,
    "@replace": _replace,
    "@arrayPath": _array_path,
    "@path": _path,
    "@template": _template,
    "@literal": compile_value,
    "@flatten": _flatten,
    "@json": _json,
    "@merge": _merge,
    "@transform": _transform,
    "@excludeWhenNull": _exclude_when_null,
    "@liquid": compile_liquid,
}
