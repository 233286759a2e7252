"""`segue forget` in another shell than that of the workers: it uses the values of the queue, or it refuses.

The names of the keys that remember message ids depend on SEGUE_DEDUPE_S. A shell without this variable once looked at
other keys, left the message ids of the erased person behind, and reported success.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
import redis

import lanes
from console import cli
from console.session import Session
from mapping.envelope import pack
from privacy import erasure, receipts
from tests.queues import queue_of
from tests.unit.privacy.test_erasure import JO

HOUR_S = 3600


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[redis.Redis]:
    """A server with a queue that remembers message ids for an hour, seen from a shell without a variable for that."""
    for name in ("REDIS_URL", "SEGUE_CONFIG", "SEGUE_DEDUPE_S", "SEGUE_SPILL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))
    with fakeredis.FakeRedis() as client:
        monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: client)
        monkeypatch.setattr(client, "info", lambda *_: {"aof_enabled": 0})
        queue_of(client, "demo", dedupe_s=HOUR_S)
        append(client)
        yield client


def append(client: redis.Redis) -> bool:
    """Append an event of Jo; return whether its message id was new."""
    event = {"type": "track", "event": "a", "messageId": "a", "userId": "jo"}
    return all(
        lanes.append(queue_of(client, "demo"), [lanes.NewEvent(pack("web", event), ("id:jo",), "web:a")]).accepted
    )


def segue(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["segue", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_a_shell_without_the_variable_erases_the_message_ids(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not append(store), "the message id is remembered"

    assert segue("forget", "--user-id", "jo", monkeypatch=monkeypatch) == 0

    (receipt,) = receipts.history(queue_of(store, "demo"))
    assert receipt.removed == {"events": 1, "message_ids": 1}
    assert store.keys("*:seen:*") == []
    assert append(store), "the message id is new again"


def test_a_session_without_the_variable_erases_the_message_ids(store: redis.Redis) -> None:
    context = Session.join().erasure_context("demo")

    receipt, _ = erasure.erase(context, JO, "op")

    assert (context.queue.dedupe_s, receipt.removed["message_ids"]) == (HOUR_S, 1)
    assert store.keys("*:seen:*") == []


def test_a_shell_with_another_value_fails_with_both_and_erases_nothing(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_DEDUPE_S", "7200")

    assert segue("forget", "--user-id", "jo", monkeypatch=monkeypatch) == 2

    error = " ".join(capsys.readouterr().err.split())
    assert "SEGUE_DEDUPE_S is 7200 here and 3600 in Redis" in error
    assert receipts.history(queue_of(store, "demo")) == []
    assert lanes.stats(queue_of(store, "demo")).waiting == 1


@pytest.mark.parametrize("command", [("forget",), ("forget", "--delete"), ("unsuppress",)])
def test_a_queue_that_an_operator_wrote_to_first_can_be_opened_by_workers(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    store.flushall()

    assert segue(*command, "--user-id", "jo", monkeypatch=monkeypatch) == 0

    assert lanes.open_queue(Session.join().queue("demo"))
