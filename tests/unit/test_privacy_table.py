"""The table of docs/privacy.md has every Redis key that contains data of people, as the registry describes it."""

from __future__ import annotations

import re
from pathlib import Path

from lanes import keys

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
PERSONAL = [key for key in keys.REGISTRY if key.personal != "no"]

# Numbers, times, sequences, ids, and names of queues, workers and fields. The secret alone says nothing of people.
IMPERSONAL = {
    *(keys.LAYOUT, keys.CONFIG, keys.SEQ, keys.TOTAL, keys.CLOCK, keys.NEWEST, keys.WAKEUP, keys.SECRET),
    *(keys.LINKS, keys.READY, keys.CLAIMS, keys.CLAIM, keys.EXPIRED_CLAIMS, keys.AGES, keys.AGE),
    keys.MISSING,
    *(keys.FATES, keys.FATE_TOTALS, keys.OPEN, keys.BURIED_AS, keys.ERASED, keys.REFUSALS),
    *(keys.REGROUPING, keys.LEDGER, keys.LEDGER_OWNER),
    *(
        keys.BLOCKING,
        keys.DEAD_INDEX,
        keys.DEAD_CHANGES,
        keys.SPILLED,
        keys.SPILL_LOCK,
        keys.DRAINED,
        keys.DRAIN_LOCK,
        keys.RETENTION_DONE,
    ),
    *(keys.REPLAYS, keys.REPLAY_LOCK, keys.DRY_RUN, keys.DRY_RUN_LOCK),
    *(keys.SUPPRESSED_CHANGES, keys.RECEIPTS, keys.ERASING, keys.ERASING_LOCK),
    *(keys.CONSOLE_SECRET, keys.CONSOLE_AUDIT, keys.TAP_WATCHED),
    *(keys.AOF_REWRITE, keys.AOF_REWRITE_DONE),
    *(keys.ADMISSION, keys.ACQUIRED, keys.UNSENT, keys.UNAPPLIED, keys.SOURCES, keys.WORKERS, keys.CONFIGURATIONS),
    *(keys.SAMPLES, keys.SAMPLED, keys.COUNTS),
    *(keys.CELERY_QUEUE, keys.CELERY_BINDING, keys.CELERY_PERMANENT),
    *(keys.CELERY_UNACKED, keys.CELERY_UNACKED_INDEX, keys.CELERY_UNACKED_MUTEX),
}


def rows() -> list[dict[str, str]]:
    """Return the rows of the table of keys, by the heads of its columns."""
    section = PAGE.partition("## Stored data")[2].partition("\n## ")[0]
    lines = [re.split(r" *\| *", line.strip())[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_every_entry_contains_data_of_people_or_is_known_to_contain_none() -> None:
    assert not IMPERSONAL & set(PERSONAL)
    assert IMPERSONAL | set(PERSONAL) == set(keys.REGISTRY)


def test_the_table_has_each_key_with_data_of_people_once() -> None:
    assert sorted(row["key"] for row in rows()) == sorted(f"`{key.name}`" for key in PERSONAL)


def test_the_table_has_the_kind_and_the_lifetime_that_the_registry_has() -> None:
    described = {row["key"]: (row["kind"], row["lifetime"]) for row in rows()}

    assert described == {f"`{key.name}`": (key.personal, key.lifetime) for key in PERSONAL}


def test_every_row_says_what_the_key_contains_and_what_erases_it() -> None:
    assert all(row["content"] and row["erased by"] for row in rows())
