"""The identifiers of a person or an object, by the rules of the reference (customerio/utils.ts, resolveIdentifiers)."""

from __future__ import annotations

import re
from typing import Any, Final

from mapping.errors import EngineFault

CIO_PREFIX: Final = "cio_"
DEFAULT_OBJECT_TYPE: Final = "1"

Identifiers = dict[str, Any]

# The full e-mail pattern of ajv-formats 2.1.1: ASCII only, at least one dot in the domain, no quotes.
_LOCAL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_EMAIL = re.compile(rf"{_LOCAL}(?:\.{_LOCAL})*@(?:{_LABEL}\.)+{_LABEL}", re.IGNORECASE | re.ASCII)


def is_email(text: str) -> bool:
    """Whether a text is an e-mail address for the reference."""
    return "@" in text and _EMAIL.fullmatch(text) is not None


def of_person(person_id: Any = None, email: Any = None, anonymous_id: Any = None) -> Identifiers | None:
    """Return the identifier of a person: the id, else the e-mail address, else the anonymous id; None without any.

    An id that begins with `cio_` is a `cio_id`; one that is an e-mail address is an `email`. Raises EngineFault for an
    id that is not a text.
    """
    if person_id:
        if type(person_id) is not str:
            raise EngineFault("person_id?.startsWith is not a function")
        if person_id.startswith(CIO_PREFIX):
            return {"cio_id": person_id[len(CIO_PREFIX) :]}
        return {"email": person_id} if is_email(person_id) else {"id": person_id}
    if email:
        return {"email": email}
    return {"anonymous_id": anonymous_id} if anonymous_id else None


def of_object(object_id: Any, object_type_id: Any) -> Identifiers | None:
    """Return the identifiers of an object; None without an id or with an empty type. A type of None defaults to "1"."""
    if object_type_id is None:
        object_type_id = DEFAULT_OBJECT_TYPE
    if not object_id or not object_type_id:
        return None
    return {"object_id": object_id, "object_type_id": object_type_id}
