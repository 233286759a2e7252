"""The one error of FQL: what is wrong, where, and how the reference words it."""

from __future__ import annotations

NOTHING_THERE = "Cannot read properties of undefined (reading 'type')"  # how the reference's engine says most things


class FqlError(ValueError):
    """Text that is not FQL, or a condition that cannot be evaluated.

    - `message`: exactly the reference's text, for results and logs that are compared with it;
    - `reason`: what is wrong, for people;
    - `source`, `position`: the text and the index of the character it is about.

    `str(error)` is the form for people: the reason, the source, and a caret under the character.
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
        """Return the line of the source that is meant and, below it, a caret under the character."""
        return point_at(self.source, self.position)


def point_at(source: str, position: int) -> str:
    """Return the line of `source` that holds `position`, indented by four, and a caret under the character."""
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", position)
    line = source[start:] if end < 0 else source[start:end]
    before = "".join("\t" if char == "\t" else " " for char in line[: position - start])
    return f"    {line}\n    {before}^"
