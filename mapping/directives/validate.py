"""Validate a mapping. All faults are reported, each beginning with its path (`/f/@path should be …`).

The rules and texts are those of mapping-kit/validate.ts in the reference. Its quirks are kept: the items of lists are
not validated, the paths in `@merge` begin at the root, and the `blank` of `@if` is not validated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from mapping import javascript
from mapping.errors import InvalidMapping
from mapping.javascript import article, length, type_name

MAX_PATTERN_LENGTH: Final = 10
MAX_REPLACEMENT_LENGTH: Final = 10

Path = tuple[str, ...]
Check = Callable[[Any, Path], None]


def validate_mapping(mapping: Any) -> None:
    """Raise InvalidMapping with every fault unless all directives of the mapping are valid."""
    _validate(mapping, ())


def directive_of(value: Any) -> str | None:
    """Return the name of the directive if the value is one: an object with keys that begin with @, and no others but
    `_metadata`. Else None."""
    if type(value) is not dict:
        return None
    names = [key for key in javascript.keys(value) if key.startswith("@")]
    if not names or any(not key.startswith("@") and key != "_metadata" for key in value):
        return None
    return names[0]


def _fault(path: Path, message: str) -> InvalidMapping:
    return InvalidMapping([f"/{'/'.join(path)} {message}."], at_root=True)


def _every_fault(checks: Iterable[Callable[[], None]]) -> None:
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except InvalidMapping as error:
            faults += error.messages
    if faults:
        raise InvalidMapping(faults)


def _type_or_directive(value: Any) -> str:
    if type(value) is dict and any(key.startswith("@") for key in value):
        return "directive"
    return type_name(value)


def _validate(value: Any, path: Path) -> None:
    match _type_or_directive(value):
        case "directive":
            _directive(value, path)
        case "object":
            _object(value, path)


def _directive(value: dict[str, Any], path: Path) -> None:
    names = [key for key in javascript.keys(value) if key.startswith("@")]
    if len(names) > 1:
        raise _fault(path, f"should only have one @-prefixed key but it has {len(names)} keys")
    if any(not key.startswith("@") and key != "_metadata" for key in value):
        raise _fault(path, f"should only have one @-prefixed key but it has {len(value)} keys")
    check = _CHECKS.get(names[0])
    if check is None:
        raise _fault(path, f"has an invalid directive: {names[0]}")
    check(value[names[0]], (*path, names[0]))


def _object(value: Any, path: Path) -> None:
    kind = _type_or_directive(value)
    if kind == "directive":
        raise _fault(path, "should be an object but it is a directive")
    _require("object", "an object", value, path)
    _every_fault(partial(_validate, value[key], (*path, key)) for key in javascript.keys(value))


def _require(kind: str, named: str, value: Any, path: Path) -> None:
    found = _type_or_directive(value)
    if found != kind:
        raise _fault(path, f"should be {named} but it is {article(found)} {found}")


def _raw(value: Any, path: Path) -> None:
    if _type_or_directive(value) == "directive":
        _directive(value, path)


def _text(value: Any, path: Path) -> None:
    _require("string", "a string", value, path)


def _boolean(value: Any, path: Path) -> None:
    _require("boolean", "a boolean", value, path)


def _list(value: Any, path: Path) -> None:
    _require("array", "an array", value, path)


def _directive_or_text(value: Any, path: Path) -> None:
    if _type_or_directive(value) == "directive":
        return _directive(value, path)
    return _require("string", "a string or a mapping directive", value, path)


def _directive_or_object(value: Any, path: Path) -> None:
    if _type_or_directive(value) == "directive":
        return _directive(value, path)
    _require("object", "a object or a mapping directive", value, path)
    return _object(value, path)


def _text_of_length(shortest: int, longest: int) -> Check:
    def check(value: Any, path: Path) -> None:
        _text(value, path)
        if length(value) < shortest:
            raise _fault(path, f"should be a string of length {shortest} or greater")
        if length(value) > longest:
            raise _fault(path, f"should be a string of length {longest} or less")

    return check


def _one_of(*allowed: str) -> Check:
    def check(value: Any, path: Path) -> None:
        _text(value, path)
        if value.lower() not in allowed:
            shown = json.dumps(value, ensure_ascii=False)
            raise _fault(path, f"should be one of {', '.join(allowed)} but it is {shown}")

    return check


def _fields(required: Mapping[str, Check], optional: Mapping[str, Check], order: tuple[str, ...]) -> Check:
    """Return the check of an object of options. `order` is the order of the faults."""

    def check_option(value: dict[str, Any], name: str, path: Path) -> None:
        if name in value:
            (required.get(name) or optional[name])(value[name], (*path, name))
        elif name in required:
            raise _fault(path, f'should have field "{name}" but it doesn\'t')

    def check(value: Any, path: Path) -> None:
        _object(value, path)
        _every_fault(partial(check_option, value, name, path) for name in order)

    return check


def _array_path(value: Any, path: Path) -> None:
    _list(value, path)
    _directive_or_text(value[0] if value else javascript.UNDEFINED, path)
    if len(value) > 1:
        _validate(value[1], path)


_merge_options = _fields({"objects": _list}, {"direction": _one_of("left", "right")}, ("direction", "objects"))


def _merge(value: Any, path: Path) -> None:
    _merge_options(value, path)
    for item in value["objects"]:
        _directive_or_object(item, ())


_CHECKS: Final[dict[str, Check]] = {
    "@if": _fields({}, {"exists": _raw, "then": _raw, "else": _raw}, ("exists", "then", "else")),
    "@case": _fields({}, {"operator": _text, "value": _directive_or_text}, ("operator", "value")),
    "@replace": _fields(
        {"pattern": _text_of_length(1, MAX_PATTERN_LENGTH), "value": _directive_or_text},
        {"replacement": _text_of_length(0, MAX_REPLACEMENT_LENGTH), "ignorecase": _boolean, "global": _boolean},
        ("pattern", "replacement", "value", "ignorecase", "global"),
    ),
    "@arrayPath": _array_path,
    "@path": _directive_or_text,
    "@json": _fields({"value": _raw, "mode": _one_of("encode", "decode")}, {}, ("value", "mode")),
    "@flatten": _fields({"value": _raw}, {"separator": _text}, ("separator", "value")),
    "@merge": _merge,
    "@template": _directive_or_text,
    "@literal": _raw,
    "@transform": _fields({"apply": _directive_or_object, "mapping": _directive_or_object}, {}, ("apply", "mapping")),
    "@excludeWhenNull": _raw,
    "@liquid": _text,
}
