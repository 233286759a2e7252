"""The URL of Redis: whether connections can be made from it, and what it is for Celery.

Celery's transport reads a URL in another way than the client of Redis: it does not verify certificates unless it is
told to, and it refuses options such as `socket_timeout`. So both get what the client of Redis reads.

`redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE` names Sentinels, which know the primary of the service. User,
password and options of the URL are those of the primary; `sentinel_username` and `sentinel_password` are options too.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import redis
import redis.asyncio
from redis.connection import parse_url

_SENTINEL = "+sentinel"
_SCHEMES = ("redis", "rediss", "unix", f"redis{_SENTINEL}", f"rediss{_SENTINEL}")
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_CREDENTIALS = ("username", "password", *_OF_SENTINELS)
_BYTES_ONLY = "decode_responses"  # what is stored is no text
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_VERIFIED = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """What a checked URL of Sentinels says. `node`: the URL of a Redis at the address of the first one."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    node: str
    credentials: dict[str, str]  # of the Sentinels: username and password, as far as they are set


def sentinels(url: str) -> Sentinels | None:
    """Return the Sentinels of a checked URL; None when it names a Redis."""
    scheme, sentinel, _ = url.partition("://")[0].partition(_SENTINEL)
    if not sentinel:
        return None
    parts = urlsplit(url)
    user, at, names = parts.netloc.rpartition("@")
    service, _, database = parts.path.removeprefix("/").partition("/")
    options = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode([(name, value) for name, value in options if name not in _OF_SENTINELS])
    addresses = [urlsplit(f"//{name}") for name in names.split(",")]
    return Sentinels(
        hosts=tuple([(each.hostname or "", each.port or 26379) for each in addresses]),
        service=service,
        node=f"{scheme}://{user}{at}{names.partition(',')[0]}/{database}{'?' if query else ''}{query}",
        credentials={name.removeprefix("sentinel_"): value for name, value in options if name in _OF_SENTINELS},
    )


def checked_url(url: str) -> str:
    """Return the URL if connections can be made from it; raise ValueError with the fault otherwise.

    No fault quotes a part that may contain the password: in an invalid URL, that is each part but the scheme.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise ValueError("must begin with redis://, rediss:// or unix://, or redis+sentinel:// or rediss+sentinel://")
    if not (_names_sentinels(url) if scheme.endswith(_SENTINEL) else _is_well_formed(url)):
        form = "unix:///path" if scheme == "unix" else f"{scheme}://host:port/number"
        form = f"{scheme}://host:port,host:port/service/number" if scheme.endswith(_SENTINEL) else form
        raise ValueError(
            f"must be like {form}; in a user and a password, / ? # @ must be percent-encoded: %2F %3F %23 %40"
        )
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if scheme.endswith(_SENTINEL) and name in _OF_SENTINELS:
            continue
        if not _is_option(scheme.removesuffix(_SENTINEL), name, value):
            raise ValueError(f"the option {name} cannot be used, or its value is invalid")
        if name in _FILES and not Path(value).is_file():
            raise ValueError(f"the option {name}: there is no such file")
    return url


def verifies_certificate(url: str) -> bool:
    """Return whether a checked URL verifies the certificate of Redis, or does not use TLS."""
    return bool(_options(url).get("ssl_cert_reqs", "required") == "required")


def broker_settings(url: str) -> dict[str, Any]:
    """Return the settings of Celery for a checked URL. Certificates are verified, unless the URL's options say not."""
    if found := sentinels(url):
        return _sentinel_broker(found)
    parts, options = urlsplit(url), _options(url)
    address = f"{_credentials(options)}{parts.netloc.rpartition('@')[2]}"
    database = options.get("db", 0)
    if parts.scheme == "unix":
        return {"broker_url": f"redis+socket://{address}{parts.path}?virtual_host={database}"}
    broker_url = f"{parts.scheme}://{address}/{database}"
    if parts.scheme == "redis":
        return {"broker_url": broker_url}
    return {"broker_url": broker_url, "broker_use_ssl": _VERIFIED | tls(options)}


def tls(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a connection that are of TLS."""
    return {name: value for name, value in options.items() if name.startswith("ssl_")}


def _sentinel_broker(found: Sentinels) -> dict[str, Any]:
    options = _options(found.node)
    begin = f"sentinel://{_credentials(options)}"
    urls = [f"{begin}{f'[{host}]' if ':' in host else host}:{port}" for host, port in found.hosts]
    transport: dict[str, Any] = {"master_name": found.service, "sentinel_kwargs": dict(found.credentials)}
    settings: dict[str, Any] = {"broker_transport_options": transport}
    if found.node.startswith("rediss:"):
        settings["broker_use_ssl"] = _VERIFIED | tls(options)
        transport["sentinel_kwargs"] |= {"ssl": True} | _VERIFIED | tls(options)
    return settings | {"broker_url": f"{';'.join(urls)}/{options.get('db', 0)}"}


def address(url: str) -> str:
    """Return a checked URL without credentials and options, for people."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def without_credentials(url: str) -> str:
    """Return a checked URL without user and password."""
    options = [(name, value) for name, value in parse_qsl(urlsplit(url).query) if name not in _CREDENTIALS]
    return f"{address(url)}?{urlencode(options)}" if options else address(url)


def socket_url(path: Path) -> str:
    """Return the URL of a server that listens on a Unix socket."""
    return f"unix://{quote(str(path))}"


def _names_sentinels(url: str) -> bool:
    """Return whether the URL names a service and Sentinels, each by host and port."""
    try:
        found = sentinels(url)
        nodes = [f"redis://{name}" for name in urlsplit(url).netloc.rpartition("@")[2].split(",")]
    except ValueError:  # of a port
        return False
    hosts = found is not None and all(host for host, _ in found.hosts) and all(map(_is_well_formed, nodes))
    return bool(found and hosts and re.fullmatch(r"[\w.-]+", found.service) and _is_well_formed(found.node))


def _is_well_formed(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_path = not parts.hostname and len(parts.path) > 1
    is_database = re.fullmatch("/?[0-9]*/?", parts.path) is not None
    rest = is_path if parts.scheme == "unix" else is_database
    return is_port and rest and not parts.fragment and "@" not in parts.query


def _options(url: str) -> dict[str, Any]:
    found = sentinels(url)
    options: dict[str, Any] = parse_url(found.node if found else url)  # type: ignore[no-untyped-call]
    return options


def _credentials(options: dict[str, Any]) -> str:
    user, password = (quote(options.get(name, ""), safe="") for name in ("username", "password"))
    return f"{user}:{password}@" if password else ""


def _is_option(scheme: str, name: str, value: str) -> bool:
    """Return whether both clients of Redis make a connection with this option, and Segue can use it."""
    if name == _BYTES_ONLY:
        return False
    url = f"{scheme}:///0?{quote(name)}={quote(value)}"
    try:
        for pool in (redis.ConnectionPool.from_url(url), redis.asyncio.ConnectionPool.from_url(url)):
            pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        return False
    return True
