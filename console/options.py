"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _message_id(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("is empty")
    return text


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Destination = Annotated[str | None, typer.Option(help="Only this destination.")]
MessageId = Annotated[
    str,
    typer.Argument(parser=_message_id, metavar="MESSAGE-ID", help="Segment's messageId, or SOURCE:MESSAGE-ID."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
