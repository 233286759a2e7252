"""What is added on the wire: stable event ids, a time on every update, and the current identifiers of people."""

from __future__ import annotations

from typing import Any

from delivery import wire
from delivery.identity_memory import Identities
from delivery.ulid import is_ulid
from delivery.wire import bodies
from mapping import Effect, Operation

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
EVENT = {"messageId": "m1"}
ACCEPTED_AT_MS = 1_717_243_200_123


EFFECTS: dict[str, Effect] = {
    "event": "event",
    "page": "event",
    "screen": "event",
    "identify": "update",
    "add_device": "device",
    "merge": "merge",
    "delete": "delete",
    "delete_relationships": "removal",
}


def effect_of(body: dict[str, Any]) -> Effect:
    return "object" if (body["type"], body["action"]) == ("object", "identify") else EFFECTS[body["action"]]


def operation(action: str, subscription: int = 0, kind: str = "person", **more: Any) -> Operation:
    body = {"type": kind, "action": action, **more}
    return Operation(subscription, "trackEvent", effect_of(body), "/api/v2/entity", body)


def sent(*operations: Operation, event: dict[str, Any] = EVENT) -> list[dict[str, Any]]:
    return bodies(operations, "website", event, ACCEPTED_AT_MS)


def test_an_event_gets_the_same_ulid_each_time_it_is_sent() -> None:
    first, second = sent(operation("event", id="m1", timestamp=1)), sent(operation("event", id="m1", timestamp=1))

    assert first == second
    assert is_ulid(first[0]["id"])


def test_the_id_of_a_page_or_screen_without_a_mapped_id_derives_from_the_message_id() -> None:
    page, screen = sent(operation("page", timestamp=1))[0], sent(operation("screen", timestamp=1))[0]

    assert is_ulid(page["id"])
    assert page["id"] == screen["id"]
    assert sent(operation("page", timestamp=1), event={"messageId": "m2"})[0]["id"] != page["id"]


def test_an_id_that_is_a_ulid_is_kept() -> None:
    assert sent(operation("event", id=ULID))[0]["id"] == ULID


def test_two_operations_of_one_event_never_share_an_id() -> None:
    """Customer.io would ignore the second one."""
    for mapped in ("m1", ULID):
        ids = [body["id"] for body in sent(operation("event", 0, id=mapped), operation("event", 1, id=mapped))]

        assert len(set(ids)) == 2
        assert all(map(is_ulid, ids))


def test_an_update_without_a_usable_time_gets_the_time_of_its_acceptance() -> None:
    assert sent(operation("identify"))[0]["timestamp"] == 1_717_243_200
    assert sent(operation("identify", timestamp="garbage"))[0]["timestamp"] == 1_717_243_200
    assert sent(operation("identify", timestamp=7))[0]["timestamp"] == 7


def test_every_other_operation_is_sent_as_it_was_mapped() -> None:
    untouched = [operation("delete"), operation("merge"), operation("identify", kind="object"), operation("add_device")]

    assert sent(*untouched) == [each.body for each in untouched]


def test_the_mapped_operation_is_not_changed() -> None:
    mapped = operation("event", id="m1")

    sent(mapped)

    assert mapped.body["id"] == "m1"


def addressed(
    body: dict[str, Any], identities: Identities, happened_at_ms: int, time_s: int | None
) -> dict[str, Any] | None:
    return wire.addressed(effect_of(body), body, identities, happened_at_ms, time_s)


def person(action: str, **body: Any) -> dict[str, Any]:
    return {"type": "person", "action": action, **body}


def test_an_operation_of_a_merged_person_names_the_primary() -> None:
    identities = Identities("email_or_id", merged={"id:old": {"cio_id": "c1"}})

    body = addressed(person("event", identifiers={"id": "old"}, name="x"), identities, 0, None)

    assert body == person("event", identifiers={"cio_id": "c1"}, name="x")


def test_a_merge_of_people_who_were_merged_already_is_not_sent() -> None:
    identities = Identities("email_or_id", merged={"id:old": {"id": "new"}})

    assert addressed(person("merge", primary={"id": "new"}, secondary={"id": "old"}), identities, 0, None) is None
    chained = addressed(person("merge", primary={"id": "x"}, secondary={"id": "old"}), identities, 0, None)
    assert chained == person("merge", primary={"id": "x"}, secondary={"id": "new"})


def test_an_event_from_before_a_deletion_is_not_sent_after_it() -> None:
    identities = Identities("email_or_id", deleted_ms={"id:a": 100})

    late, back = (addressed(person("identify", identifiers={"id": "a"}), identities, at_ms, 7) for at_ms in (99, 100))

    assert late is None
    assert back == person("identify", identifiers={"id": "a"}, timestamp=7)
    assert addressed(person("delete", identifiers={"id": "a"}), identities, 100, None) is not None


def test_a_relationship_from_before_the_deletion_of_its_person_is_not_sent() -> None:
    identities = Identities("email_or_id", deleted_ms={"id:gone": 100})
    both = [{"identifiers": {"id": "gone"}}, {"identifiers": {"id": "there"}}]
    joined = {"type": "object", "action": "identify", "attributes": {"name": "Acme"}, "cio_relationships": both}
    parts = {"type": "object", "action": "delete_relationships", "cio_relationships": both[:1]}

    assert addressed(joined, identities, 99, None) == joined | {"cio_relationships": both[1:]}
    assert addressed(joined, identities, 100, None) == joined
    assert addressed(parts, identities, 99, None) is None


def test_a_delivery_report_is_sent_as_it_was_mapped() -> None:
    report = {"delivery_id": "d", "metric": "opened", "timestamp": 5}

    assert (
        wire.addressed("report", report, Identities("email_or_id", merged={"id:old": {"id": "new"}}), 0, None) == report
    )


def test_a_relationship_of_a_merged_person_names_the_primary() -> None:
    identities = Identities("email_or_id", merged={"id:old": {"id": "new"}})
    joined = {"type": "object", "action": "identify", "cio_relationships": [{"identifiers": {"id": "old"}, "x": 1}]}

    body = addressed(joined, identities, 0, None)

    assert body is not None
    assert body["cio_relationships"] == [{"identifiers": {"id": "new"}, "x": 1}]
