"""The platforms of devices, as Customer.io spells them: `ios` for Apple's systems, `android` for Google's.

Segment's libraries, and the systems themselves, write other names: `iOS`, `iPadOS`, `iPhone OS 17.2`, `Android TV`.
"""

from __future__ import annotations

import re
from typing import Any, Final

# The letters of a name in lower case → the platform whose push service the system uses.
_PLATFORMS: Final = {
    **dict.fromkeys(("ios", "iphone", "iphoneos", "ipad", "ipados", "ipod", "ipodtouch"), "ios"),
    **dict.fromkeys(("tvos", "appletv", "watchos", "applewatch", "visionos"), "ios"),
    **dict.fromkeys(("android", "androidos", "androidtv", "wearos", "androidwear"), "android"),
}
_NO_LETTERS = re.compile(r"[^a-z]+")


def spelled(platform: Any) -> Any:
    """Return the platform as Customer.io spells it; an unknown one unchanged."""
    if type(platform) is not str:
        return platform
    return _PLATFORMS.get(_NO_LETTERS.sub("", platform.lower()), platform)
