"""What a command says of an error of Redis: what it means, as Redis's own texts and the client's exceptions say it."""

from __future__ import annotations

import pytest
import redis
from redis._parsers import BaseParser
from redis.exceptions import RedisError

from console.errors import expected, of_redis

ADVICE = "set REDIS_URL, or SEGUE_DATA_DIR"
PERSONAL = "jo@example.com"
MEANINGS = {
    "OOM command not allowed when used memory > 'maxmemory'.": "Redis is full: it has reached its maxmemory",
    "NOAUTH Authentication required.": "Redis refuses the user or the password of its URL, or needs one",
    "WRONGPASS invalid username-password pair or user is disabled.": "Redis refuses the user or the password",
    "NOPERM User ro has no permissions to run the 'time' command": "the user of Redis lacks a right",
    "LOADING Redis is loading the dataset in memory": "Redis is loading its data",
    "READONLY You can't write against a read only replica.": "Redis is a read-only replica; its URL must name the",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "Redis is a replica without",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.": "Redis takes no writes",
    "NOREPLICAS Not enough good replicas to write.": "Redis takes no writes, because fewer replicas follow it",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "Redis runs a script",
    "CLUSTERDOWN The cluster is down": "the Redis Cluster takes no command: The cluster is down",
    "MOVED 42 10.0.0.1:6379": "this Redis is a node of a Redis Cluster, which REDIS_URL must name by redis+cluster://",
    "ERR max number of clients reached": "Redis has as many connections as its maxclients allows",
    "WRONGTYPE Operation against a key holding the wrong kind of value": "Redis refuses a command: WRONGTYPE Operation",
}


def error_of(reply: str) -> RedisError:
    """Return the exception that the client raises for a reply."""
    error = BaseParser.parse_error(reply)
    assert isinstance(error, RedisError)
    return error


@pytest.mark.parametrize("reply", MEANINGS)
def test_what_redis_refuses_is_not_said_to_be_unavailable(reply: str) -> None:
    text = expected(error_of(reply)) or ""

    assert text.startswith(MEANINGS[reply])
    assert "unavailable" not in text
    assert ADVICE not in text
    assert "\n" not in text


@pytest.mark.parametrize("error", [redis.ConnectionError("Connection refused."), redis.TimeoutError("no answer")])
def test_the_address_is_doubted_only_when_nothing_answers(error: RedisError) -> None:
    text = expected(error) or ""

    assert text.startswith(f"Redis is unavailable: {str(error).rstrip('.')}; {ADVICE}")


def test_no_argument_of_a_command_is_quoted(redis_client: redis.Redis) -> None:
    redis_client.set("text", "x")
    with pytest.raises(RedisError) as found, redis_client.pipeline() as pipeline:
        pipeline.hset("text", "email", PERSONAL).execute()

    assert PERSONAL in str(found.value)
    assert of_redis(found.value).startswith("Redis refuses a command: WRONGTYPE")
    assert PERSONAL not in of_redis(found.value)
