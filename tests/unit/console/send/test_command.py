"""`segue send`, run in this process against a receiver: what arrives, what is rejected, how it ends and goes on."""

from __future__ import annotations

import base64
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from console.errors import CommandError
from console.send import command, sorting
from console.send.progress import Progress
from console.send.sorting import Event, Position
from tests.secrets import CREDENTIALS_TOML
from tests.unit.console.send.conftest import Send
from tests.unit.console.send.receiver import TAKEN, Events, Receiver, Reply
from tests.unit.console.send.samples import track, write_lines


class Killed(BaseException):
    """The process ends here."""


def unpacked(run: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(run).read()


def rejected(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "rejected.jsonl").read_text().splitlines()]


def test_events_arrive_in_the_order_of_their_times(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    write_lines(tmp_path / "a" / "1.jsonl", track(5), track(2), track(9, messageId="first of two"))
    (tmp_path / "a" / "2.json").write_text(json.dumps([track(9), track(1)]))

    code, output, _ = send(tmp_path / "a")

    assert (code, [event["messageId"] for event in receiver.taken]) == (0, ["m1", "m2", "m5", "first of two", "m9"])
    assert "sent 5 events" in output
    ((path, authorization, _),) = receiver.requests
    assert path == "/v1/import"
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"k:"


def test_bad_records_are_listed_and_the_others_are_sent(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "a.jsonl", track(1), "{", track(2, timestamp="never"), track(3), track(4, userId=None), "[]"
    )
    receiver.answer = lambda _: Reply(
        200, {"success": True, "rejected": [{"index": 1, "field": "event", "message": "event: may not be sent"}]}
    )

    code, _, errors = send(file)

    assert (code, [event["messageId"] for event in receiver.taken]) == (1, ["m1"])
    rows = rejected(tmp_path / "a.jsonl.segue")
    assert [(row["file"], row["number"], row.get("field")) for row in rows] == [
        ("a.jsonl", 2, None),
        ("a.jsonl", 3, "timestamp"),
        ("a.jsonl", 5, "userId"),
        ("a.jsonl", 6, None),
        ("a.jsonl", 4, "event"),
    ]
    assert rows[0]["reason"].startswith("the record is not JSON")
    assert f"5 records rejected: see {tmp_path / 'a.jsonl.segue' / 'rejected.jsonl'}" in errors


def test_a_dry_run_writes_and_sends_nothing_and_says_what_to_expect(
    send: Send, receiver: Receiver, tmp_path: Path
) -> None:
    recent = (datetime.now(UTC) - timedelta(hours=71)).isoformat()
    records = [track(1), track(2, timestamp=recent), {"type": "alias", "userId": "a", "previousId": "b"}, "{"]
    file = write_lines(tmp_path / "a.jsonl", *records)
    os.utime(file, (0, 1_700_000_000))

    code, output, errors = send(file, "--dry-run", rate=2)

    assert (code, receiver.requests, list(tmp_path.glob("*.segue"))) == (1, [], [])
    assert json.loads(output.splitlines()[2])["timestamp"] == "2023-11-14T22:13:20.000Z"
    assert output.splitlines()[3:] == [
        "3 events to send, 1 record rejected",
        "alias 1, track 2",
        f"times from 2023-11-14 22:13:20Z to {recent[:19].replace('T', ' ')}Z",
        "1 event without a time: the time of their file is taken",
        "1 event of the types alias and delete: they merge or delete people as of now",
        "1 event is younger than 72 hours and may trigger campaigns",
        "at 2 events/s this takes 2 s",
        "nothing was sent",
    ]
    assert errors.startswith("a.jsonl:4: the record is not JSON")


def test_a_dry_run_says_which_events_may_trigger_campaigns(send: Send, tmp_path: Path) -> None:
    """A campaign of a segment has no limit of age."""
    identify = {"type": "identify", "userId": "jo", "traits": {}}
    assert "campaign" not in send(write_lines(tmp_path / "none.jsonl"), "--dry-run")[1]
    _, updates, _ = send(write_lines(tmp_path / "updates.jsonl", identify), "--dry-run")
    assert "1 event updates attributes: people may enter segments, which trigger campaigns at any age" in updates
    assert "72 hours" not in updates
    old = track(1, timestamp="2024-01-01T00:00:00Z")
    _, tracks, _ = send(write_lines(tmp_path / "old.jsonl", old), "--dry-run")
    assert "no track, page or screen is younger than 72 hours, so none of them triggers a campaign" in tracks


def test_a_kill_at_any_step_that_makes_something_durable_loses_nothing_and_repeats_no_reject(
    send: Send, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run ends at its nth fsync, and nothing is written after it. The last run is not killed."""
    monkeypatch.setattr(sorting, "RUN_BYTES", 3_000)
    monkeypatch.setattr(sorting, "MOST_RUNS", 2)
    monkeypatch.setattr("console.send.sending.batch_size", lambda _: 5)
    monkeypatch.setattr("console.send.sending._SAVED_EVERY_S", 0.0)
    records = [track(number * 37 % 60) if number % 10 else "{" for number in range(60)]
    file = write_lines(tmp_path / "a.jsonl", *records)
    fsync = os.fsync

    def killed_at(step: int) -> Callable[[int], None]:
        calls = iter(range(step))

        def run(descriptor: int) -> None:
            if next(calls, None) is None:
                raise Killed
            fsync(descriptor)

        return run

    code, kills = None, 0
    while code is None:
        monkeypatch.setattr(os, "fsync", killed_at(1 + kills % 7))
        try:
            code, _, errors = send(file)
        except Killed:
            kills += 1
        if kills > 25:
            monkeypatch.setattr(os, "fsync", fsync)
            code, _, errors = send(file)

    wanted = sorted(number * 37 % 60 for number in range(60) if number % 10)
    arrived = list(dict.fromkeys(event["messageId"] for event in receiver.taken))
    assert (kills, code) == (26, 1), errors
    assert arrived == [f"m{number}" for number in wanted]
    assert [row["number"] for row in rejected(tmp_path / "a.jsonl.segue")] == [1, 11, 21, 31, 41, 51]


def test_a_signal_ends_the_command_with_its_checkpoint_and_the_next_run_goes_on(
    send: Send, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.send.sending.batch_size", lambda _: 2)
    file = write_lines(tmp_path / "a.jsonl", *map(track, range(6)))

    def answer(events: Events) -> Reply:
        if events[0]["messageId"] == "m2":
            os.kill(os.getpid(), signal.SIGTERM)
        return TAKEN

    receiver.answer = answer
    code, _, errors = send(file)

    assert (code, len(receiver.taken)) == (2, 4)
    assert "stopped by a signal: 4 of 6 events were sent; the same command goes on" in errors
    assert send(file)[0] == 0
    assert [event["messageId"] for event in receiver.taken] == [f"m{number}" for number in range(6)]


def test_a_signal_while_the_input_is_read_names_no_number_of_all_events(
    send: Send, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_lines(tmp_path / "a.jsonl", *map(track, range(9)))
    read = Progress.read

    def interrupted(progress: Progress, records: int) -> None:
        if records == 4:
            os.kill(os.getpid(), signal.SIGINT)
        read(progress, records)

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "read", interrupted)
        code, _, errors = send(file)

    assert code == 2
    assert "stopped by a signal: 4 records read, and nothing was sent; the same command goes on" in errors
    assert send(file)[0] == 0
    assert len(receiver.taken) == 9


def test_a_signal_ends_the_merging_of_runs_and_the_next_run_goes_on(
    send: Send, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging gigabytes takes minutes."""
    monkeypatch.setattr(sorting, "RUN_BYTES", 3_000)
    monkeypatch.setattr(sorting, "MOST_RUNS", 2)
    file = write_lines(tmp_path / "a.jsonl", *(track(number * 37 % 60) for number in range(60)))
    merged = sorting.merged

    def interrupted(paths: Sequence[Path], after: Position) -> Iterator[Event]:
        os.kill(os.getpid(), signal.SIGINT)
        yield from merged(paths, after)

    with monkeypatch.context() as patched:
        patched.setattr(sorting, "merged", interrupted)
        code, _, errors = send(file)
    runs = json.loads((tmp_path / "a.jsonl.segue/checkpoint.json").read_bytes())["runs"]

    assert (code, receiver.taken) == (2, [])
    assert "stopped by a signal: 0 of 60 events were sent; the same command goes on" in errors
    assert len(runs) > 2, "nothing was merged"
    assert send(file)[0] == 0
    assert [event["messageId"] for event in receiver.taken] == [f"m{number}" for number in range(60)]


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (lambda run: run[:20], "sorted is damaged: 3 of 3 events are missing; "),
        (lambda _: b"", "sorted is damaged: 3 of 3 events are missing; "),
        (lambda run: zstandard.compress(unpacked(run)[:-1]), "run-1 is damaged; "),
        (lambda run: zstandard.compress(unpacked(run)[:10]), "run-1 is damaged; "),
        (lambda _: b"another file", "run-1 is damaged; "),
    ],
)
def test_a_transfer_of_damaged_sorted_events_is_never_done(
    send: Send, receiver: Receiver, tmp_path: Path, damaged: Callable[[bytes], bytes], text: str
) -> None:
    file = write_lines(tmp_path / "a.jsonl", *map(track, range(3)))
    receiver.answer = lambda _: Reply(401, {})
    assert send(file)[0] == 2
    run = tmp_path / "a.jsonl.segue/sorted/run-1"
    run.write_bytes(damaged(run.read_bytes()))
    receiver.answer = lambda _: TAKEN

    for _ in range(2):
        code, output, errors = send(file)

        assert code == 2, output
        assert f"{text}remove the working directory to begin again" in errors


