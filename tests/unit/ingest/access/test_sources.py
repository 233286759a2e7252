"""The sources of the configuration file: every fault is reported with its key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ingest.access.sources import PERMISSIONS, Source, sources, warnings
from settings import DEFAULT_DOCUMENT, SettingsError
from tests.secrets import secret

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
        (VALID | {"destination": "d"}, 'destination: there is no such key; did you mean "destinations"?'),
        (VALID | {"x": "d"}, "sources.web.x: there is no such key; there are write_key, "),
        (VALID | {"unlikely_ids": "ignore"}, "sources.web.unlikely_ids: input should be 'count' or 'refuse'"),
        (VALID | {"collect_ip": "no"}, "sources.web.collect_ip: input should be a valid boolean (it is 'no')"),
        (VALID | {"trust": "browser"}, "sources.web.trust: input should be 'public' or 'server' (it is 'browser')"),
        (
            VALID | {"may": ["trackEvent"]},
            "sources.web.may[0]: must be one of delete, deleteRelationship, ",
        ),
        (VALID | {"identify": "signed"}, "sources.web.identify_secret: is missing; identify"),
        (VALID | {"queue_share": 1.5}, "sources.web.queue_share: input should be less than or equal to 1 (it is 1.5)"),
        (VALID | {"events_per_s": 0}, "sources.web.events_per_s: input should be greater than 0 (it is 0)"),
        (VALID | {"webhook_arrays": "all"}, "sources.web.webhook_arrays: input should be 'first', 'whole' or 'refuse'"),
        (VALID | {"webhook_secret": 5}, "sources.web.webhook_secret: input should be a valid string"),
        (VALID | {"browser_batch_ms": -1}, "sources.web.browser_batch_ms: input should be greater than or equal to 0"),
        ("text", "sources.web: must be a table"),
    ],
)
def test_a_fault_begins_with_its_key(table: Any, fault: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sources(document(web=table))

    assert fault in str(refused.value)


@pytest.mark.parametrize("key", ["write_key", "webhook_secret", "identify_secret"])
def test_a_fault_of_a_secret_does_not_show_it(key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sources(document(web=VALID | {key: [secret("hook")]}))

    assert str(refused.value) == f"sources.web.{key}: input should be a valid string"
    (source,) = sources(document(web=VALID | {key: secret("hook")}))
    assert secret("hook") not in repr(source)


def test_only_a_source_without_trust_has_a_warning() -> None:
    tables = {
        "old": VALID,
        "web": VALID | {"write_key": "x", "trust": "public"},
        "app": VALID | {"write_key": "y", "trust": "server"},
    }

    (warning,) = warnings(document(**tables))

    assert warning.startswith("sources.old.trust: is missing, so the source may delete and merge people; set ")


def test_the_documentation_describes_every_key_and_its_examples_have_trust() -> None:
    text = Path("docs/configuration.md").read_text(encoding="utf-8")
    examples = [tomllib.loads(example) for example in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]

    assert [key for key in Source.model_fields if key != "name" and f"`{key}`" not in text] == []
    assert any(example.get("sources") for example in examples)
    assert [warning for example in examples for warning in warnings(example)] == []
    assert all(f'`"{name}"`' in text for name in PERMISSIONS)


def test_a_public_source_has_half_of_a_queue_unless_it_says_otherwise() -> None:
    public = VALID | {"trust": "public"}

    shares = [
        sources(document(web=table))[0].most_of_queue
        for table in (VALID, public, public | {"queue_share": 1}, VALID | {"queue_share": 0.2})
    ]

    assert shares == [None, 0.5, 1, 0.2]


def test_two_sources_cannot_share_a_write_key() -> None:
    with pytest.raises(SettingsError, match=r"sources\.web\.write_key: must differ from the write_key of sources\.app"):
        sources(document(web=VALID, app=VALID))
