"""The text of a credential in the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def checked_credential(text: str) -> str:
    """Return the text. Raises ValueError: it has characters that come from copying, and that no credential has."""
    if text != text.strip():
        raise ValueError("must not begin or end with a space or a line feed")
    if not text.isprintable():
        raise ValueError("must not contain control characters or line feeds")
    return text


Credential = Annotated[str, StringConstraints(min_length=1), AfterValidator(checked_credential)]
