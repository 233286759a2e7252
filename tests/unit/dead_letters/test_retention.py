"""The limits of dead letters, and the files for those that exceed them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fakeredis
import orjson
import pytest
import redis
from zstandard import ZstdCompressor

import lanes
from dead_letters import query, retention, spill_files
from dead_letters.query import Filter
from dead_letters.record import FailureRecord, Line, Reason
from lanes.keys import base
from mapping import Delivery
from mapping.envelope import pack
from tests.logged import logged
from tests.queues import queue_of

QUEUE = "a/b"  # the name of a destination is not a path
DAY_MS = 86_400_000
NOW_MS = 100 * DAY_MS


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeStrictRedis()


def failure(buried_at_ms: int = NOW_MS, **more: Any) -> bytes:
    return FailureRecord(
        reason=Reason.INVALID, message="no url", faults=(), buried_at_ms=buried_at_ms, **more
    ).to_bytes()


def bury(client: redis.Redis, *users: str, buried_at_ms: int = NOW_MS, **more: Any) -> None:
    imported = [
        lanes.ImportedDeadLetter(None, 1, (f"id:{user}",), pack("web", {"userId": user}), failure(buried_at_ms, **more))
        for user in users
    ]
    lanes.import_dead_letters(queue_of(client, QUEUE), imported)


def block(client: redis.Redis, *names: str, buried_at_ms: int = NOW_MS) -> None:
    """Append these events of one person, and bury the first one so that it blocks the others."""
    events = [lanes.NewEvent(pack("web", {"userId": name}), (f"id:{names[0]}",), name) for name in names]
    lanes.append(queue_of(client, QUEUE), events)
    claim = lanes.claim(queue_of(client, QUEUE), lease_ms=1000, max_events=1, max_bytes=10**6, max_depth=0, poll_ms=0)
    burial = lanes.Burial(claim.events[0].sequence, failure(buried_at_ms), blocks=True)
    lanes.settle(queue_of(client, QUEUE), claim.id, buried=[burial])


def users(client: redis.Redis) -> list[str]:
    return [dead_letter.event["userId"] for dead_letter in query.matching(queue_of(client, QUEUE), Filter())]


def spilled(directory: Path) -> list[str]:
    lines = [orjson.loads(line) for file in spill_files.files(directory, QUEUE) for line in spill_files.read(file)]
    return [line["event"]["userId"] for line in lines]


def spill_excess(client: redis.Redis, directory: Path, *, has_lock: bool = True, **delivery: int) -> int:
    return retention.spill_excess(queue_of(client, QUEUE), Delivery(**delivery), directory, NOW_MS, lambda: has_lock)


def test_the_oldest_excess_dead_letters_move_to_a_file_and_those_that_block_stay(
    client: redis.Redis, tmp_path: Path
) -> None:
    block(client, "held", "waits")
    bury(client, *(f"u{n}" for n in range(11)))

    assert spill_excess(client, tmp_path, dead_letters=10) == 2
    assert spill_excess(client, tmp_path, dead_letters=10) == 0

    assert spilled(tmp_path) == ["u0", "u1"]
    assert [file.stat().st_mode & 0o777 for file in spill_files.files(tmp_path, QUEUE)] == [0o600]
    assert users(client) == ["held", *(f"u{n}" for n in range(2, 11))]
    assert lanes.stats(queue_of(client, QUEUE)).spilled_total == 2


def test_old_dead_letters_move_and_the_age_of_imported_ones_starts_at_the_import(
    client: redis.Redis, tmp_path: Path
) -> None:
    bury(client, "old", buried_at_ms=NOW_MS - 31 * DAY_MS)
    bury(client, "old but back", buried_at_ms=NOW_MS - 40 * DAY_MS, imported_at_ms=NOW_MS - DAY_MS)
    bury(client, "young", buried_at_ms=NOW_MS - 2 * DAY_MS)

    assert spill_excess(client, tmp_path, dead_letter_days=30) == 1

    assert (spilled(tmp_path), users(client)) == (["old"], ["old but back", "young"])


def test_a_worker_that_lost_the_lock_spills_nothing(client: redis.Redis, tmp_path: Path) -> None:
    bury(client, "a", "b")

    assert spill_excess(client, tmp_path, has_lock=False, dead_letters=1) == 0

    assert (users(client), spilled(tmp_path)) == (["a", "b"], [])


def test_the_lock_is_extended_while_a_file_is_written(client: redis.Redis, tmp_path: Path) -> None:
    bury(client, *(f"u{number}" for number in range(250)))
    files: list[list[Path]] = []

    def extend_lock() -> bool:
        files.append([*tmp_path.glob("*.new")])
        return True

    delivery = Delivery(dead_letters=1)
    assert retention.spill_excess(queue_of(client, QUEUE), delivery, tmp_path, NOW_MS, extend_lock) == 250

    assert len([found for found in files if found]) == 3, "once for 100 lines of the draft"


def test_a_lock_that_is_lost_while_a_file_is_written_leaves_the_dead_letters(
    client: redis.Redis, tmp_path: Path
) -> None:
    bury(client, *(f"u{number}" for number in range(250)))
    extensions = iter([True, True, False])

    delivery = Delivery(dead_letters=1)
    assert (
        retention.spill_excess(queue_of(client, QUEUE), delivery, tmp_path, NOW_MS, lambda: next(extensions, False))
        == 0
    )

    assert (len(users(client)), spilled(tmp_path)) == (250, [])


@pytest.mark.parametrize(
    ("crashing", "to_file"),
    [("open_spill", []), ("spill", []), ("close_spill", ["a", "b"]), ("end_spill", ["a", "b"])],
)
def test_a_crash_leaves_every_dead_letter_in_one_place(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashing: str, to_file: list[str]
) -> None:
    """A file keeps what left Redis for it, so a replay meanwhile changes nothing."""
    bury(client, "a", "b")

    def crash(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lanes, crashing, crash)
        with pytest.raises(KeyboardInterrupt):
            spill_excess(client, tmp_path, dead_letters=1)
    in_redis = users(client)
    lanes.discard(queue_of(client, QUEUE), [1])

    assert spill_excess(client, tmp_path, dead_letters=9) == 0

    assert (spilled(tmp_path), in_redis) == (to_file, [name for name in ("a", "b") if name not in to_file])
    assert spill_files.unfinished(tmp_path, QUEUE) == []


def test_a_crash_between_two_pages_leaves_every_dead_letter_in_one_place(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(client, *"abcd")
    spill = lanes.spill

    def crash_at_the_second(queue: lanes.Queue, file: str, sequences: list[int], as_of: int) -> int:
        if sequences == [3, 4]:
            raise KeyboardInterrupt
        return spill(queue, file, sequences, as_of=as_of)

    monkeypatch.setattr(query, "PAGE", 2)
    with monkeypatch.context() as patched:
        patched.setattr(lanes, "spill", crash_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            spill_excess(client, tmp_path, dead_letters=1, dead_letter_days=1)
    retention.finish_spills(queue_of(client, QUEUE), tmp_path)

    assert (spilled(tmp_path), users(client)) == (["a", "b"], ["c", "d"])


def test_a_dead_letter_that_is_edited_while_its_file_is_written_moves_as_edited(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(client, "a", "b", "c")
    write, edits = spill_files.write, iter([{"userId": "edited"}])

    def edited_meanwhile(*arguments: Any) -> Path:
        file = write(*arguments)
        for event in edits:
            (dead_letter,) = query.matching(queue_of(client, QUEUE), Filter(ids=(1,)))
            assert query.edit(queue_of(client, QUEUE), dead_letter, event)
        return file

    monkeypatch.setattr(spill_files, "write", edited_meanwhile)
    assert spill_excess(client, tmp_path, dead_letters=2) == 2

    assert (spilled(tmp_path), users(client)) == (["edited", "b"], ["c"])


def test_a_dead_letter_that_is_replayed_while_its_file_is_written_is_not_in_it(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(client, "a", "b", "c")
    write = spill_files.write

    def replayed_meanwhile(*arguments: Any) -> Path:
        file = write(*arguments)
        lanes.discard(queue_of(client, QUEUE), [1])
        return file

    monkeypatch.setattr(spill_files, "write", replayed_meanwhile)
    assert spill_excess(client, tmp_path, dead_letters=2) == 1

    assert (spilled(tmp_path), users(client)) == (["b"], ["c"])


def finished(directory: Path, queue: str, users: Iterable[str]) -> Path:
    """Write a spill file with a dead letter of each user."""
    record = FailureRecord.from_bytes(failure())
    lines = [
        Line(source="web", event={"userId": user}, failure=record, sequence=sequence).to_bytes()
        for sequence, user in enumerate(users)
    ]
    file = spill_files.finish(spill_files.write(directory, queue, lines), range(len(lines)))
    assert file is not None
    return file


def test_blocking_of_many_ends_page_by_page(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "PAGE", 2)
    for number in range(5):
        block(client, f"bad{number}", f"next{number}", buried_at_ms=NOW_MS - 73 * 3_600_000)

    assert retention.unblock_expired(queue_of(client, QUEUE), Delivery(hold_hours=72), NOW_MS) == 5
    assert lanes.blocking_dead_letters(queue_of(client, QUEUE)) == []


def test_blocking_ends_after_hold_hours(client: redis.Redis) -> None:
    block(client, "bad", "next", buried_at_ms=NOW_MS - 73 * 3_600_000)

    assert retention.unblock_expired(queue_of(client, QUEUE), Delivery(hold_hours=74), NOW_MS) == 0
    assert retention.unblock_expired(queue_of(client, QUEUE), Delivery(hold_hours=72), NOW_MS) == 1
    assert retention.unblock_expired(queue_of(client, QUEUE), Delivery(hold_hours=72), NOW_MS) == 0

    (dead_letter,) = query.matching(queue_of(client, QUEUE), Filter())
    assert (dead_letter.blocks, dead_letter.failure.unblocked_at_ms) == (False, NOW_MS)
    assert lanes.stats(queue_of(client, QUEUE)).ready == 1


def test_a_draft_that_a_crash_left_is_not_a_spill_file(tmp_path: Path) -> None:
    def torn() -> Any:
        yield b'{"a": 1}'
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        spill_files.write(tmp_path, QUEUE, torn())

    assert spill_files.files(tmp_path, QUEUE) == spill_files.unfinished(tmp_path, QUEUE) == []
    assert spill_files.remove(tmp_path, QUEUE, lambda _: False) == 0
    assert list(tmp_path.glob("*.new")) == []


def test_the_files_of_a_destination_are_not_those_of_one_whose_name_begins_alike(tmp_path: Path) -> None:
    file = finished(tmp_path, "shop-2", ["jo"])
    left = spill_files.write(tmp_path, "shop-2", [b"{}"])
    draft = tmp_path / f"{file.name}.new"
    draft.touch()

    assert spill_files.files(tmp_path, "shop") == spill_files.unfinished(tmp_path, "shop") == []
    assert spill_files.remove(tmp_path, "shop", lambda _: True) == 0

    assert draft.exists()
    assert spill_files.files(tmp_path, "shop-2") == [file]
    assert spill_files.unfinished(tmp_path, "shop-2") == [left]


def test_files_that_were_joined_and_a_last_line_without_an_end_are_read_whole(tmp_path: Path) -> None:
    joined = tmp_path / "joined.jsonl.zst"
    frames = [ZstdCompressor().compress(text) for text in (b"a\nb\n", b"", b"c\nd")]
    joined.write_bytes(b"".join(frames))

    assert list(spill_files.read(joined)) == [b"a", b"b", b"c", b"d"]


def test_a_truncated_or_foreign_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = finished(tmp_path, QUEUE, map(str, range(1000)))
    whole = file.read_bytes()
    for bad, text in [(whole[: len(whole) // 2], "torn"), (b"hello", "not a spill file")]:
        file.write_bytes(bad)
        with pytest.raises(spill_files.TornFile, match=text):
            list(spill_files.read(file))


def test_lines_of_a_person_are_removed_from_all_files_of_the_destination(tmp_path: Path) -> None:
    for people in (["jo", "al"], ["jo"], ["al"]):
        finished(tmp_path, QUEUE, people)
    finished(tmp_path, "another", ["jo"])

    assert spill_files.remove(tmp_path, QUEUE, lambda line: line.event["userId"] == "jo") == 2
    assert spill_files.remove(tmp_path, QUEUE, lambda line: line.event["userId"] == "jo") == 0

    assert sorted(spilled(tmp_path)) == ["al", "al"]
    assert len(spill_files.files(tmp_path, QUEUE)) == 2, "a file without lines is deleted"
    assert len(spill_files.files(tmp_path, "another")) == 1
    assert spill_files.remove(tmp_path / "absent", QUEUE, lambda _: True) == 0


def damage(client: redis.Redis, user: str) -> None:
    """Damage the failure of a dead letter."""
    (found,) = [dead for dead in query.matching(queue_of(client, QUEUE), Filter()) if dead.event.get("userId") == user]
    client.hset(f"{base(QUEUE)}:failure", str(found.sequence), b"{")


def test_a_damaged_dead_letter_stays_and_the_others_move(
    client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bury(client, *(f"u{number}" for number in range(12)))
    damage(client, "u0")
    damage(client, "u1")

    assert spill_excess(client, tmp_path, dead_letters=10) == 3
    assert spill_excess(client, tmp_path, dead_letter_days=1) == 0

    assert spilled(tmp_path) == ["u2", "u3", "u4"]
    first, *_ = query.matching(queue_of(client, QUEUE), Filter(reason=Reason.INTERNAL))
    assert (first.sequence, first.event, first.is_damaged) == (1, {}, True)
    assert first.failure.message.startswith("the dead letter is damaged: JSONDecodeError")
    assert [line["sequence"] for line in logged(caplog, "dead_letter_unwritable")] == [1]


def test_when_nothing_can_move_no_file_is_left(client: redis.Redis, tmp_path: Path) -> None:
    bury(client, "u0", "u1")
    damage(client, "u0")
    damage(client, "u1")

    assert spill_excess(client, tmp_path, dead_letters=1) == 0
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == []


def test_a_line_that_cannot_be_written_leaves_no_draft_and_stops_no_other(
    client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(client, *(f"u{number}" for number in range(12)))
    write = Line.to_bytes

    def fail_for_u0(line: Line) -> bytes:
        if line.event["userId"] == "u0":
            raise RecursionError("deep")
        return write(line)

    monkeypatch.setattr(Line, "to_bytes", fail_for_u0)

    assert spill_excess(client, tmp_path, dead_letters=10) == 3
    assert spilled(tmp_path) == ["u1", "u2", "u3"]
    assert list(tmp_path.glob("*.new")) == []


def test_a_failed_write_leaves_no_draft_and_the_next_one_removes_those_of_a_crash(tmp_path: Path) -> None:
    def torn() -> Any:
        yield b'{"a": 1}'
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        spill_files.write(tmp_path, QUEUE, torn())
    assert list(tmp_path.glob("*.new")) == []

    left = tmp_path / "a%2Fb-20261129T000000-00000000.jsonl.zst.leaving.new"
    left.write_bytes(b"")
    finished(tmp_path, QUEUE, ["jo"])
    assert not left.exists()


def test_a_damaged_failure_that_blocks_ends_with_the_others(client: redis.Redis) -> None:
    block(client, "bad", "next", buried_at_ms=NOW_MS - 73 * 3_600_000)
    damage(client, "bad")

    assert retention.unblock_expired(queue_of(client, QUEUE), Delivery(hold_hours=72), 10**14) == 1


def test_an_edit_while_blocking_ends_keeps_its_original(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    block(client, "bad", "next", buried_at_ms=NOW_MS - 73 * 3_600_000)
    queue, unblock = queue_of(client, QUEUE), lanes.unblock
    (first,) = query.matching(queue, Filter())

    def after_an_edit(*arguments: Any, **options: Any) -> None:
        assert query.edit(queue, first, {"userId": "good"})
        unblock(*arguments, **options)

    with monkeypatch.context() as editing:
        editing.setattr(lanes, "unblock", after_an_edit)
        assert retention.unblock_expired(queue, Delivery(hold_hours=72), NOW_MS) == 0

    assert retention.unblock_expired(queue, Delivery(hold_hours=72), NOW_MS) == 1
    (edited,) = query.matching(queue, Filter())
    assert (edited.event, edited.failure.original) == ({"userId": "good"}, first.event)
