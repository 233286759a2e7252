"""The registry of events: the code writes only what it declares, and docs/operations.md lists it."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from logs.events import REGISTRY, LogEvent

ROOT = Path(__file__).parents[3]
PACKAGES = ("lanes", "logs", "metrics", "delivery", "dead_letters", "privacy", "ledger", "ingest", "workers", "console")
DOCUMENTED = ROOT / "docs" / "operations.md"
BY_CONSTANT = {event.name.upper(): event for event in REGISTRY}
# A line of the log by `logging` has no fields. The queue is below the log, and has no other one.
BY_LOGGING = {"logs", "lanes"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call `log.EVENT.write(…)` with EVENT, and each `log.unhandled(…)` with that name."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(ast.Attribute(ast.Name("log"), name), "write")):
                        yield name, node
                    case ast.Call(func=ast.Attribute(ast.Name("log"), "unhandled")):
                        yield "UNHANDLED_EXCEPTION", node


def test_every_call_has_only_fields_that_its_event_declares() -> None:
    undeclared = [
        f"{name}: {keyword.arg}"
        for name, call in calls()
        for keyword in call.keywords
        if keyword.arg not in {None, "count", *BY_CONSTANT[name].fields}
    ]

    assert not undeclared


def test_every_event_is_written_somewhere() -> None:
    used = {name for name, _ in calls()} | {"LIBRARY_MESSAGE"}  # `logs.output` writes it
    texts = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "delivery").glob("*.py"))

    assert [name for name in BY_CONSTANT if name not in used and f"log.{name}" not in texts] == []


def test_no_other_package_writes_by_logging() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        if package not in BY_LOGGING
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^import logging", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert found == []


def test_the_document_lists_every_event_with_its_level_and_fields() -> None:
    lines = DOCUMENTED.read_text(encoding="utf-8").splitlines()

    assert [row for row in map(row_of, REGISTRY) if row not in lines] == []
    documented = re.findall(r"^\| `(\w+)` \| (?:info|warning|error|critical) \|", "\n".join(lines), re.MULTILINE)
    assert sorted(documented) == sorted(event.name for event in REGISTRY)


def row_of(event: LogEvent) -> str:
    """Return the row of an event in the table of the document."""
    level = logging.getLevelName(event.level).lower()
    names = [*event.fields, *(["count"] if event.cause else [])]
    fields = ", ".join(f"`{name}`" for name in names) or "none"
    return f"| `{event.name}` | {level} | {fields} | {event.meaning} |"
