"""The queries of docs/ledger.md run, and its table has the columns of the files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import lanes
from ledger.rows import SCHEMA
from tests.ledgers import HOUR_MS, NOON_MS, files_in, row, table_of

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
TYPES = {
    "string": "string",
    "int64": "int64",
    "list<element: string not null>": "list of string",
    "timestamp[ms, tz=UTC]": "timestamp, UTC",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    files = files_in(tmp_path)
    for hour in range(2):
        sent_ms = NOON_MS + hour * HOUR_MS
        rows = [row(10 * hour + number, sent_ms) for number in range(3)]
        rows.append(row(10 * hour + 4, sent_ms, outcome="rejected", reason="no such person"))
        files.add(files.hour_of(sent_ms), table_of(rows))
    return tmp_path


def run(directory: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        return engine.execute(query.replace("'destination=*", f"'{directory}/destination=*")).fetchall()


def test_the_table_has_every_column_with_its_type() -> None:
    documented = re.findall(r"^\| `(\w+)` \| ([\w ,]+) \|", PAGE, re.MULTILINE)

    assert [(name, kind) for name, kind in documented if name in SCHEMA.names] == [
        (field.name, TYPES[str(field.type)]) for field in SCHEMA
    ]


def test_the_queries_have_the_figures_of_the_rows(directory: Path) -> None:
    files = files_in(directory)
    decision = row(50, NOON_MS, outcome="filtered", reason="a filter")
    decision = replace(decision, path=None, responded_ms=None)
    files.add(files.hour_of(NOON_MS), table_of([decision]))

    by_hour, reasons, latencies = (run(directory, query) for query in QUERIES)

    day = datetime(2026, 11, 29, tzinfo=UTC).date()
    assert [(str(row[0]), int(str(row[1])), *row[2:]) for row in by_hour] == [
        (str(day), 12, "delivered", 3, 3),
        (str(day), 12, "rejected", 1, 1),
        (str(day), 13, "delivered", 3, 3),
        (str(day), 13, "rejected", 1, 1),
    ]
    assert [row[:4] for row in reasons] == [("web", "filtered", "a filter", 1)]
    assert [(str(row[0]), row[1]) for row in latencies] == [(str(day), [1005.0] * 3)]


def test_the_digest_of_the_page_is_that_of_a_row() -> None:
    (code,) = re.findall(r"`(hashlib\.blake2b.*?)`", PAGE)

    assert eval(code, {"hashlib": __import__("hashlib")}) == lanes.digest("id:42").hex()
