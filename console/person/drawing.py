"""The graph of why a person waits, as a drawing and as nested lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 224, 46, 48, 16, 10  # of a box, between boxes, around all
_LONGEST: Final = 25  # characters of a line in a box


@dataclass(frozen=True, slots=True)
class Box:
    """An event of the drawing."""

    x: int
    y: int
    event: dict[str, Any]  # as `console.queues.why` has it
    title: str
    state: str

    width = _WIDTH
    height = _HEIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """An edge of the drawing."""

    path: str  # of an SVG path
    before: int
    after: int
    is_direct: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes in columns by their depth, and the lines between them."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Item:
    """An event of the nested lists: inside that of one event before it, the one from which it has its depth."""

    event: dict[str, Any]
    before: tuple[int, ...]  # all events directly before it
    inside: list[Item] = field(default_factory=list)


def drawing(why: dict[str, Any]) -> Drawing:
    """Return the drawing of a result of `console.queues.why.gather`."""
    rows, boxes = Counter[int](), {}
    for event in why["events"]:
        column = event["depth"]
        x, y = _EDGE + column * (_WIDTH + _ACROSS), _EDGE + rows[column] * (_HEIGHT + _DOWN)
        rows[column] += 1
        title, state = f"#{event['sequence']} {event['type']} {event['name']}", f"{_mark(event)}{event['state']}"
        boxes[event["sequence"]] = Box(x, y, event, _short(title), state)
    lines = tuple(_line(boxes[edge["before"]], boxes[edge["after"]], edge) for edge in why["edges"])
    width = 2 * _EDGE + len(rows) * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _EDGE + max(rows.values()) * (_HEIGHT + _DOWN) - _DOWN
    return Drawing(width, height, tuple(boxes.values()), lines)


def nested(why: dict[str, Any]) -> list[Item]:
    """Return the events of a result of `console.queues.why.gather` as lists of lists, each event once."""
    before = defaultdict[int, list[int]](list)
    for edge in why["edges"]:
        if edge["before"] not in before[edge["after"]]:
            before[edge["after"]].append(edge["before"])
    items = {event["sequence"]: Item(event, tuple(before[event["sequence"]])) for event in why["events"]}
    roots = list[Item]()
    for item in items.values():  # by depth
        outer = [each for each in item.before if items[each].event["depth"] == item.event["depth"] - 1]
        (items[outer[0]].inside if outer else roots).append(item)
    return roots


def _mark(event: dict[str, Any]) -> str:
    return "cause: " if event["is_cause"] else ""


def _short(text: str) -> str:
    text = text.rstrip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _line(before: Box, after: Box, edge: dict[str, Any]) -> Line:
    """Return a curve from the right side of a box to the left side of another one."""
    x, y = before.x + _WIDTH, before.y + _HEIGHT // 2
    end_x, end_y = after.x, after.y + _HEIGHT // 2
    bend = x + _ACROSS // 2
    return Line(
        f"M{x} {y}C{bend} {y} {end_x - _ACROSS // 2} {end_y} {end_x} {end_y}",
        edge["before"],
        edge["after"],
        edge["is_direct"],
    )
