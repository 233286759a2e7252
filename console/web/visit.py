"""A request as a page sees it, and what a page returns."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from console.errors import CommandError
from console.session import Session
from console.web import masking
from console.web.access import User
from console.web.state import State

MOST_FIELDS: Final = 1200
LONGEST_FIELD: Final = 64_000
MOST_BODY: Final = 300_000  # bytes of a form; some routes take more of those who may use them
_BOUNDARY: Final = re.compile(r"multipart/form-data;.*boundary=\"?([^\";]+)")
_NAME: Final = re.compile(rb"[; ]name=\"([^\"]*)\"")

Fields = Mapping[str, Sequence[str]]


class NotFound(Exception):
    """What an address names does not exist. The message says what, and where to look."""


class Forbidden(Exception):
    """The user may not do this."""


def fields_of(text: str, longest: int = LONGEST_FIELD) -> dict[str, list[str]]:
    """Return the fields of a query or a form by name. Raises CommandError: there are too many, or one is too long."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError:
        raise CommandError("the request has too many fields") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        text = value.replace("\r\n", "\n")  # browsers send each line feed as both
        if len(text) > longest:
            raise CommandError(f"the field {name[:50]!r} is too long")
        found.setdefault(name, []).append(text)
    return found


def upload_of(body: bytes, content_type: str) -> tuple[dict[str, list[str]], bytes]:
    """Return the fields of a form with one file, and the content of the file (RFC 7578). Raises CommandError."""
    boundary = _BOUNDARY.match(content_type)
    if boundary is None:
        raise CommandError("Choose a file.")
    fields: dict[str, list[str]] = {}
    file = b""
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1][:MOST_FIELDS]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if b"filename=" in head:
            file = content
        elif name:
            text = content[:LONGEST_FIELD].decode("utf-8", "replace")
            fields.setdefault(name[1].decode("utf-8", "replace"), []).append(text)
    return fields, file


def number_of(text: str, most: int) -> int | None:
    """Return the whole number that a field has; None when it has another text, or a greater number."""
    is_short = text.isdecimal() and len(text) <= len(str(most))
    return int(text) if is_short and int(text) <= most else None


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: its user, and what it is for."""

    state: State
    user: User
    parts: Mapping[str, str] = field(default_factory=dict)  # of the path
    cookies: Mapping[str, str] = field(default_factory=dict)
    upload: bytes = b""  # the file of the form
    query: Fields = field(default_factory=dict)
    form: Fields = field(default_factory=dict)
    last_event_id: str = ""  # of a stream that the browser opens again

    @property
    def session(self) -> Session:
        """The set-up, as a command has it."""
        return self.state.session

    def asked(self, name: str) -> str:
        """Return a field of the query without blanks around it, or the empty text."""
        return self.query.get(name, [""])[0].strip()

    def given(self, name: str) -> str:
        """Return a field of the form without blanks around it, or the empty text."""
        return self.form.get(name, [""])[0].strip()

    @property
    def destination(self) -> str | None:
        """The destination that the address names, None for all. Raises NotFound."""
        name = self.parts.get("destination") or self.asked("destination") or None
        if name is not None and name not in self.session.destinations:
            raise NotFound(f"There is no destination “{name}”.")
        return name

    def shown_key(self, ordering_key: str | None) -> str | None:
        """Return an ordering key as the user may see it."""
        return ordering_key if self.user.is_revealing else masking.key(ordering_key)

    def shown_id(self, message_id: Any) -> Any:
        """Return a message id as the user may see it."""
        if self.user.is_revealing or message_id is None:
            return message_id
        return masking.identity(message_id) if isinstance(message_id, str) else "…"

    def shown_text(self, text: str | None) -> str | None:
        """Return a message as the user may see it: without values and identities, if these are masked."""
        return text if self.user.is_revealing or text is None else masking.text(text)

    def shown_content(self, content: Any) -> Any:
        """Return an event, a request or a part of one as the user may see it."""
        return content if self.user.is_revealing else masking.content(content)

    def named_destination(self) -> str:
        """Return the destination of the address; the only one where there is one. Raises CommandError, NotFound."""
        return self.destination or self.session.only(None).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, as HTML by a template and as JSON."""

    template: str
    title: str
    data: Any  # the JSON, with the names of the command
    command: str = ""  # that prints the same
    shown: Mapping[str, Any] = field(default_factory=dict)  # what the template needs besides
    cookies: Mapping[str, tuple[str, int]] = field(default_factory=dict)  # as of a Redirect
    status: int = 200
    stream: Callable[[], AsyncIterator[str]] | None = None  # what follows, in the form of `text/event-stream`


@dataclass(frozen=True, slots=True)
class Redirect:
    """The address of the page that shows the result of a POST, and cookies to set: name → value and seconds."""

    to: str
    cookies: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the browser saves, as it is made."""

    name: str
    chunks: Iterator[bytes]
    media_type: str = "application/x-ndjson"


Result = Page | Redirect | Download


def address(path: str, **fields: Any) -> str:
    """Return a path with a query of those fields that are not empty."""
    query = urlencode([(name, value) for name, value in fields.items() if value not in (None, "", ())], doseq=True)
    return f"{path}?{query}" if query else path
