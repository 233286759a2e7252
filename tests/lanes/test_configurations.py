"""The reports of running processes."""

from __future__ import annotations

import redis

from lanes import configurations, keys
from lanes.configurations import Process


def reported(client: redis.Redis) -> set[bytes]:
    return set(client.hkeys(keys.CONFIGURATIONS.name))


def test_a_new_process_removes_the_reports_of_those_that_were_killed_long_ago(client: redis.Redis) -> None:
    configurations.report(client, Process("killed@host"))
    configurations.report(client, Process("running@host"))
    request = configurations.request_load(client)
    client.hset(keys.CONFIGURATIONS.name, "killed@host", "1000000000000 {}")

    configurations.report(client, Process("running@host"))
    assert reported(client) == {b"killed@host", b"running@host", b"request"}

    assert configurations.report(client, Process("new@host")) == request
    assert reported(client) == {b"running@host", b"new@host", b"request"}
