"""The Track API v1 and v2: authentication, responses, and the operations of a request."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from simulator.options import Faults, Options
from simulator.response import Response
from tests.secrets import PAIRS
from tests.unit.simulator.conftest import OTHER_AUTHORIZATION, Api
from tests.unit.simulator.saying import ULID, event, identify, person

BEARER = f"Bearer {PAIRS[0][1]}"
ADA = {"id": "ada"}


def json(response: Response) -> Any:
    return orjson.loads(response.body)


def operation(api: Api) -> dict[str, Any]:
    (entry,) = api.service.journal
    accepted: dict[str, Any] = entry["operation"]
    return accepted


@pytest.mark.parametrize("auth", ["", "Basic ZGVtbzp3cm9uZw==", BEARER])
@pytest.mark.parametrize(("method", "url"), [("POST", "/api/v2/batch"), ("GET", "/auth"), ("POST", "/nowhere")])
def test_wrong_credentials_are_refused(api: Api, method: str, url: str, auth: str) -> None:
    response = api.call(method, url, {"batch": [event(ADA)]}, auth=auth)
    assert (response.status, json(response)) == (401, {"meta": {"error": "Unauthorized request"}})
    assert api.service.journal == []


def test_additional_credentials_give_access_to_the_same_workspace(api: Api) -> None:
    assert api.call("POST", "/api/v2/entity", event(ADA), auth=OTHER_AUTHORIZATION).status == 200
    assert len(api.service.workspace.people) == 1


def test_a_valid_request_gets_the_response_of_the_service(api: Api) -> None:
    response = api.call("POST", "/api/v2/batch", {"batch": [identify(ADA), event(ADA)]})
    assert (response.status, response.body) == (200, b"{}\n")
    assert (b"content-length", b"3") in response.all_headers
    assert len(api.service.journal) == 2


def test_credentials_and_region_can_be_checked(api: Api) -> None:
    assert json(api.call("GET", "/auth")) == {"meta": {"message": "nice credentials."}}
    expected = {"url": "https://track.customer.io", "region": "us", "environment_id": 1}
    assert json(api.call("GET", "/api/v1/accounts/region", host="track-eu.customer.io")) == expected


def test_the_other_region_redirects_or_refuses(api: Api) -> None:
    assert api.call("POST", "/api/v2/entity", event(ADA), host="track-eu.customer.io").status == 401
    assert api.call("POST", "/api/v2/entity", event(ADA), host="track.customer.io").status == 200
    response = Api("eu").call("POST", "/api/v2/entity", event(ADA), host="track.customer.io")
    assert response.status == 307
    assert (b"location", b"https://track-eu.customer.io/api/v2/entity") in response.all_headers


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"{}", b'{"batch": {}}', b'{"batch": []}'])
def test_an_invalid_batch_is_refused_as_a_whole(api: Api, body: bytes) -> None:
    response = api.call("POST", "/api/v2/batch", body)
    assert response.status == 400
    assert json(response)["errors"][0].keys() == {"reason", "field", "message"}


def test_an_empty_batch_can_be_accepted(api: Api) -> None:
    api.service.set_options(Options(empty_batch_status=200))
    assert api.call("POST", "/api/v2/batch", {"batch": []}).status == 200


def test_invalid_items_are_reported_by_index_and_the_others_are_accepted(api: Api) -> None:
    response = api.call("POST", "/api/v2/batch", {"batch": [{}, event(ADA), identify({})]})
    assert response.status == 207
    assert [(error["batch_index"], error["field"]) for error in json(response)["errors"]] == [
        (0, "type"),
        (2, "identifiers"),
    ]
    assert operation(api) == event(ADA)


def test_the_errors_of_items_may_come_with_a_200(api: Api) -> None:
    api.service.set_faults(Faults(item_errors_status=200))
    response = api.call("POST", "/api/v2/batch", {"batch": [{}]})
    assert (response.status, json(response)["errors"][0]["batch_index"]) == (200, 0)


def test_an_invalid_entity_is_a_400_with_its_error(api: Api) -> None:
    response = api.call("POST", "/api/v2/entity", identify(ADA, plan="x" * 1001))
    message = "property value cannot be longer than 1000 bytes"
    assert response.status == 400
    assert json(response) == {"errors": [{"reason": "invalid", "field": "attributes.plan", "message": message}]}
    assert api.call("POST", "/api/v2/entity", b"{").status == 400


@pytest.mark.parametrize("status", [413, 400])
def test_requests_that_are_too_large_are_refused(api: Api, status: Any) -> None:
    api.service.set_options(Options(oversize_status=status))
    large = event(ADA, attributes={"text": "x" * 32_800})
    assert api.call("POST", "/api/v2/entity", large).status == status
    assert api.call("POST", "/api/v2/batch", {"batch": [large] * 16}).status == status
    assert api.call("POST", "/api/v2/batch", {"batch": [large, event(ADA)]}).status == 207


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("PUT", "customers/ada", {"plan": "pro", "_timestamp": 5}, identify(ADA, 5, plan="pro")),
        ("PUT", "customers/a%2Fb%40c%20d", {}, identify({"id": "a/b@c d"})),
        ("PUT", "customers/ada%2Bx%40example.com", {}, identify({"email": "ada+x@example.com"})),
        ("PUT", "customers/cio_0001", {}, identify({"cio_id": "0001"})),
        ("DELETE", "customers/ada", {}, person("delete", ADA)),
        ("POST", "customers/ada/suppress", {}, person("suppress", ADA)),
        ("POST", "customers/ada/unsuppress", {}, person("unsuppress", ADA)),
        (
            "POST",
            "customers/ada/events",
            {"name": "Bought", "data": {"sum": 3}, "id": ULID, "timestamp": 5},
            event(ADA, attributes={"sum": 3}, id=ULID, timestamp=5),
        ),
        ("POST", "customers/ada/events", {"name": "/", "type": "page"}, person("page", ADA, name="/", attributes={})),
        ("POST", "events", {"name": "Bought", "anonymous_id": "v"}, event({"anonymous_id": "v"}, attributes={})),
        (
            "PUT",
            "customers/ada/devices",
            {"device": {"id": "t", "platform": "ios"}},
            person("add_device", ADA, device={"token": "t", "platform": "ios"}),
        ),
        ("DELETE", "customers/ada/devices/a%2Fb", {}, person("delete_device", ADA, device={"token": "a/b"})),
        (
            "POST",
            "merge_customers",
            {"primary": ADA, "secondary": {"email": "a@b.c"}},
            {"type": "person", "action": "merge", "primary": ADA, "secondary": {"email": "a@b.c"}},
        ),
        (
            "POST",
            "metrics",
            {"delivery_id": "d", "metric": "bounced", "timestamp": 5},
            {
                "type": "delivery",
                "action": "event",
                "identifiers": {"id": "d"},
                "name": "bounced",
                "attributes": {"timestamp": 5},
            },
        ),
    ],
)
def test_a_request_of_v1_becomes_an_operation_of_v2(
    api: Api, method: str, path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert api.call(method, f"/api/v1/{path}", body).status == 200
    assert operation(api) == expected


@pytest.mark.parametrize(
    ("method", "path", "body", "member"),
    [
        ("PUT", "customers/ada", b"{", "errors"),
        ("PUT", "customers/ada", {"plan": "x" * 1001}, "errors"),
        ("PUT", "customers/", {}, "errors"),
        ("POST", "customers/ada/events", {}, "errors"),
        ("POST", "customers/ada/events", {"name": "x", "data": {"text": "x" * 100_001}}, "errors"),
        ("PUT", "customers/ada/devices", {"device": {"id": "t", "platform": "web"}}, "errors"),
        ("POST", "merge_customers", {"primary": ADA}, "error"),
        ("POST", "merge_customers", {"primary": ADA, "secondary": {"name": "x"}}, "error"),
        ("POST", "metrics", {"delivery_id": "d", "metric": "seen"}, "errors"),
        ("POST", "segments/1/add_customers", {"ids": ["x"] * 1001}, "errors"),
        ("POST", "forms/1/submit", {"data": {}}, "errors"),
    ],
)
def test_an_invalid_request_of_v1_gets_an_error_in_the_form_of_v1(
    api: Api, method: str, path: str, body: Any, member: str
) -> None:
    response = api.call(method, f"/api/v1/{path}", body)
    assert response.status == 400
    assert json(response)["meta"].keys() == {member}
    assert api.service.journal == []


def test_an_event_of_v1_may_be_larger_than_one_of_v2(api: Api) -> None:
    response = api.call("POST", "/api/v1/customers/ada/events", {"name": "x", "data": {"text": "x" * 90_000}})
    assert response.status == 200


def test_requests_without_effect_on_people_get_a_response(api: Api) -> None:
    assert api.call("POST", "/api/v1/forms/1/submit", {"data": {"email": "a@b.c", "plan": "pro"}}).status == 204
    assert api.call("POST", "/api/v1/segments/1/add_customers", {"ids": ["1"]}).status == 200
    assert api.call("POST", "/api/v1/events", {"name": "Invited", "data": {"recipient": "a@b.c"}}).status == 200
    assert api.call("POST", "/unsubscribe/d", {"unsubscribe": True}, auth="").status == 200
    assert api.call("POST", "/api/v1/nothing", {}).status == 404


def test_a_read_returns_the_old_state_until_the_operation_is_applied(api: Api) -> None:
    api.service.clock.set_virtual(True)
    api.service.set_faults(Faults(apply="in_order", lag_ms=(1000, 1000), lag_tail=0))
    api.call("POST", "/api/v2/entity", identify(ADA))
    assert api.call("GET", "/v1/customers/ada/attributes", auth=BEARER).status == 404
    api.service.clock.advance(1.1)
    assert api.call("GET", "/v1/customers/ada/attributes", auth=BEARER).status == 200


def test_people_can_be_read_in_the_form_of_the_app_api(api: Api) -> None:
    api.call("POST", "/api/v2/entity", identify({"id": "a/b"}, email="Ada@example.com", age=7, plan="pro"))
    (cio_id,) = api.service.workspace.people
    found = json(api.call("GET", "/v1/customers?email=ada%40EXAMPLE.com", auth=BEARER))
    assert found == {"results": [{"cio_id": cio_id, "id": "a/b", "email": "ada@example.com"}]}
    for url in (
        "a%2Fb/attributes",
        "ada%40example.com/attributes?id_type=email",
        f"{cio_id}/attributes?id_type=cio_id",
    ):
        customer = json(api.call("GET", f"/v1/customers/{url}", auth=BEARER))["customer"]
        assert customer["identifiers"] == {"cio_id": cio_id, "id": "a/b", "email": "ada@example.com"}
        assert {"age": "7", "plan": "pro"}.items() <= customer["attributes"].items()
    assert api.call("GET", "/v1/customers/unknown/attributes", auth=BEARER).status == 404
    assert json(api.call("GET", "/v1/customers?email=x%40y", auth=BEARER)) == {"results": []}
    assert api.call("GET", "/v1/customers", auth="Bearer wrong").status == 401
