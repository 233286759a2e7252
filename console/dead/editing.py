"""`segue dead edit`: change the events of dead letters, one in an editor or many by a patch."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

import lanes
import mapping
from console.dead.patching import patched
from console.errors import CommandError
from console.output import counted
from dead_letters import dry_run, query
from dead_letters.query import Filter
from dead_letters.record import DeadLetter
from ingest import identities
from ingest.errors import Refusal
from mapping.envelope import SAFE_LEVELS, JsonObject, encoded, has_more_levels

_MOST_REASONS = 5


@dataclass(slots=True)
class Edits:
    """The result of a patch of many dead letters. Of a dry run, nothing was changed."""

    is_dry_run: bool
    edited: int = 0
    unchanged: int = 0  # the patch changes nothing in them
    refused: list[tuple[int, str]] = field(default_factory=list)  # sequences, and why they cannot be edited
    fail_again: Counter[str] = field(default_factory=Counter)  # why a replay would bury the edited events

    def json(self) -> dict[str, Any]:
        """Return `{"dry_run", "edited", "unchanged", "refused": [{"sequence", "reason"}], "fail_again"}`; the last one
        by reason."""
        refused = [{"sequence": sequence, "reason": reason} for sequence, reason in self.refused]
        counts = {"dry_run": self.is_dry_run, "edited": self.edited, "unchanged": self.unchanged}
        return counts | {"refused": refused, "fail_again": dict(self.fail_again)}

    def lines(self) -> Iterator[str]:
        """Yield the result for people."""
        would = "would be" if self.is_dry_run else "were" if self.edited != 1 else "was"
        yield f"{counted(self.edited, 'dead letter')} {would} edited"
        if self.unchanged:
            yield f"{self.unchanged:,} unchanged: the patch changes nothing in them"
        for sequence, reason in self.refused[:_MOST_REASONS]:
            yield f"dead letter {sequence} cannot be edited: {reason}"
        if len(self.refused) > _MOST_REASONS:
            yield f"{len(self.refused) - _MOST_REASONS:,} more cannot be edited; --json prints all"
        for reason, count in self.fail_again.most_common(_MOST_REASONS):
            yield f"{count:,} would fail again: {reason}"


def edit_all(edits: Edits, queue: lanes.Queue, destination: mapping.Destination, wanted: Filter, patch: str) -> None:
    """Apply the patch to each dead letter that matches, and add the results to `edits`. Each is edited on its own."""
    for dead_letter in query.matching(queue, wanted):
        try:
            event = patched(dead_letter.event, patch)
            if event == dead_letter.event:
                edits.unchanged += 1
                continue
            _check(dead_letter, event, destination)
            if not edits.is_dry_run:
                _store(queue, dead_letter, event)
        except CommandError as error:
            edits.refused.append((dead_letter.sequence, str(error)))
            continue
        edits.edited += 1
        (result,) = dry_run.run(queue, [replace(dead_letter, event=event)], destination, time.time())
        edits.fail_again.update(result.failures)


def edit_one(queue: lanes.Queue, destination: mapping.Destination, dead_letter: DeadLetter) -> bool:
    """Open the event of a dead letter in the operator's editor; return whether it was changed.

    Raises CommandError, and changes nothing: the result is not a JSON object, or `edit_all` would refuse it.
    """
    event = _edited(dead_letter.event)
    if event == dead_letter.event:
        return False
    _check(dead_letter, event, destination)
    _store(queue, dead_letter, event)
    return True


def _check(dead_letter: DeadLetter, event: JsonObject, destination: mapping.Destination) -> None:
    """Raise CommandError when the dead letter cannot get this event.

    It cannot be stored; it has no identifier any more; it asks for another erasure; or the dead letter blocks later
    events, and the event has new ordering keys.
    """
    try:
        dead_letter.edited(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(str(error)) from None
    fault = _fault_of_ids(event)
    if fault and not _fault_of_ids(dead_letter.event):
        raise CommandError(f"ingest refuses such an event: {fault}")
    if mapping.privacy_request_of(event) != mapping.privacy_request_of(dead_letter.event):
        raise CommandError("an edit cannot make, change or end a privacy request; use `segue forget`")
    keys = mapping.ordering_info(event, destination).keys
    new_keys = [key for key in keys if lanes.digest(key) not in dead_letter.stored.keys]
    if dead_letter.blocks and new_keys:
        raise CommandError(
            "it blocks later events of its person, so its event cannot get the new ordering keys "
            f"{', '.join(new_keys)}; skip it and send another event"
        )


def _fault_of_ids(event: JsonObject) -> str | None:
    try:
        identities.check(dict(event), str(event.get("type")))
    except Refusal as refusal:
        return str(refusal)
    return None


def _store(queue: lanes.Queue, dead_letter: DeadLetter, event: JsonObject) -> None:
    if not query.edit(queue, dead_letter, event):
        raise CommandError("it was replayed, removed or edited meanwhile")


def _edited(event: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / "event.json"
        draft.write_bytes(_draft(event))
        editor = os.environ.get("EDITOR", "vi")
        try:
            exit_code = subprocess.run([*editor.split(), str(draft)], check=False).returncode
        except OSError as error:
            raise CommandError(f"EDITOR={editor}: {error.strerror}; nothing was changed") from None
        if exit_code != 0:
            raise CommandError(f"EDITOR={editor}: exit code {exit_code}; nothing was changed")
        try:
            edited = orjson.loads(draft.read_bytes())
        except orjson.JSONDecodeError as error:
            raise CommandError(f"the edited event is not JSON: {error}; nothing was changed") from None
    if not isinstance(edited, dict):
        raise CommandError("an event must be a JSON object; nothing was changed")
    return edited


def _draft(event: dict[str, Any]) -> bytes:
    return encoded(event) if has_more_levels(event, SAFE_LEVELS) else orjson.dumps(event, option=orjson.OPT_INDENT_2)
