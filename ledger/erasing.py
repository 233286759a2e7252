"""Remove a person from the files: each file with rows of the person is rewritten without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from delivery.recording.ledger import Erasure
from ledger import index
from ledger.files import DataFile, Files


class Erased(NamedTuple):
    """What is removed of a person from one file."""

    file: str  # its path below the directory of the ledger
    rows: int
    message_ids: set[str]  # of the rows, SOURCE:MESSAGE ID


def erase(files: Files, erasure: Erasure) -> Iterator[Erased]:
    """Remove the rows of a person. Each file is yielded before it is rewritten: a caller that is killed meanwhile gets
    it again."""
    keys = [index.key_of_digest(digest) for digest in erasure.digests]
    for hour in files.hours():
        for file in hour.files():
            candidates = index.search(file.index_path, keys).rows
            if not candidates:
                continue
            table = file.table()
            going = _going(table, candidates, erasure)
            if going:
                yield _erased(files, file, table.take(sorted(going)))
                files.replace(hour, [file], table.take([row for row in range(table.num_rows) if row not in going]))


def _going(table: pa.Table, candidates: list[int], erasure: Erasure) -> set[int]:
    """Return which of the rows are removed, by their numbers."""
    found = table.select(["sequence", "digests"]).take(candidates).to_pylist()
    return {
        number
        for number, row in zip(candidates, found, strict=True)
        if not erasure.digests.isdisjoint(row["digests"])
        and (erasure.before is None or row["sequence"] < erasure.before)
    }


def _erased(files: Files, file: DataFile, removed: pa.Table) -> Erased:
    found = removed.select(["source", "message_id"]).to_pylist()
    ids = {f"{row['source']}:{row['message_id']}" for row in found}
    return Erased(str(file.path.relative_to(files.directory)), len(found), ids)
