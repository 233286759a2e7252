"""Clients of Redis from `REDIS_URL`: the one way in which every process connects.

With the URL of Sentinels, a client asks them for the primary before each connection that it opens. So it finds the new
one after a failover. With the URL of a Redis Cluster it asks the nodes (`lanes.cluster`).
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.connection import parse_url

from lanes import cluster
from lanes.server.redis_url import Cluster, Sentinels, cluster_of, sentinels, tls

_SENTINEL_S = 2.0  # for which a Sentinel may take to answer before the next one is asked


def connect(url: str, **options: Any) -> redis.Redis:
    """Return a client of a checked URL; `options` are those of its connections."""
    if nodes := cluster_of(url):
        return cluster.connect(nodes.hosts, **_of_cluster(nodes, options))
    found = sentinels(url)
    if found is None:
        return redis.Redis.from_url(url, **options)
    kwargs = _node_options(found.node) | options
    manager: Any = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        found.hosts, sentinel_kwargs=_sentinel_options(found), **kwargs
    )
    client: redis.Redis = manager.master_for(found.service)
    return client


def connect_async(url: str, **options: Any) -> redis.asyncio.Redis:
    """Return an asyncio client of a checked URL; `options` are those of its connections. A `connection_class` is for
    URLs of the schemes `redis` and `redis+cluster`."""
    if nodes := cluster_of(url):
        return cluster.connect_async(nodes.hosts, **_of_cluster(nodes, options))
    found = sentinels(url)
    if found is None:
        return redis.asyncio.Redis.from_url(url, **options)
    kwargs = _node_options(found.node) | options
    kwargs.pop("connection_class", None)
    manager: Any = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
        found.hosts, sentinel_kwargs=_sentinel_options(found), **kwargs
    )
    client: redis.asyncio.Redis = manager.master_for(found.service)
    return client


def _node_options(node: str) -> dict[str, Any]:
    """Return the options of a connection to a primary, whose address Sentinels or nodes know."""
    options: dict[str, Any] = parse_url(node)  # type: ignore[no-untyped-call]
    options = {name: value for name, value in options.items() if name not in ("host", "port", "connection_class")}
    return options | ({"ssl": True} if node.startswith("rediss:") else {})


def _of_cluster(found: Cluster, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `lanes.cluster.connect`."""
    of_node = _node_options(found.node)
    asking = {name: of_node[name] for name in ("username", "password", "ssl") if name in of_node} | tls(of_node)
    is_tls = of_node.pop("ssl", False)
    return {"of_nodes": asking, "options": of_node | options, "tls": is_tls}


def _sentinel_options(found: Sentinels) -> dict[str, Any]:
    options = _node_options(found.node)
    secure = {"ssl": True} | tls(options) if "ssl" in options else {}
    return {"socket_timeout": _SENTINEL_S, "socket_connect_timeout": _SENTINEL_S} | secure | found.credentials
