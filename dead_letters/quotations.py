"""What is left of the text of an error without the values that it quotes: a text without data of an event.

Segue and Customer.io quote values in `'`, `"`, `“ ”` and backticks. A text that was cut may lack the end of its last
quotation. An apostrophe within a word begins and ends none. A backslash belongs to the next character, as in JSON.
"""

from __future__ import annotations

import re
from typing import Final

# Every quotation matches, with or without an end, and no part gives back what it took: a search is linear.
_QUOTATION: Final = (
    r"(?<!\w)b?'(?:[^\\']++|\\.?|'(?=\w))*+'?"
    r'|"(?:[^\\"]++|\\.?)*+"?'
    r"|“[^”]*+”?"
    r"|`[^`]*+`?"
)
_FIELD: Final = r"field (?:'[^']*+'|\"[^\"]*+\")"
_QUOTED: Final = re.compile(_QUOTATION, re.DOTALL)
_FIELD_OR_QUOTED: Final = re.compile(f"({_FIELD})|{_QUOTATION}", re.DOTALL)
_END: Final = r"\s<>(),:;"
_VARIABLE: Final = re.compile(rf"(?<![^{_END}])[^{_END}\d@]*+[\d@][^{_END}]*+")


def without_values(text: str) -> str:
    """Return a text without quotations, numbers, ids and addresses."""
    return without_numbers(_QUOTED.sub("…", text))


def without_values_but_fields(text: str) -> str:
    """Return what `without_values` does, with the names of fields: `the required field 'email'`."""
    return without_numbers(_FIELD_OR_QUOTED.sub(lambda found: found[1] or "…", text))


def without_numbers(text: str) -> str:
    """Return a text without words that have a digit or `@`: numbers, ids and addresses."""
    return _VARIABLE.sub("#", text)
