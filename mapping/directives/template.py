"""`@template`: text with placeholders `{{ path }}`.

The rules are those of placeholders.ts in the reference. `{{{x}}}` is replaced first, then `{{x}}` in the result: text
that triple braces insert is rendered as well. Missing and null values are empty; all others are converted to text.
"""

from __future__ import annotations

import re
from typing import Any

from mapping.javascript import UNDEFINED, WHITE_SPACE, text
from mapping.paths import Resolver, compile_keys

_DOUBLE = re.compile(r"\{\{([^}]+)\}\}")
# For texts of events. The end is optional: what has none is passed over as a whole. With a required end, a text of
# braces without one would take the square of its length.
_TRIPLE_OR_OPEN = re.compile(r"\{\{\{([^}]++)(\}\}\})?")
_DOUBLE_OR_OPEN = re.compile(r"\{\{([^}]++)(\}\})?")


def compile_template(template: str) -> Resolver:
    """Return the renderer of a constant template."""
    if _TRIPLE_OR_OPEN.search(template):
        return lambda event: render(template, event)
    pieces = _DOUBLE.split(template)
    literals, look_ups = pieces[::2], [compile_keys(path.strip(WHITE_SPACE)) for path in pieces[1::2]]
    if not look_ups:
        return lambda _event: template
    if literals == ["", ""]:
        return _placeholder_only(look_ups[0])

    def fill(event: Any) -> str:
        filled = [literals[0]]
        for look_up, literal in zip(look_ups, literals[1:], strict=True):
            filled += (_shown(look_up(event)), literal)
        return "".join(filled)

    return fill


def render(template: str, event: Any) -> str:
    """Return the text of a computed template for an event."""

    def fill(match: re.Match[str]) -> str:
        return match[0] if match[2] is None else _shown(compile_keys(match[1].strip(WHITE_SPACE))(event))

    return _DOUBLE_OR_OPEN.sub(fill, _TRIPLE_OR_OPEN.sub(fill, template))


def _placeholder_only(look_up: Resolver) -> Resolver:
    def fill(event: Any) -> str:
        value = look_up(event)
        return value if type(value) is str else _shown(value)

    return fill


def _shown(value: Any) -> str:
    return "" if value is None or value is UNDEFINED else text(value)
