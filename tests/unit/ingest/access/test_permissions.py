"""Permissions: what a public key, and an element without a signature, may not do, by every path."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

import mapping
from ingest.access.sources import Source
from ingest.calls import Calls, Offer
from ingest.errors import Refusal
from settings import Settings
from tests.unit.ingest.json_entries import json_entries
from tests.unit.ingest.test_calls import Counts

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
AUTHORIZATION = "Basic " + base64.b64encode(b"w:").decode()
TRACK = {"type": "track", "event": "Bought", "userId": "1"}
DELETE = {"type": "delete", "userId": "1"}
ALIAS = {"type": "alias", "userId": "2", "previousId": "1"}
USER_DELETED = TRACK | {"event": "User Deleted"}
TABLE = {"site_id": "s", "api_key": "k"}
NO_MERGE = TABLE | {"presets": {"Merge People": False}}
DESTINATIONS = mapping.destinations({"destinations": {"d": TABLE, "other": NO_MERGE}})


def calls(counters: Counts | None = None, **keys: Any) -> Calls:
    source = Source(**{"name": "web", "write_key": "w", "webhook_secret": "s", "destinations": ["d"]} | keys)
    return Calls(
        [source],
        json_entries,
        counters or Counts(),
        Settings(),
        DESTINATIONS,
    )


def send(reader: Calls, path: str, body: Any) -> Offer:
    return reader.read_call(path, AUTHORIZATION, orjson.dumps(body), NOW)


def sign(value: Any) -> str:
    return hmac.new(b"s", orjson.dumps(value), "sha1").hexdigest()


def statuses(offer: Offer) -> list[tuple[int, int]]:
    return [(index, refusal.status) for index, refusal in offer.rejected]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (DELETE, "type: this source may not send deletion requests"),
        (ALIAS, "the event would run the action mergePeople, which this source may not"),
        (USER_DELETED, "the event would run the action deletePerson, which this source may not"),
    ],
)
def test_a_public_source_may_not_take_away(event: dict[str, Any], text: str) -> None:
    public = calls(trust="public")
    for path in (event["type"], "batch", "import"):
        if path == event["type"]:
            with pytest.raises(Refusal) as refused:
                send(public, path, event)
            assert (refused.value.status, refused.value.code, refused.value.message) == (403, "forbidden", text)
        else:
            offer = send(public, path, {"batch": [TRACK, event, TRACK]})
            assert (statuses(offer), len(offer.entries)) == ([(1, 403)], 2)
            assert offer.rejected[0][1].message == text


@pytest.mark.parametrize("keys", [{}, {"trust": "server"}, {"trust": "public", "may": ["delete", "mergePeople"]}])
def test_others_may(keys: dict[str, Any]) -> None:
    assert send(calls(**keys), "batch", {"batch": [DELETE, ALIAS]}).rejected == []


def test_may_names_single_exceptions() -> None:
    offer = send(calls(trust="public", may=["mergePeople"]), "batch", {"batch": [DELETE, ALIAS, USER_DELETED]})

    assert statuses(offer) == [(0, 403), (2, 403)]


def test_refused_events_are_counted_as_forbidden() -> None:
    counters = Counts()
    public = calls(counters, trust="public")

    send(public, "batch", {"batch": [DELETE, TRACK, {"type": "x"}, ALIAS]})
    with pytest.raises(Refusal):
        send(public, "alias", ALIAS)

    assert counters.counts == {"web:rejected": 4, "web:forbidden": 3}


def test_an_event_is_refused_for_all_destinations_when_one_of_them_would_merge() -> None:
    for destinations, expected in ((["other"], []), (["other", "d"], [(0, 403)])):
        offer = send(calls(trust="public", destinations=destinations), "batch", {"batch": [ALIAS, TRACK]})
        assert statuses(offer) == expected


def test_an_alias_of_one_person_is_dropped_as_before() -> None:
    offer = send(calls(trust="public"), "alias", ALIAS | {"previousId": "2"})

    assert (offer.entries, offer.rejected) == ([], [])


@pytest.mark.parametrize("keys", [{}, {"trust": "server"}, {"trust": "public"}, {"may": ["delete"]}])
def test_an_element_that_the_signature_does_not_cover_may_not_take_away(keys: dict[str, Any]) -> None:
    elements = [TRACK, DELETE, ALIAS, USER_DELETED, TRACK]

    offer = calls(**keys).read_webhook("web", sign(TRACK), orjson.dumps(elements), NOW)

    assert statuses(offer) == [(1, 403), (2, 403), (3, 403)]
    assert offer.rejected[0][1].message == "type: a deletion request must be covered by X-Signature"
    assert len(offer.entries) == 2


def test_may_holds_for_elements_that_the_signature_does_not_cover() -> None:
    offer = calls(may=["mergePeople"]).read_webhook("web", sign(TRACK), orjson.dumps([TRACK, ALIAS]), NOW)

    assert offer.rejected == []


def test_an_element_that_the_signature_covers_has_the_rights_of_its_source() -> None:
    elements = [DELETE, ALIAS]
    raw = orjson.dumps(elements)

    assert calls().read_webhook("web", sign(elements), raw, NOW).rejected == []
    public = calls(trust="public")
    assert statuses(public.read_webhook("web", sign(elements), raw, NOW)) == [(1, 403)]
    assert public.read_webhook("web", sign(DELETE), orjson.dumps([DELETE]), NOW).rejected == []
    assert calls().read_webhook("web", sign(ALIAS), orjson.dumps([ALIAS, TRACK]), NOW).rejected == []
