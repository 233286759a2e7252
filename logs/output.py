"""How the lines of a process are written: one line each on stderr, as text or as JSON, by `logging` and structlog.

Every line has a time, a level, the name and the number of the process, and the name of an event. Lines of libraries
come through `logging`; they are the event `library_message`. Values are made safe here: no line has a control
character, and none of a library has the text of an exception that may contain data of an event.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor

from logs import events
from logs.causes import cause, frames, is_known

Form = Literal["text", "json"]
Level = Literal["info", "warning", "error"]

_LONGEST: Final = 500  # characters of a value
_HEAD: Final = ("timestamp", "level", "process", "pid", "event")


def configure(process: str, form: Form, level: Level) -> None:
    """Write the lines of this process to stderr. `process` is its name in them. Libraries are heard from `warning` on:
    their other lines may have headers of a request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(process, form))
    root = logging.getLogger()
    root.handlers = [handler]
    lowest = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(logging.WARNING, lowest))
    events.logger.setLevel(lowest)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # an error of a handler would print the arguments of the line
    sys.excepthook = _write_uncaught
    threading.excepthook = _write_uncaught_of_thread


def formatter(process: str, form: Form) -> logging.Formatter:
    """Return the formatter of the lines of a process."""

    def identified(_: Any, __: str, line: EventDict) -> EventDict:
        return {**line, "process": process, "pid": os.getpid()}

    render: Processor = structlog.processors.JSONRenderer(json.dumps) if form == "json" else _as_text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_of_library],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            identified,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _safe,
            render,
        ],
    )


def _of_library(_: Any, __: str, line: EventDict) -> EventDict:
    """Return the line of a library as an event with fields."""
    found: EventDict = {**line, "event": events.LIBRARY_MESSAGE.name, "logger": line["_record"].name}
    raised = found.pop("exc_info", None)
    error = raised[1] if isinstance(raised, tuple) else None
    if error is None or is_known(error):
        found["message"] = line["event"]
    if error is not None:
        found["error"], found["at"] = cause(error), frames(error)
    found.pop("stack_info", None)
    return found


def _safe(_: Any, __: str, line: EventDict) -> EventDict:
    """Return the line in the order of its fields, without those that are None, and with safe texts."""
    ordered = {**{name: line[name] for name in _HEAD}, **line}
    return {name: _safe_value(value) for name, value in ordered.items() if value is not None}


def _safe_value(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return text if text.isprintable() else "".join(map(_safe_character, text))


def _safe_character(character: str) -> str:
    return character if character.isprintable() else f"\\u{ord(character):04x}"


_render_fields = structlog.processors.LogfmtRenderer(bool_as_flag=False)


def _as_text(logger: Any, name: str, line: EventDict) -> str:
    head = f"{line.pop('timestamp')} {line.pop('level')} {line.pop('process')}[{line.pop('pid')}] {line.pop('event')}"
    return f"{head} {_render_fields(logger, name, line)}".rstrip()


def _write_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    events.unhandled("the main thread", error.with_traceback(trace))


def _write_uncaught_of_thread(raised: threading.ExceptHookArgs) -> None:
    if raised.exc_value is not None and not issubclass(raised.exc_type, SystemExit):
        name = raised.thread.name if raised.thread else "unknown"
        events.unhandled(f"the thread {name}", raised.exc_value)
