"""Signed ids: a userId is taken with the hash of it only, and the hash is not stored."""

from __future__ import annotations

import hmac
from typing import Any

import orjson
import pytest

from ingest.errors import Refusal
from tests.secrets import secret
from tests.unit.ingest.access.test_permissions import DELETE, NOW, TRACK, calls, send, sign

SECRET = secret("identify_secret")


def hash_of(user_id: str) -> str:
    return hmac.new(SECRET.encode(), user_id.encode(), "sha256").hexdigest()


def stored(event: dict[str, Any], trust: str = "public", **batch: Any) -> dict[str, Any]:
    """Return the event as it is stored. Raises Refusal."""
    reader = calls(trust=trust, may=["mergePeople"], identify="signed", identify_secret=SECRET)
    offer = send(reader, "batch", {"batch": [event], **batch})
    for _, refusal in offer.rejected:
        raise refusal
    ((entry,),) = offer.entries
    found: dict[str, Any] = orjson.loads(entry.body)
    return found


@pytest.mark.parametrize("trust", ["public", "server"])
def test_a_user_id_with_its_hash_is_taken_and_the_hash_is_not_stored(trust: str) -> None:
    context = {"userHash": hash_of("1"), "locale": "en"}

    for event, batch in ((TRACK | {"context": context}, {}), (TRACK, {"context": context})):
        assert stored(event, trust, **batch)["context"] == {"locale": "en"}


@pytest.mark.parametrize("user_id", [7, 9007199254740993, "jürgen", "a" * 300])
def test_the_hash_is_that_of_the_text_of_an_id(user_id: str | int) -> None:
    text = str(user_id)

    assert stored(TRACK | {"userId": user_id, "context": {"userHash": hash_of(text).upper()}})["event"] == "Bought"


@pytest.mark.parametrize(
    "context",
    [None, {}, {"userHash": ""}, {"userHash": hash_of("2")}, {"userHash": 5}, {"userHash": "é"}, {"userHash": ["1"]}],
)
@pytest.mark.parametrize("event", [TRACK, TRACK | {"anonymousId": "a"}, DELETE])
def test_a_user_id_without_its_hash_is_refused(event: dict[str, Any], context: Any) -> None:
    with pytest.raises(Refusal) as refused:
        stored(event | {"context": context})

    assert (refused.value.status, refused.value.field) == (403, "context.userHash")
    assert SECRET not in refused.value.message


def test_an_alias_needs_the_hash_of_both_ids() -> None:
    alias = {"type": "alias", "userId": "1", "previousId": "2"}

    both = {"userHash": hash_of("1"), "previousHash": hash_of("2")}
    assert "userHash" not in stored(alias | {"context": both})["context"]
    for context in ({"userHash": hash_of("1")}, both | {"previousHash": hash_of("1")}):
        with pytest.raises(Refusal) as refused:
            stored(alias | {"context": context})
        assert refused.value.field == "context.previousHash"


def test_an_anonymous_event_needs_none_and_its_hash_is_not_stored() -> None:
    event = {"type": "page", "anonymousId": "a", "userId": ""}

    assert stored(event)["anonymousId"] == "a"
    assert stored(event | {"context": {"userHash": "x"}})["context"] == {}


def test_the_rule_holds_for_the_webhook_except_for_signed_deletion_requests() -> None:
    reader = calls(identify="signed", identify_secret=SECRET)

    with pytest.raises(Refusal):
        send(reader, "track", TRACK)
    assert len(reader.read_webhook("web", sign(TRACK), orjson.dumps(TRACK), NOW).rejected) == 1
    assert reader.read_webhook("web", sign(DELETE), orjson.dumps(DELETE), NOW).rejected == []
