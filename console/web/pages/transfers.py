"""Dead letters as a file: the export of a filter, and the import of lines, by the functions of `segue dead`.

An import has two steps: the plan, which imports nothing, and the act, whose button carries the number of the plan. The
console keeps no file in between: the page of the plan has the lines, compressed.
"""

from __future__ import annotations

import io
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final

import zstandard

from console.dead import listing
from console.errors import CommandError
from console.web import audit_log, choice
from console.web import visit as visits
from console.web.visit import Download, Page, Redirect, Result, Visit, address
from dead_letters import import_export
from dead_letters.import_export import ImportPlan
from lanes.clock import machine_ms

_MOST: Final = 8_000_000  # bytes of a file
MOST_BODY: Final = visits.MOST_BODY + _MOST * 3 // 2  # in Base64
_CHUNK: Final = 64_000
_COMPRESSED: Final = b"\x28\xb5\x2f\xfd"  # the beginning of a spill file


def export(visit: Visit) -> Result:
    """Send the dead letters that the filter of the form matches as JSON lines, as `segue dead export` prints them."""
    queue, chosen = visit.session.queue(visit.named_destination()), choice.of(visit.form, visit.user)
    count = sum(row["count"] for row in visit.state.groups.of(queue, chosen.wanted))
    conditions = audit_log.conditions(chosen.json())
    audit_log.write(visit.session.client, visit.user, "export", queue.name, filter=conditions, count=count)
    name = f"dead-letters-{queue.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    return Download(name, chunked(listing.exported([queue], chosen.wanted)))


def form(visit: Visit) -> Result:
    """Ask for a file of dead letters."""
    return _page(visit.destination or "")


def plan(visit: Visit) -> Result:
    """Show what the lines of the file would add, and every line that is refused."""
    content, destination = visit.upload, visit.given("destination")
    if not content.strip():
        raise CommandError("The file is empty. Choose a file of JSON lines.")
    if len(content) > _MOST:
        raise CommandError(f"The file has more than {_MOST:,} bytes; `segue dead import` takes it.")
    if content.startswith(_COMPRESSED):
        raise CommandError("This is a spill file, which is compressed; `segue dead import` takes it.")
    return _page(destination, _plan(visit, destination, content), content)


def add(visit: Visit) -> Result:
    """Import the lines of a plan, if its number is still right; else show a new plan."""
    destination, content = visit.given("destination"), _content(visit.given("lines"))
    planned = _plan(visit, destination, content)
    if planned.refused_total or visit.given("count") != str(planned.new):
        return _page(destination, planned, content)
    targets = listing.import_targets(visit.session, destination or None)
    added, existing = import_export.import_to(targets, _lines(content), machine_ms())
    facts = {"count": added, "existing": existing}
    audit_log.write(visit.session.client, visit.user, "import", destination or None, **facts)
    return Redirect(address("/dead", destination=destination, done="imported"))


def chunked(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines with their ends, several at once."""
    chunk = bytearray()
    for line in lines:
        chunk += line + b"\n"
        if len(chunk) > _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _plan(visit: Visit, destination: str, content: bytes) -> ImportPlan:
    targets = listing.import_targets(visit.session, destination or None)
    return import_export.plan(targets, _lines(content), machine_ms())


def _page(destination: str, planned: ImportPlan | None = None, content: bytes = b"") -> Page:
    found = None if planned is None else planned.json()
    lines = urlsafe_b64encode(zstandard.compress(content)).decode() if found and not found["refused_total"] else ""
    shown = {"plan": found, "lines": lines, "picked": destination, "most": _MOST}
    command = f"segue dead import FILE --dry-run{f' --destination {destination}' if destination else ''}"
    return Page(template="import.html", title="Import dead letters", data=found, command=command, shown=shown)


def _content(text: str) -> bytes:
    """Return the lines that the page of a plan has. Raises CommandError."""
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(urlsafe_b64decode(text)))
        content: bytes = stream.read(_MOST + 1)
    except (ValueError, zstandard.ZstdError):
        content = b""
    if not content or len(content) > _MOST:
        raise CommandError("The lines are not those of a plan. Choose the file again; nothing was imported.")
    return content


def _lines(content: bytes) -> import_export.Lines:
    return lambda: iter(content.split(b"\n"))