def test_a_transfer_that_is_done_sends_nothing_again(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1), "{")

    assert send(file)[0] == 1
    code, output, _ = send(file)

    assert (code, len(receiver.taken)) == (1, 1), "the code is that of the first run"
    assert "sent 1 event" not in output
    assert f"this input was sent before; remove {tmp_path / 'a.jsonl.segue'} to send it again" in output


def test_a_checkpoint_of_another_input_or_address_is_refused(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1))
    send(file)
    work = tmp_path / "a.jsonl.segue"

    with Receiver() as other:
        code, _, errors = send(file, "--url", other.url)
        receiver.url, address = other.url, receiver.url
        assert send(file)[2].startswith(f"segue: {work} belongs to a transfer to {address}; name another directory")
        receiver.url = address
    write_lines(file, track(1), track(2))
    code, _, errors = send(file)

    assert code == 2
    assert errors.startswith(f"segue: the input or its columns changed since {work} was made; name another directory")


def test_the_address_may_be_corrected_until_an_event_was_taken(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1))
    right, receiver.url = receiver.url, "http://127.0.0.1:9"
    assert send(file)[0] == 2
    receiver.url = right

    assert send(file)[0] == 0
    assert [event["messageId"] for event in receiver.taken] == ["m1"]


def test_working_directories_below_the_input_are_not_sent(send: Send, tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "a.jsonl", track(1), "{")
    assert send(tmp_path / "in" / "a.jsonl")[0] == 1

    results = [send(tmp_path / "in", "--work", tmp_path / "in" / "work") for _ in range(2)]

    assert [code for code, _, _ in results] == [1, 1]
    assert [row["file"] for row in rejected(tmp_path / "in" / "work")] == ["a.jsonl"]
    assert "this input was sent before" in results[1][1]


