"""`segue audit`: whether every accepted event has a fate or waits."""

from console.audit.accounts import gather
from console.audit.screen import render

__all__ = ["gather", "render"]
