"""The test of the credentials: what each response of Customer.io means."""

from __future__ import annotations

import httpx
import pytest

import mapping
from console import checking
from settings import Settings

DESTINATION = mapping.destinations({"destinations": {"one": {"site_id": "s", "api_key": "k"}}})["one"]


def answering(status: int, **body: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body))


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("timed out", request=request)


def test_credentials_are_right_when_the_region_is_the_configured_one() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://track.customer.io/api/v1/accounts/region"
        assert request.headers["Authorization"] == "Basic czpr"
        return httpx.Response(200, json={"region": "us"})

    assert checking.credentials(DESTINATION, Settings(), httpx.MockTransport(answer)) is None


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        (answering(401), "refuses site_id and api_key"),
        (answering(200, region="eu"), 'in the region "eu", but the configuration says "us"'),
        (answering(503), "answers HTTP 503"),
        (httpx.MockTransport(lambda _: httpx.Response(200, text="<html>")), "did not answer"),
        (httpx.MockTransport(unreachable), "did not answer: timed out"),
    ],
)
def test_any_other_response_is_a_fault(transport: httpx.MockTransport, words: str) -> None:
    fault = checking.credentials(DESTINATION, Settings(), transport)

    assert fault is not None
    assert words in fault


def test_a_source_without_trust_is_a_warning() -> None:
    destination = {"site_id": "s", "api_key": "k"}
    source = {"write_key": "w", "destinations": ["one"]}
    document = {"sources": {"old": source}, "destinations": {"one": destination}}

    assert [warning.partition(":")[0] for warning in checking.warnings(document)] == ["sources.old.trust"]
    document["sources"]["old"] = source | {"trust": "public"}
    assert checking.warnings(document) == []
    assert "source old (public) → one" in "\n".join(checking.summary(document))