@pytest.mark.parametrize("work", ["file", "file/inner"])
def test_a_working_directory_that_cannot_be_made_is_named(send: Send, tmp_path: Path, work: str) -> None:
    file = write_lines(tmp_path / "file", track(1))

    code, _, errors = send(file, "--work", tmp_path / work)

    assert code == 2
    assert errors.startswith(f"segue: the working directory {tmp_path / work} cannot be written: ")
    assert errors.endswith("; name another one with --work\n")


def test_a_full_disk_is_said_with_the_directory_and_the_same_command_goes_on(
    send: Send, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1), track(2))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, _, errors = send(file)

    text = f"segue: the working directory {file}.segue cannot be written: No space left on device; make room, and"
    assert (code, errors) == (2, f"{text} the same command goes on\n")
    assert send(file)[0] == 0
    assert [event["messageId"] for event in receiver.taken] == ["m1", "m2"]


def test_two_transfers_do_not_use_one_directory_at_once(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1))
    results = []

    def answer(_: Events) -> Reply:
        command = [sys.executable, "-m", "console.cli", "send", str(file), "--url", receiver.url, "--write-key", "k"]
        results.append(subprocess.run(command, capture_output=True, text=True, check=False))
        return TAKEN

    receiver.answer = answer

    assert send(file)[0] == 0
    assert results[0].returncode == 2
    assert f"another `segue send` uses {file}.segue; wait for its end" in results[0].stderr


