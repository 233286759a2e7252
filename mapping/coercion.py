"""Coerce a resolved mapping to the types of an action's fields, or refuse it with readable errors.

The rules are those of ajv with `coerceTypes: "array"`, `allErrors` and `removeAdditional`. The wording is that of
ajv-human-errors. Both are set up as in the reference (packages/core/src/schema-validation.ts). No library
coerces a list of one item to that item, or `null` inside such a list to the empty text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

from mapping.actions.action import Field
from mapping.envelope import JsonObject
from mapping.errors import InvalidPayload
from mapping.javascript import UNDEFINED, article, number_text, strip_undefined, to_number, type_name
from mapping.operation import EXEMPT_FIELD
from mapping.timestamps import is_date_like

_TYPE_NAMES: Final = {
    "string": "string",
    "object": "object",
    "boolean": "boolean",
    "number": "number",
    "datetime": "string or number",
}


def without_empty(fields: Iterable[Field], resolved: Any) -> Any:
    """Return the payload without nulls, and without empty texts in fields that are not texts. Members of objects are
    kept."""
    if type(resolved) is not dict:
        return UNDEFINED if resolved is None or resolved == "" else resolved
    kept = dict(resolved)
    for field in fields:
        value = kept.get(field.key, UNDEFINED)
        if value is None or (value == "" and field.type not in ("string", "datetime")):
            del kept[field.key]
    return kept


def without_empty_texts(values: Any) -> Any:
    """Return the payload without empty texts. The reference removes them from single events, not from batches."""
    if type(values) is not dict:
        return values
    return {key: value for key, value in values.items() if value != ""}


def coerce(fields: Iterable[Field], values: Any) -> JsonObject:
    """Return the payload: unknown fields removed, the others coerced. Raises InvalidPayload with every fault."""
    if type(values) is not dict:
        raise InvalidPayload(f"The root value must be an object but it was {_described(values)}.")
    payload: JsonObject = {}
    missing: list[str] = []
    faults: list[str] = []
    for field in fields:
        if field.key in values:
            value, field_faults = _coerce_field(field, values[field.key])
            payload[field.key] = value
            faults += [f"{field.label} {fault}." for fault in field_faults]
        elif field.required:
            missing.append(f"The root value is missing the required field '{field.key}'.")
    if missing or faults:
        raise InvalidPayload(" ".join(missing + faults))
    if EXEMPT_FIELD in values:
        payload[EXEMPT_FIELD] = strip_undefined(values[EXEMPT_FIELD])
    return payload


def text_of(value: Any) -> str | None:
    """Return the value as a field of type string coerces it; None when it cannot be a text."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    text, fits = _to_text(value)
    return text if fits else None


def _coerce_field(field: Field, value: Any) -> tuple[Any, list[str]]:
    """Return the value, coerced as far as possible, and its faults in the order of the schema."""
    value, fits = _COERCIONS[field.type](value)
    faults = []
    if not fits:
        expected = _TYPE_NAMES[field.type]
        faults.append(f"must be {article(expected)} {expected} but it was {_described(value)}")
    if type(value) in (int, float):
        if field.maximum is not None and value > field.maximum:
            faults.append(f"must be equal to or less than {field.maximum}")
        if field.minimum is not None and value < field.minimum:
            faults.append(f"must be equal to or greater than {field.minimum}")
    if field.choices and value not in field.choices:
        quoted = [json.dumps(choice, ensure_ascii=False) for choice in field.choices]
        faults.append(f"must be one of: {_either(quoted)}")
    if field.type == "datetime" and type(value) is str and not is_date_like(value):
        faults.append("must be a valid date-like string but it was not")
    return value, faults


def _to_text(value: Any) -> tuple[Any, bool]:
    value = _only_item(value)
    if type(value) is str:
        return value, True
    if value is None:
        return "", True
    return _scalar_text(value)


def _scalar_text(value: Any) -> tuple[Any, bool]:
    if type(value) is bool:
        return "true" if value else "false", True
    if type(value) is int or type(value) is float:
        return number_text(value), True
    return value, False


def _to_number(value: Any) -> tuple[Any, bool]:
    value = _only_item(value)
    if type(value) is int or type(value) is float:
        return value, math.isfinite(value)
    if type(value) is bool or value is None:
        return int(value or 0), True
    if type(value) is str and value:
        number = to_number(value)
        if not math.isnan(number):
            return int(number) if number.is_integer() else number, math.isfinite(number)
    return value, False


def _to_boolean(value: Any) -> tuple[Any, bool]:
    value = _only_item(value)
    if type(value) is bool:
        return value, True
    if value == "true" or (type(value) in (int, float) and value == 1):
        return True, True
    if value == "false" or value is None or (type(value) in (int, float) and value == 0):
        return False, True
    return value, False


def _to_object(value: Any) -> tuple[Any, bool]:
    return value, type(value) is dict


def _to_date(value: Any) -> tuple[Any, bool]:
    """Coerce to a text or a number. A list of one text is refused unless the text is a number, because ajv checks
    both types together there."""
    if type(value) is str or type(value) is int or type(value) is float:
        return value, True
    was_list = type(value) is list
    value = _only_item(value)
    if was_list and type(value) is str:
        number, fits = _to_number(value)
        return (number, True) if fits else (value, False)
    if value is None:
        return "", True
    return _scalar_text(value)


def _only_item(value: Any) -> Any:
    return value[0] if type(value) is list and len(value) == 1 else value


def _described(value: Any) -> str:
    kind = type_name(value)
    return kind if kind in ("null", "undefined") else f"{article(kind)} {kind}"


def _either(choices: list[str]) -> str:
    if len(choices) <= 2:
        return " or ".join(choices)
    return f"{', '.join(choices[:-1])}, or {choices[-1]}"


_COERCIONS: Final = {
    "string": _to_text,
    "object": _to_object,
    "boolean": _to_boolean,
    "number": _to_number,
    "datetime": _to_date,
}
