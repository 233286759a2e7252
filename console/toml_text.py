"""Values as TOML, for configurations that a command or a page writes."""

from __future__ import annotations

import json
import re
from typing import Any

from console.errors import CommandError
from console.output import safe

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"[^'\x00-\x1f\x7f]*")


def is_bare_key(text: str) -> bool:
    """Whether the text can be a key without quotes."""
    return _BARE_KEY.fullmatch(text) is not None


def key(name: str) -> str:
    """Return a key, in quotes if it needs any."""
    return name if is_bare_key(name) else text(name)


def value(found: Any, where: str) -> str:
    """Return a value as TOML. Raises CommandError: it is a null in a list; `where` names it."""
    match found:
        case bool():
            return "true" if found else "false"
        case str():
            return text(found)
        case int() | float():
            return json.dumps(found)
        case list():
            return f"[{', '.join(value(item, where) for item in found)}]"
        case dict():
            members = (f"{key(name)} = {value(item, where)}" for name, item in found.items() if item is not None)
            return "{ " + ", ".join(members) + " }"
    raise CommandError(f"{where}: TOML has no null in a list; remove it and import again")


def text(found: str) -> str:
    """Return a text as TOML: a literal in single quotes if it contains double quotes, as triggers do."""
    if '"' in found and _LITERAL.fullmatch(found) and safe(found) == found:
        return f"'{found}'"
    return safe(json.dumps(found, ensure_ascii=False))
