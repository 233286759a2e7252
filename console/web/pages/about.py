"""About: the version, the Redis, every process, what is kept, what the user may do, and the licences."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from typing import Final, get_args

from console import checking
from console.state import kept
from console.web import rendering
from console.web.access import Permission
from console.web.layout import NAVIGATION
from console.web.visit import Page, Result, Visit
from lanes.server.checks import Server

_MOST_AHEAD_MS: Final = 1000  # of a clock that is right
_NAME: Final = re.compile(r"[\w.-]+")


def page(visit: Visit) -> Result:
    """Show what `segue check` and `segue status` say of this installation."""
    figures, server = visit.state.figures(), Server.of(visit.session.client)
    findings = [{"text": finding.text, "is_fault": finding.is_fault} for finding in server.findings()]
    data = {
        "version": rendering.VERSION,
        "redis": server.name,
        "findings": findings,
        "memory": figures["memory"],
        "configuration": figures["configuration"],
        "processes": figures["processes"],
        "settings": [
            {"name": each.name, "value": each.value, "fault": each.finding and each.finding.text}
            for each in server.verdicts()
        ],
        "kept": kept.gather(visit.session),
        "warnings": checking.warnings(visit.session.document),
        "user": {"name": visit.user.name, "role": visit.user.role},
    }
    permissions = [each for each in get_args(Permission) if each != "public"]
    shown = {
        "processes": data["processes"],
        "configuration": data["configuration"],
        "permissions": [(each, visit.user.may(each)) for each in permissions],
        "keys": [(key, name) for _, name, key in NAVIGATION],
        "is_read_only": not visit.user.may_change,
        "most_ahead_ms": _MOST_AHEAD_MS,
        "libraries": _libraries(),
    }
    return Page(template="about.html", title="About", data=data, command="segue check", shown=shown)


@cache
def _libraries() -> list[dict[str, str]]:
    """Return `{"name", "version", "licence"}` of each library that Segue itself needs, as its package says."""
    required = [text for text in metadata.requires("segue") or [] if "extra ==" not in text]
    found = []
    for name in sorted(match[0] for text in required if (match := _NAME.match(text))):
        package = metadata.metadata(name)
        classified = [text for text in package.get_all("Classifier") or () if text.startswith("License ::")]
        named = [*(package.get_all("License-Expression") or ()), *(package.get_all("License") or ()), *classified]
        licence = next(iter(named), "see its package").splitlines()[0].rpartition(":: ")[2]
        found.append({"name": name, "version": package["Version"], "licence": licence})
    return found
