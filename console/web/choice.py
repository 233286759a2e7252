"""The filter of dead letters in an address, in a form and on the command line: the same names with the same values.

A person is `digest:` and the digest of an ordering key, because addresses end up in logs.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import typer

from console import times
from console.dead import listing
from console.errors import CommandError
from console.web.access import User
from console.web.visit import Fields, Forbidden, Visit
from dead_letters.query import Filter

TEXTS: Final = ("reason", "action", "event", "source", "person", "since", "until", "text")
_TIMES: Final = ("since", "until")
_MOST_IDS: Final = 1000
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter, and the texts that it was made of."""

    texts: dict[str, str]
    wanted: Filter

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of an address with this filter."""
        return {**self.texts, "ids": self.wanted.ids}

    @property
    def options(self) -> str:
        """The ids and options of a `segue dead` command with this filter."""
        ids = [str(sequence) for sequence in self.wanted.ids]
        return " ".join([*ids, *(f"--{name} {shlex.quote(value)}" for name, value in self.texts.items())])

    @property
    def is_all(self) -> bool:
        """Whether every dead letter matches."""
        return self.wanted == Filter()

    def json(self) -> dict[str, Any]:
        """Return the conditions as they are recorded."""
        ids = {"ids": len(self.wanted.ids)} if self.wanted.ids else {}
        return {**self.texts, **ids}


def of(fields: Fields, user: User) -> Choice:
    """Return the filter of the fields.

    Raises CommandError: a value is invalid. Raises Forbidden: a search in texts by a user who may not see them.
    """
    texts = {name: text for name in TEXTS if (text := fields.get(name, [""])[0].strip())}
    for name, text in texts.items():
        if len(text) > _LONGEST:
            raise CommandError(f"{name}: is longer than {_LONGEST} characters")
    if "text" in texts and not user.may("reveal"):
        raise Forbidden(f"The role {user.role} may not search in contents.")
    if "@" in texts.get("text", ""):
        raise CommandError("text: addresses of this console must contain no identity; search for the person instead")
    if not texts.get("person", "digest:").startswith("digest:"):
        raise CommandError("person: addresses of this console name people by digest only")
    conditions: dict[str, Any] = {name: text for name, text in texts.items() if name not in _TIMES}
    conditions |= {f"{name}_ms": moment(name, texts[name]) for name in _TIMES if name in texts}
    return Choice(texts, listing.filter_of(ids=_ids(fields), **conditions))


def option(visit: Visit) -> str:
    """Return the option of a command for the destination of an address, with a blank in front; empty without one."""
    return f" --destination {visit.destination}" if visit.destination else ""


def _ids(fields: Fields) -> tuple[int, ...]:
    texts = [text for text in fields.get("ids", ()) if text]
    if len(texts) > _MOST_IDS or not all(text.isdecimal() and len(text) < 16 for text in texts):
        raise CommandError(f"ids: must be at most {_MOST_IDS:,} numbers of dead letters")
    return tuple(map(int, texts))


def moment(name: str, text: str, parse: Callable[[str], int] = times.past) -> int | None:
    """Return the time of a field in Unix milliseconds, None without one. Raises CommandError: it is invalid."""
    try:
        return parse(text) if text else None
    except typer.BadParameter as error:
        raise CommandError(f"{name}: {error}") from None
