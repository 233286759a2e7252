"""About: the version, the Redis, the configuration of every process, and what the user may do."""

from __future__ import annotations

from typing import get_args

from console import checking
from console.web import rendering
from console.web.access import CHANGES, Permission
from console.web.layout import NAVIGATION
from console.web.visit import Page, Result, Visit
from lanes.server.checks import Server


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
        "warnings": checking.warnings(visit.session.settings.document()),
        "user": {"name": visit.user.name, "role": visit.user.role},
    }
    permissions = [each for each in get_args(Permission) if each != "public"]
    shown = {
        "processes": data["processes"],
        "configuration": data["configuration"],
        "permissions": [(each, visit.user.may(each), each in CHANGES) for each in permissions],
        "keys": [(key, name) for _, name, key in NAVIGATION],
        "is_read_only": not visit.user.may_change,
    }
    return Page(template="about.html", title="About", data=data, command="segue check", shown=shown)
