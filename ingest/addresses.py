"""The address of a device, `context.ip`.

Segment's servers fill it in for client-side events only, as the address of a server says nothing about a person.
Source: segmentio/segment-docs, src/connections/spec/common.md, "Context Fields Automatically Collected".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from mapping.envelope import JsonObject

# In `context.library.name`, of the libraries for browsers and phones by Segment, RudderStack, Customer.io and Jitsu.
_DEVICE_LIBRARY = re.compile(
    r"analytics\.js|javascript|browser|jitsu/js|react-?native|flutter|\b(?:ios|android|swift|kotlin|unity|xamarin|amp)\b",
    re.IGNORECASE,
)


def with_ip(context: Any, ip: str) -> Any:
    """Return the context with the address of the connection, if a library for devices sent it without `ip`."""
    if type(context) is not dict or "ip" in context:
        return context
    return context | {"ip": ip} if is_of_device(context) else context


def is_of_device(context: JsonObject) -> bool:
    """Whether a library for devices made this context."""
    library = context.get("library")
    name = library.get("name") if type(library) is dict else None
    return type(name) is str and _is_for_devices(name)


def is_of_react_native(event: JsonObject) -> bool:
    """Whether Segment's library for React Native made this event."""
    context = event.get("context")
    library = context.get("library") if context else None
    name = library.get("name") if type(library) is dict else None
    return type(name) is str and "react-native" in name


@lru_cache(maxsize=256)
def _is_for_devices(library: str) -> bool:
    return _DEVICE_LIBRARY.search(library) is not None
