"""Files with the requests of another destination."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from console.errors import CommandError
from console.moving.requests_file import read


def request(path: str, body: Any = None, method: str | None = None) -> dict[str, Any]:
    """Return a request of the event m1; a member that is None is omitted."""
    members = {"message_id": "m1", "method": method, "path": path, "body": body}
    return {name: value for name, value in members.items() if value is not None}


def read_all(*rows: Any) -> dict[str, list[dict[str, Any]]]:
    """Read JSON lines; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return read("requests.jsonl", io.BytesIO("\n".join(lines).encode()))


EVENT = {"type": "person", "action": "event", "identifiers": {"id": "1"}, "name": "Bought"}
METRIC = {"delivery_id": "d1", "metric": "opened"}
PERSON = {"type": "person", "identifiers": {"id": "a/b"}}


@pytest.mark.parametrize(
    ("given", "operation"),
    [
        (request("/api/v2/entity", EVENT), EVENT),
        (request("/api/v2/entity", json.dumps(EVENT)), EVENT),
        (request("https://track.customer.io/api/v2/batch?x=1", {"batch": [EVENT]}), EVENT),
        (
            request("/api/v1/customers/a%2Fb", {"plan": "pro", "_timestamp": 5}, "put"),
            PERSON | {"action": "identify", "attributes": {"plan": "pro"}},
        ),
        (
            request(
                "/api/v1/customers/a%2Fb", {"cio_relationships": {"action": "add", "relationships": [{"a": 1}]}}, "PUT"
            ),
            PERSON | {"action": "identify", "attributes": {}, "cio_relationships": [{"a": 1}]},
        ),
        (request("/api/v1/customers/a%2Fb", method="DELETE"), PERSON | {"action": "delete"}),
        (request("/api/v1/customers/a%2Fb", "", method="DELETE"), PERSON | {"action": "delete"}),
        (
            request("/api/v1/customers/a%2Fb/devices/t%2F1", method="DELETE"),
            PERSON | {"action": "delete_device", "device": {"token": "t/1"}},
        ),
        (request("/api/v1/customers/a%2Fb/suppress"), PERSON | {"action": "suppress"}),
        (request("/api/v1/customers/a%2Fb/unsuppress", {}), PERSON | {"action": "unsuppress"}),
        (request("/api/v1/metrics", METRIC), METRIC),
        (
            request("/api/v1/merge_customers", {"primary": {"id": "1"}, "secondary": {"email": "a@b.example"}}),
            {"type": "person", "action": "merge", "primary": {"id": "1"}, "secondary": {"email": "a@b.example"}},
        ),
        (
            request("/api/v1/customers/@home/devices", {"device": {"id": "t", "platform": "ios"}}, "PUT"),
            {
                "type": "person",
                "action": "add_device",
                "identifiers": {"id": "@home"},
                "device": {"token": "t", "platform": "ios"},
            },
        ),
    ],
    ids=[
        "entity",
        "text",
        "batch",
        "put",
        "relationships",
        "delete",
        "empty-body",
        "device",
        "suppress",
        "unsuppress",
        "metric",
        "merge",
        "no-address",
    ],
)
def test_a_request_is_read_as_the_operation_that_it_stands_for(given: Any, operation: Any) -> None:
    assert read_all(given) == {"m1": [operation]}


def test_lines_are_read_as_exports_write_them() -> None:
    text = json.dumps(request("/api/v2/entity", EVENT))
    wanted = {"m1": [EVENT]}

    assert read_all("\ufeff" + text + "\r", "", "  ") == wanted
    assert read_all(f"[{text}]") == wanted
    assert read("requests.gz", io.BytesIO(gzip.compress(text.encode()))) == wanted


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be an object like"),
        ({"path": "/api/v2/entity", "body": EVENT}, "message_id: is missing; it must be a text"),
        (request("/api/v2/entity", EVENT) | {"message_id": 5}, "message_id: must be a text"),
        ({"message_id": "m1", "body": EVENT}, "path: is missing; it must be a text"),
        (request("http://[", EVENT), "path: is no address"),
        (request("/api/v2/entity"), "body: is missing; it must be an object"),
        (request("/api/v2/entity", "plan=pro"), "body: must be an object"),
        (request("/api/v2/entity", EVENT) | {"method": 5}, "method: must be a text"),
        (request("/api/v2/batch", {}), "body.batch: must be an array of objects"),
        (request("/api/v1/customers/1/devices", {}, "PUT"), "body.device: is missing; it must be an object"),
        (request("/api/v1/customers/1/devices", {"device": "t"}, "PUT"), "body.device: must be an object"),
        (request("/api/v1/forms/5/submit", {}), "path: POST /api/v1/forms/5/submit is no request of the Track API t"),
    ],
    ids=(
        [
            "json",
            "array",
            "no-id",
            "number",
            "no-path",
            "address",
            "no-body",
            "form",
            "method",
            "batch",
            "no-device",
            "device",
            "other",
        ]
    ),
)
def test_a_line_that_is_no_request_is_named_with_its_member(line: Any, text: str) -> None:
    with pytest.raises(CommandError) as refused:
        read_all("", line) if line != "[1]" else read_all(line)

    assert str(refused.value).startswith(f"requests.jsonl, line {1 if line == '[1]' else 2}: {text}")
