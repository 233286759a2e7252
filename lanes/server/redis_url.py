"""The URL of Redis: whether connections can be made from it, and what it is for Celery.

Celery's transport reads a URL in another way than the client of Redis. It verifies certificates only when an option
says so, and it refuses options such as `socket_timeout`. So both get what the client of Redis reads.

`redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE` names Sentinels, which know the primary of the service. User,
password and options of the URL are those of the primary; `sentinel_username` and `sentinel_password` are options too.

`redis+cluster://HOST:PORT,HOST:PORT` names nodes of a Redis Cluster, which know the others. Celery needs another Redis
beside it.
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

_SENTINEL, _CLUSTER = "+sentinel", "+cluster"
_OF_SEVERAL = (f"redis{_SENTINEL}", f"rediss{_SENTINEL}", f"redis{_CLUSTER}", f"rediss{_CLUSTER}")
_SCHEMES = ("redis", "rediss", "unix", *_OF_SEVERAL)
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
    return Sentinels(
        hosts=_addresses(names, 26379),
        service=service,
        node=f"{scheme}://{user}{at}{names.partition(',')[0]}/{database}{'?' if query else ''}{query}",
        credentials={name.removeprefix("sentinel_"): value for name, value in options if name in _OF_SENTINELS},
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a checked URL of a Redis Cluster says. `node`: the URL of a Redis at the address of the first node."""

    hosts: tuple[tuple[str, int], ...]
    node: str


def cluster_of(url: str) -> Cluster | None:
    """Return the nodes of a checked URL of a Redis Cluster; None when it names something else."""
    scheme, clustered, _ = url.partition("://")[0].partition(_CLUSTER)
    if not clustered:
        return None
    parts = urlsplit(url)
    user, at, names = parts.netloc.rpartition("@")
    query = f"?{parts.query}" if parts.query else ""
    return Cluster(
        hosts=_addresses(names, 6379),
        node=f"{scheme}://{user}{at}{names.partition(',')[0]}{parts.path}{query}",
    )


def _addresses(names: str, default_port: int) -> tuple[tuple[str, int], ...]:
    """Return the hosts and ports of names that commas separate. Raises ValueError."""
    addresses = [urlsplit(f"//{name}") for name in names.split(",")]
    return tuple([(each.hostname or "", each.port or default_port) for each in addresses])


def checked_url(url: str) -> str:
    """Return the URL if connections can be made from it; raise ValueError with the fault otherwise.

    No fault quotes a part that may contain the password: in an invalid URL, that is each part but the scheme.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise ValueError(f"must begin with redis://, rediss:// or unix://, or {'://, '.join(_OF_SEVERAL)}://")
    if not _has_form(url):
        raise ValueError(
            f"must be like {_form(scheme)}; in a user and a password, / ? # @ must be percent-encoded: %2F %3F %23 %40"
        )
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if scheme.endswith(_SENTINEL) and name in _OF_SENTINELS:
            continue
        if not _is_option(scheme.partition("+")[0], name, value) or (scheme.endswith(_CLUSTER) and name == "db"):
            raise ValueError(f"the option {name} cannot be used, or its value is invalid")
        if name in _FILES and not Path(value).is_file():
            raise ValueError(f"the option {name}: there is no such file")
    return url


def checked_broker_url(url: str | None, of_queues: str) -> str | None:
    """Return the URL of Celery's Redis if it can be used beside that of the queues; raise ValueError otherwise."""
    if url is None:
        if cluster_of(of_queues):
            raise ValueError("is not set; Celery cannot use a Redis Cluster: name a small Redis for its wake-ups")
        return None
    if cluster_of(checked_url(url)):
        raise ValueError("must not name a Redis Cluster: Celery cannot use it")
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


def _form(scheme: str) -> str:
    if scheme.endswith(_SENTINEL):
        return f"{scheme}://host:port,host:port/service/number"
    if scheme.endswith(_CLUSTER):
        return f"{scheme}://host:port,host:port"
    return "unix:///path" if scheme == "unix" else f"{scheme}://host:port/number"


def _has_form(url: str) -> bool:
    scheme = url.partition("://")[0]
    if scheme.endswith(_SENTINEL):
        return _names_sentinels(url)
    return _names_cluster(url) if scheme.endswith(_CLUSTER) else _is_well_formed(url)


def _names_cluster(url: str) -> bool:
    """Return whether the URL names nodes, each by host and port, and no database: a cluster has one only."""
    if not _names_hosts(url):
        return False
    found = cluster_of(url)
    return bool(found and urlsplit(url).path in ("", "/") and _is_well_formed(found.node))


def _names_sentinels(url: str) -> bool:
    """Return whether the URL names a service and Sentinels, each by host and port."""
    if not _names_hosts(url):
        return False
    found = sentinels(url)
    return bool(found and re.fullmatch(r"[\w.-]+", found.service) and _is_well_formed(found.node))


def _names_hosts(url: str) -> bool:
    try:
        names = urlsplit(url).netloc.rpartition("@")[2]
        hosts = [host for host, _ in _addresses(names, 1)]
    except ValueError:  # of a port
        return False
    return all(hosts) and all(_is_well_formed(f"redis://{name}") for name in names.split(","))


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
    found = sentinels(url) or cluster_of(url)
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
