"""Faults of a mapping that `validate_mapping` does not report, because the reference accepts them: directives and
templates that fail for every event, and texts that are probably paths, and are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mapping.directives.compiler import compile_value
from mapping.directives.validate import MAX_PATTERN_LENGTH, MAX_REPLACEMENT_LENGTH, directive_of
from mapping.envelope import JsonObject
from mapping.errors import Failing
from mapping.javascript import length
from mapping.liquid import disabled_filters

# `context.traits.email`, `$traits.plan`, `userId`: names that no constant has by chance.
_PATH = re.compile(
    r"\$?(?:(?:context|integrations|properties|traits)[.\[][^\s]+"
    r"|(?:anonymousId|groupId|messageId|originalTimestamp|previousId|receivedAt|sentAt|userId))"
)
# The options of a directive that become (a part of) the value of the field. Of its others only tables are mappings.
_VALUES: Final = {"@if": ("then", "else"), "@merge": ("objects",), "@transform": ("mapping",)}
_NO_MAPPING: Final = ("@literal", "@path", "@template")


def lint(value: Any, where: str) -> Iterator[str]:
    """Yield the faults in the mapping of a field, each beginning with its key. `where` is the key of the field."""
    directive = directive_of(value)
    if directive is not None:
        yield from _directive_faults(directive, value, f"{where}.{directive}")
    elif type(value) is dict:
        for key, inner in value.items():
            yield from lint(inner, f"{where}.{key}")
    elif type(value) is list:
        for index, inner in enumerate(value):
            yield from lint(inner, f"{where}[{index}]")
    elif type(value) is str and (value.startswith("$.") or _PATH.fullmatch(value)):
        path = value if value.startswith("$.") else f"$.{value.removeprefix('$')}"
        written = f'{{ "@path" = "{path}" }}, or {{ "@literal" = "{value}" }}'
        yield f'{where}: "{value}" is the same text for every event; write {written}'


def _directive_faults(directive: str, value: JsonObject, where: str) -> Iterator[str]:
    compiled, options = compile_value(value), value[directive]
    if isinstance(compiled, Failing):
        yield f"{where}: {compiled.error}"
    elif directive == "@liquid":
        yield from (f'{where}: filter "{name}" is disabled' for name in disabled_filters(options))
    elif directive_of(options) is not None or (directive == "@literal" and type(options) in (dict, list)):
        yield from lint(options, where)
    elif directive == "@arrayPath" and type(options) is list:
        yield from lint([item for item in options if type(item) is dict], where)
    elif directive not in _NO_MAPPING and type(options) is dict:
        yield from _option_faults(directive, options, where)
        for name, inner in options.items():
            if name in _VALUES.get(directive, ()) or type(inner) is dict:
                yield from lint(inner, f"{where}.{name}")


def _option_faults(directive: str, options: JsonObject, where: str) -> Iterator[str]:
    """Yield the faults of options that fail for every text."""
    if directive == "@case" and options["operator"] not in ("lower", "upper"):
        yield f'{where}.operator: must be "lower" or "upper"'
    if directive == "@replace":
        for name, longest in (("pattern2", MAX_PATTERN_LENGTH), ("replacement2", MAX_REPLACEMENT_LENGTH)):
            if type(options.get(name)) is str and length(options[name]) > longest:
                yield f"{where}.{name}: must have at most {longest} characters"