def test_without_an_endpoint_the_error_says_what_to_do(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1))
    receiver.url = "http://127.0.0.1:9"

    code, _, errors = send(file)

    assert code == 2
    assert "no response from http://127.0.0.1:9/v1/import" in errors
    assert "start ingest there, or set --url" in errors


def test_events_without_an_id_get_the_same_one_in_each_transfer(send: Send, receiver: Receiver, tmp_path: Path) -> None:
    plain = {name: value for name, value in track(1).items() if name != "messageId"}
    file = write_lines(tmp_path / "a.jsonl", plain, plain)

    send(file, "--work", tmp_path / "one")
    first = [event["messageId"] for event in receiver.taken]
    send(file, "--work", tmp_path / "two")

    assert len(set(first)) == 2, "equal lines are two events"
    assert [event["messageId"] for event in receiver.taken] == first * 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["people.csv"], "CSV needs --type identify"),
        (["people.jsonl", "--column", "a=b"], "--column needs --type identify"),
        (["people.csv", "--type", "identify", "--column", "id"], "--column id: must be COLUMN=PATH"),
        (["people.csv", "--type", "identify", "--column", "id=name"], "--column id=name: must be COLUMN=PATH"),
        (["people.jsonl", "--source", "a"], "--source, --write-key and --write-key-file exclude one another"),
    ],
)
def test_wrong_options_are_explained(send: Send, tmp_path: Path, arguments: list[str], text: str) -> None:
    (tmp_path / arguments[0]).write_text("id\n1\n")

    code, _, errors = send(tmp_path / arguments[0], *arguments[1:])

    assert code == 2
    assert text in errors


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "localhost:8080", "", "ftp://example.com", "https://"],
    ids=["port", "no-scheme", "empty", "ftp", "no-host"],
)
def test_an_address_without_meaning_is_refused_before_anything_is_written(
    send: Send, receiver: Receiver, tmp_path: Path, url: str
) -> None:
    file = write_lines(tmp_path / "a.jsonl", track(1))
    receiver.url = url

    code, _, errors = send(file)

    assert (code, list(tmp_path.glob("*.segue"))) == (2, [])
    assert errors.startswith(f"segue: --url {url}: ")


def test_history_that_a_destination_does_not_send_has_a_warning(
    send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events of an archive are from before the moment of a change-over, so they would be shadow events."""
    file = write_lines(tmp_path / "a.jsonl", track(1))
    config = tmp_path / "segue.toml"
    tables = f'[sources.a]\nwrite_key = "k"\ndestinations = ["now", "next"]\n[destinations.now]\n{CREDENTIALS_TOML}\n'
    config.write_text(f"{tables}[destinations.next]\n{CREDENTIALS_TOML}\ncutover_at = 2026-12-01T10:00:00Z\n")
    monkeypatch.setenv("SEGUE_CONFIG", str(config))

    code, _, errors = send(file)

    sends = "sends the events whose receivedAt is 2026-12-01 10:00:00Z or later; the others are shadow events"
    assert (code, errors) == (0, f"warning: next: {sends}\n")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfek"], ids=["empty", "blank", "utf-16"])
def test_a_file_without_a_write_key_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key.txt"
    file.write_bytes(content)

    with pytest.raises(CommandError, match=r"--write-key-file .*key\.txt: must have the write key alone, as text"):
        command._key_of(file)


def test_a_write_key_is_read_without_what_editors_add(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_bytes(b"\xef\xbb\xbfsecret\r\n")

    assert command._key_of(tmp_path / "key.txt") == "secret"


def test_a_record_that_is_not_utf_8_is_said_to_be_so(send: Send, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json.dumps(track(1)).encode() + b'\n{"type":"track","event":"\xff"}\n')

    assert send(tmp_path / "a.jsonl")[0] == 1
    assert rejected(tmp_path / "a.jsonl.segue") == [
        {"file": "a.jsonl", "number": 2, "reason": "the record is not UTF-8"}
    ]
