"""The public address of the endpoint: what browsers are told, and the prefix of paths behind a proxy."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from ingest.paths import ROOTS


class PublicUrl:
    """The address that the operator states, like `https://events.example.com/segment`, or none."""

    def __init__(self, url: str | None) -> None:
        address = urlsplit(url or "")
        self._protocol, self._host = address.scheme, address.netloc
        self._prefix = _parts(address.path)

    @property
    def is_stated(self) -> bool:
        """Whether the operator states an address."""
        return bool(self._host)

    def parts(self, path: str) -> list[str]:
        """Return the parts of a path, without the prefix where the proxy has not removed it."""
        parts = _parts(path)
        own = parts[len(self._prefix) :]
        if self._prefix and parts[: len(self._prefix)] == self._prefix and own and own[0] in ROOTS:
            return own
        return parts

    def api_address(self, host: str, scheme: str, forwarded: str) -> tuple[str, str]:
        """Return the protocol, and the host with the path that precedes the type, `events.example.com/segment/v1`.

        `host` and `forwarded` are the headers `Host` and `X-Forwarded-Proto`, `scheme` is that of the connection. They
        count when the operator states no address. Without a sign of TLS a browser is sent to `https` nevertheless,
        unless the host is local: a page on https cannot send to http. `X-Forwarded-Host` does not count, because a
        cache that keys by `Host` would hand one client's value to all others.
        """
        if self._host:
            return self._protocol, "/".join([self._host, *self._prefix, "v1"])
        is_secure = scheme == "https" or "https" in forwarded.lower() or not _is_local(host)
        return ("https" if is_secure else "http"), f"{host}/v1"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_local(host: str) -> bool:
    """Whether the host is an address, or a name that has a meaning in its own network only."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".localhost")
    return True
