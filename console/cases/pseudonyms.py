"""Pseudonyms for the personal data of recorded events, for case files that go into a repository.

Texts are replaced unless they are known to be harmless: the type and the name of the event, times, technical members of
the context, and the texts that the configuration compares with. A value always gets the same pseudonym. The pseudonym
has the form on which mappings depend: an address, a number, a link or another text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final

from mapping.envelope import JsonObject

_IDS: Final = ("userId", "anonymousId", "previousId", "groupId", "messageId")
_KEPT: Final = frozenset(
    {"type", "event", "name", "category", "channel", "version"}
    | {"timestamp", "originalTimestamp", "receivedAt", "sentAt"}
)
_TECHNICAL: Final = frozenset({"library", "os", "app", "locale", "timezone", "active"})  # of the context
_DEVICE: Final = frozenset({"type", "manufacturer", "model"})  # of context.device
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:[\d:.]+(?:Z|[+-][\d:]+)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_IP: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]+:[0-9a-fA-F.]*")
_LONG_NUMBER: Final = 100_000
_UNIX_TIMES: Final = ((10**9, 2 * 10**9), (10**12, 2 * 10**12))  # in seconds and milliseconds


class Pseudonyms:
    """Replaces values; `kept` are the texts of the configuration, which decide what an event becomes."""

    def __init__(self, kept: Collection[str] = ()) -> None:
        self._kept = kept
        self._taken: dict[str, str] = {}

    def event(self, event: JsonObject) -> JsonObject:
        """Return the event with pseudonyms."""
        return {name: self._member(name, value) for name, value in event.items()}

    def _member(self, name: str, value: Any) -> Any:
        if name in _IDS:
            return self._id(value)
        if name in _KEPT:
            return value
        if name == "context" and isinstance(value, dict):
            return {inner: self._of_context(inner, each) for inner, each in value.items()}
        return self._content(value)

    def _of_context(self, name: str, value: Any) -> Any:
        if name in _TECHNICAL:
            return value
        if name == "device" and isinstance(value, dict):
            return {inner: each if inner in _DEVICE else self._content(each) for inner, each in value.items()}
        return self._content(value)

    def _content(self, value: Any) -> Any:
        match value:
            case dict():
                return {name: self._content(inner) for name, inner in value.items()}
            case list():
                return [self._content(inner) for inner in value]
            case str():
                return self._text(value)
            case bool() | None:
                return value
        return self._number(value)

    def _id(self, value: Any) -> Any:
        return self._text(value, "id") if isinstance(value, str) and value else self._content(value)

    def _text(self, text: str, kind: str = "text") -> str:
        if not text or text in self._kept or _TIME.fullmatch(text):
            return text
        if _DATE.fullmatch(text):
            return "2000-01-01"
        return self._pseudonym(text, _form_of(text, kind))

    def _number(self, number: float) -> float:
        """Return a small number or a Unix time as it is; another number may be an id or a telephone number."""
        if abs(number) < _LONG_NUMBER or any(low <= number < high for low, high in _UNIX_TIMES):
            return number
        return int(self._pseudonym(str(number), lambda index: str(_LONG_NUMBER + index)))

    def _pseudonym(self, text: str, form: Callable[[int], str]) -> str:
        if text not in self._taken:
            self._taken[text] = form(len(self._taken) + 1)
        return self._taken[text]


def _form_of(text: str, kind: str) -> Callable[[int], str]:
    """Return the form of the pseudonym of a text."""
    if _ADDRESS.fullmatch(text):
        return lambda number: f"person-{number}@example.com"
    if _IP.fullmatch(text):
        return lambda number: f"192.0.2.{number % 256}"
    if text.startswith(("http://", "https://")):
        return lambda number: f"https://example.com/{number}"
    if text.isdecimal():
        return lambda number: str(_LONG_NUMBER + number)
    prefix = "cio_" if text.startswith("cio_") else f"{kind}-"  # Customer.io's own ids begin so
    return lambda number: f"{prefix}{number}"
