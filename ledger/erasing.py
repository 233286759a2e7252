"""Remove a person from the files: each file with rows of the person is rewritten without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from delivery.recording.ledger import Erasure
from ledger import index
from ledger.files import DataFile, Files, Hour


class Rewriting(NamedTuple):
    """A file that has rows of the person."""

    files: Files
    hour: Hour
    file: DataFile
    going: pa.Table  # the rows of the person
    staying: pa.Table

    @property
    def name(self) -> str:
        """The name of the file: its path below the location of the ledger."""
        return self.file.name

    def message_ids(self) -> set[str]:
        """Return SOURCE:MESSAGE ID of the person's rows."""
        found = self.going.select(["source", "message_id"]).to_pylist()
        return {f"{row['source']}:{row['message_id']}" for row in found}

    def apply(self) -> None:
        """Put a file without the person in the place of this one."""
        self.files.replace(self.hour, [self.file], self.staying)


def rewritings(files: Files, erasure: Erasure) -> Iterator[Rewriting]:
    """Yield the files that have rows of a person, the newest first."""
    keys = [index.key_of_digest(digest) for digest in erasure.digests]
    found = ((hour, file) for hour in files.hours() for file in hour.files)
    for hour, file, candidates in files.storage.each(lambda each: (*each, files.indexed(each[1], keys).rows), found):
        if candidates:
            table = files.table(file)
            going = _going(table, candidates, erasure)
            if going:
                is_going = pa.array([row in going for row in range(table.num_rows)])
                yield Rewriting(files, hour, file, table.filter(is_going), table.filter(pc.invert(is_going)))


def _going(table: pa.Table, candidates: list[int], erasure: Erasure) -> set[int]:
    """Return which of the rows are removed, by their numbers."""
    found = table.select(["sequence", "digests"]).take(candidates).to_pylist()
    return {
        number
        for number, row in zip(candidates, found, strict=True)
        if not erasure.digests.isdisjoint(row["digests"])
        and (erasure.before is None or row["sequence"] < erasure.before)
    }
