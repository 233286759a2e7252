"""The sources of the configuration file: every fault is reported with its key."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.sources import sources
from settings import DEFAULT_DOCUMENT, SettingsError

VALID = {"write_key": "w", "destinations": ["d"]}


def document(**tables: Any) -> dict[str, Any]:
    return {"sources": tables, "destinations": {"d": {}}}


def test_the_default_document_has_one_source() -> None:
    (source,) = sources(DEFAULT_DOCUMENT)

    assert (source.name, source.write_key, source.destinations) == ("demo", "demo", ["demo"])
    assert source.browser_batch_ms == 300


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"destinations": ["d"]}, "sources.web.write_key: is missing"),
        (VALID | {"write_key": ""}, "sources.web.write_key: string should have at least 1 character"),
        (VALID | {"destinations": ["e"]}, 'sources.web.destinations: there is no destination "e"; there are d'),
        (VALID | {"destinations": []}, "sources.web.destinations: list should have at least 1 item"),
        (VALID | {"destination": "d"}, "sources.web.destination: there is no such key; there are write_key, "),
        (VALID | {"unlikely_ids": "ignore"}, "sources.web.unlikely_ids: input should be 'count' or 'refuse'"),
        (VALID | {"collect_ip": "no"}, "sources.web.collect_ip: input should be a valid boolean (it is 'no')"),
        (VALID | {"webhook_secret": 5}, "sources.web.webhook_secret: input should be a valid string"),
        (VALID | {"browser_batch_ms": -1}, "sources.web.browser_batch_ms: input should be greater than or equal to 0"),
        ("text", "sources.web: must be a table"),
    ],
)
def test_a_fault_begins_with_its_key(table: Any, fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sources(document(web=table))

    assert fault in str(refused.value)


def test_two_sources_cannot_share_a_write_key() -> None:
    with pytest.raises(SettingsError, match=r"sources\.web\.write_key: must differ from the write_key of sources\.app"):
        sources(document(web=VALID, app=VALID))
