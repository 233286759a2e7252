"""Pages as HTML: the templates, and how values are written in them.

Every value is escaped. Characters that act on a text, such as those that turn its direction, are written as in JSON.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from console import status
from console.output import counted, safe, utc
from console.web import masking
from console.web.visit import LONGEST_FIELD, address
from mapping.envelope import SAFE_LEVELS, encoded, has_more_levels

_FOLDER: Final = Path(__file__).parent / "templates"
VERSION: Final = metadata.version("segue")


def html(template: str, values: Mapping[str, Any]) -> str:
    """Return the page of a template."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        n=_number,
        when=_when,
        since=_since,
        duration=_duration,
        json=_json,
        in_form=in_form,
        counted=counted,
        share=_share,
        ticks=_ticks,
    )
    environment.globals.update(address=address, masking=masking, version=VERSION)
    return environment


def _finalized(value: Any) -> Any:
    if value is None:
        return "–"
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float | None) -> str:
    """Return a number with its thousands apart, and one digit behind the point below ten."""
    if value is None:
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"
    return f"{value:,.0f}"


def _when(ms: int | None) -> Markup:
    """Return a time with its zone, and its age."""
    return Markup("–") if ms is None else Markup('{} <span class="age">{}</span>').format(_since(ms), _age(ms))


def _since(ms: int) -> Markup:
    """Return a time with its zone, which the script shows in the zone of the browser on demand."""
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return Markup("{}").format(str(ms))
    return Markup('<time datetime="{}">{}</time>').format(moment, utc(ms))


def _age(ms: int) -> str:
    seconds = time.time() - ms / 1000
    return f"{status.duration(seconds)} ago" if seconds >= 0 else f"in {status.duration(-seconds)}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 10 else status.duration(seconds)


def _json(value: Any) -> str:
    """Return JSON for people, with two blanks for each level."""
    is_deep = has_more_levels(value, SAFE_LEVELS)
    try:
        return (encoded(value) if is_deep else orjson.dumps(value, option=orjson.OPT_INDENT_2)).decode()
    except TypeError:  # of an integer beyond 64 bits
        return encoded(value).decode()


def in_form(event: Any) -> str:
    """Return an event as JSON for people; in one line where a field of a form would not take all lines."""
    text = _json(event)
    return text if len(text) <= LONGEST_FIELD else encoded(event).decode()


def _ticks(text: str) -> Markup:
    """Return a text, with what is between backticks as code."""
    parts = safe(text).split("`")
    shown = [Markup("<code>{}</code>").format(part) if at % 2 else Markup.escape(part) for at, part in enumerate(parts)]
    return Markup("").join(shown)


def _share(part: float, whole: float) -> float:
    """Return a part in hundredths of the whole, with two digits."""
    return round(100 * part / whole, 2) if whole else 0.0
