"""Records of files: lines and arrays, compressed or not, whole or damaged."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path

import pytest
import zstandard

from console.send import json_arrays, readers
from console.send.readers import MAX_RECORD_BYTES, Fault, Record


def read(content: bytes) -> list[Record | Fault]:
    with readers.opened(io.BytesIO(content)) as reader:
        return list(readers.guarded(readers.records(reader)))


@pytest.mark.parametrize("packed", [False, True])
def test_lines_have_their_numbers_and_empty_lines_are_no_records(packed: bool) -> None:
    content = b'\xef\xbb\xbf{"a":1}\r\n\n  {"b":2}\n'

    found = read(gzip.compress(content) if packed else content)

    assert found == [Record(1, b'{"a":1}'), Record(3, b'{"b":2}')]


def test_a_file_of_several_compressed_parts_is_read_to_its_end() -> None:
    assert read(gzip.compress(b"1\n") + gzip.compress(b"2\n")) == [Record(1, b"1"), Record(2, b"2")]


def test_what_is_behind_a_damaged_part_of_a_compressed_file_is_one_fault() -> None:
    lines = b"".join(b"%d\n" % random.Random(n).getrandbits(64) for n in range(50_000))

    found = read(gzip.compress(lines)[:200_000])

    assert len(found) > 100
    assert [type(each) for each in found[-2:]] == [Record, Fault]
    assert found[-1].number == len(found)


@pytest.mark.parametrize("damage", [b"garbage", gzip.compress(b"x" * 99)[:-9]], ids=["other text", "cut off"])
@pytest.mark.parametrize("content", [b'{"a":1}\n{"b":2}\n', b'[{"a":1},{"b":2},'], ids=["lines", "array"])
def test_each_record_in_front_of_the_damage_is_read(content: bytes, damage: bytes) -> None:
    found = read(gzip.compress(content) + damage)

    assert found[:2] == [Record(1, b'{"a":1}'), Record(2, b'{"b":2}')]
    assert [(type(each), each.number) for each in found[2:]] == [(Fault, 3)]


def test_a_line_that_is_too_long_is_a_fault_and_the_next_line_is_read() -> None:
    found = read(b"x" * (3 * MAX_RECORD_BYTES) + b"\n7\n")

    assert found == [Fault(1, "the line has more than 1,048,576 bytes"), Record(2, b"7")]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 10_000])
def test_elements_of_an_array_are_those_that_a_parser_finds(chunk: int) -> None:
    values = [{"a": ']},\\"[', "b": [1, [2, {}]]}, "x,y", 3, None, {"é": "\\"}, [], {}]
    content = json.dumps(values, indent=2).encode()

    found = list(json_arrays.elements(io.BytesIO(content), chunk, 1000))

    assert [json.loads(each or b"") for each in found] == values


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize("long", [b'{"a":"' + b'x\\"' * 500 + b'"}', b"[" + b"1," * 500 + b"1]"], ids=["text", "list"])
def test_an_element_that_is_too_long_is_left_out_and_the_next_one_is_read(chunk: int, long: bytes) -> None:
    content = b'[{"a":1},' + long + b',{"b":2}]'

    assert list(json_arrays.elements(io.BytesIO(content), chunk, 100)) == [b'{"a":1}', None, b'{"b":2}']


def test_an_element_that_is_no_json_is_found_and_the_next_one_is_read() -> None:
    found = read(b'[{"a":nope},{"b":1},,{"c":2}]')

    assert found == [Record(1, b'{"a":nope}'), Record(2, b'{"b":1}'), Record(3, b""), Record(4, b'{"c":2}')]


@pytest.mark.parametrize("content", [b"[]", b" [ ] \n", b"\n\n[\n]\n", b"", b"\n"])
def test_nothing_is_read_of_an_empty_file_or_array(content: bytes) -> None:
    assert read(content) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'[{"a":1},{"b":', "the array does not end"),
        (b'[{"a":1}] {"b":2}', "there is more text behind the end of the array"),
    ],
)
def test_an_array_that_is_broken_is_a_fault_behind_its_elements(content: bytes, reason: str) -> None:
    assert read(content) == [Record(1, b'{"a":1}'), Fault(2, reason)]


def test_a_large_array_is_never_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[" + ",\n".join(json.dumps({"n": n, "text": "x" * 1000}) for n in range(20_000)) + "]")

    tracemalloc.start()
    try:
        with readers.opened(path.open("rb")) as reader:
            count = sum(1 for _ in readers.records(reader))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 20_000
    assert most < 1_500_000


@pytest.mark.parametrize("chunk", [1, 2, 7, 10_000])
def test_arrays_behind_one_another_are_read_to_the_end(chunk: int) -> None:
    content = b'[{"a":1},2]\n' + b" " * 20_000 + b'[]\n["]["]\n\n'

    assert list(json_arrays.elements(io.BytesIO(content), chunk, 1000)) == [b'{"a":1}', b"2", b'"]["']


def test_what_is_behind_an_array_and_white_space_is_a_fault() -> None:
    found = read(b"[1]" + b"\n" * 200_000 + b'{"a":1}\n')

    assert found == [Record(1, b"1"), Fault(2, "there is more text behind the end of the array")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_one_fault(encoding: str) -> None:
    content = '{"type":"track"}\n{"type":"track"}\n'.encode(encoding)
    mark = b"" if encoding == "utf-16" else b"\xfe\xff"

    assert read(mark + content) == [Fault(1, "the file is UTF-16, and must be text in UTF-8")]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\0\n\n", "a ZIP archive, as xlsx files are"),
        (zstandard.compress(b'{"a":1}\n'), "compressed with Zstandard"),
        (b"PAR1\x15\x04\n\n", "Parquet"),
    ],
)
def test_a_file_that_is_no_text_is_one_fault(content: bytes, kind: str) -> None:
    fault = Fault(1, f"the file is {kind}, and must be text in UTF-8")

    assert read(content) == [fault]
    assert read(gzip.compress(content)) == [fault]
