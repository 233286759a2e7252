"""Sources: what each sent, what was refused, and where its events go."""

from __future__ import annotations

from typing import Any

from console.web.visit import Page, Result, Visit
from ingest.access import sources


def page(visit: Visit) -> Result:
    """Show the figures of each source, the refusals, and how events are sent."""
    figures = visit.state.figures()
    keys = {source.name: source for source in sources.sources(visit.session.document)}
    settings = visit.session.settings
    shown = {
        "rows": [{**row, **_of_file(keys.get(row["name"]))} for row in figures["sources"]],
        "refusals": figures["refusals"],
        "unauthorized": figures["unauthorized_total"],
        "ingest": (settings.public_url or f"http://localhost:{settings.ingest_port}").rstrip("/"),
    }
    data = {key: figures[key] for key in ("sources", "refusals", "unauthorized_total")}
    return Page(template="sources.html", title="Sources", data=data, command="segue status", shown=shown)


def _of_file(source: sources.Source | None) -> dict[str, Any]:
    """Return what the configuration says of a source, with the last characters of its write key."""
    if source is None:
        return {"write_key": "–", "has_webhook": False}
    key = source.write_key
    return {"write_key": f"…{key[-4:]}" if len(key) > 12 else "…", "has_webhook": source.webhook_secret is not None}
