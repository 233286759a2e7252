"""Faults of a mapping that `validate_mapping` does not report, because the reference accepts them: templates of Liquid
that fail for every event, and texts that are probably paths, and are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mapping.directives.validate import directive_of
from mapping.errors import Rejected
from mapping.liquid import check_liquid

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
    if directive == "@liquid":
        yield from _liquid_faults(value[directive], f"{where}.{directive}")
    elif directive is not None:
        yield from _directive_faults(directive, value[directive], f"{where}.{directive}")
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


def _directive_faults(directive: str, value: Any, where: str) -> Iterator[str]:
    if directive in _NO_MAPPING or type(value) is not dict:
        return
    if directive_of(value) is not None:
        yield from lint(value, where)
        return
    for name, inner in value.items():
        if name in _VALUES.get(directive, ()) or type(inner) is dict:
            yield from lint(inner, f"{where}.{name}")


def _liquid_faults(template: Any, where: str) -> Iterator[str]:
    try:
        check_liquid(template)
    except Rejected as error:
        yield f"{where}: {error}"
