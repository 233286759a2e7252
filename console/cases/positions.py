"""The line of a member in a JSON text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def line_of(text: str, path: Sequence[str | int]) -> int:
    """Return the line, from 1, of the member or element at `path`; of its last part that is there, when it is absent.

    `text` is valid JSON.
    """
    here: list[str | int | None] = []  # a key or an index for each open object or list; None: before the first key
    start, longest, expects_key = len(text) - len(text.lstrip()), 0, False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if expects_key and token.startswith('"'):
            here[-1] = json.loads(token)
        if token not in "}],:" and len(here) > longest and here == list(path[: len(here)]):
            longest, start = len(here), match.start()
        expects_key = token == "{" or (token == "," and isinstance(here[-1], str))
        _step(here, token)
    return text.count("\n", 0, start) + 1


def _step(here: list[str | int | None], token: str) -> None:
    match token:
        case "{":
            here.append(None)
        case "[":
            here.append(0)
        case "}" | "]":
            here.pop()
        case ",":
            last = here[-1]
            here[-1] = last + 1 if isinstance(last, int) else last
