"""Paths of the endpoint: which of them take calls, and what is said of those that do not exist."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.calls import BATCH_PATHS, EVENT_PATHS
from ingest.errors import Refusal

# The first parts of all paths.
ROOTS = frozenset({"v1", "api", "beacon", "pixel", "analytics.js", "analytics-next", "health", "ready"})


def call(parts: Sequence[str]) -> str | None:
    """Return the last part of a path of a call, a key of EVENT_PATHS or a member of BATCH_PATHS; None for other paths.

    Segment's paths are `/v1/TYPE`, Jitsu's are `/api/s/TYPE` and, for servers, `/api/s/s2s/TYPE`. RudderStack's library
    for browsers sends its beacons to `/beacon/v1/batch`.
    """
    match parts:
        case ["v1", path] | ["beacon", "v1", path] | ["api", "s", path] | ["api", "s", "s2s", path]:
            return path if path in EVENT_PATHS or path in BATCH_PATHS else None
    return None


def refusal(method: str, parts: Sequence[str], path: str) -> Refusal:
    """Return the refusal of a request that nothing serves: a wrong method (405) or an unknown path (404)."""
    if call(parts) is not None:
        return Refusal(405, f"{method} is not allowed at this path; use POST")
    match parts:
        case (
            ["health" | "ready"]
            | ["v1", "m"]
            | ["v1", "webhook" | "pixel", _]
            | ["pixel", "v1", _]
            | ["v1", "projects", _, "settings"]
            | ["analytics.js", "v1", _, "analytics.min.js"]
            | ["analytics-next", "bundles", _]
        ):
            return Refusal(405, f"{method} is not allowed at this path")
    return Refusal(404, f"the path {path} does not exist; send events to /v1/batch, or to /v1/TYPE")
