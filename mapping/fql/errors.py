"""The error of FQL: the reason, the position, and the text of the reference."""

from __future__ import annotations

NOTHING_THERE = "Cannot read properties of undefined (reading 'type')"  # the text of most errors of the reference


class FqlError(ValueError):
    """The text is not valid FQL, or the condition cannot be evaluated.

    - `message`: the text of the reference, byte for byte;
    - `reason`: the fault in plain words;
    - `source`, `position`: the text and the index of the character at fault.

    `str(error)` is the reason, the source, and a caret under the character.
    """

    def __init__(self, reason: str, source: str, position: int, message: str = NOTHING_THERE) -> None:
        super().__init__(reason, source, position, message)
        self.reason = reason
        self.source = source
        self.position = position
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}\n{self.caret()}"

    def caret(self) -> str:
        """Return the line of the source at fault and, below it, a caret under the character."""
        return point_at(self.source, self.position)


def point_at(source: str, position: int) -> str:
    """Return the line of `source` that holds `position`, indented by four, and a caret under the character."""
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", position)
    line = source[start:] if end < 0 else source[start:end]
    before = "".join("\t" if char == "\t" else " " for char in line[: position - start])
    return f"    {line}\n    {before}^"
