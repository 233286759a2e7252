"""The public address: what a browser is told, and paths with and without the prefix of a proxy."""

from __future__ import annotations

import pytest

from ingest.browser.public_url import PublicUrl

NONE = PublicUrl(None)
STATED = PublicUrl("https://events.example.com/segment/")


@pytest.mark.parametrize(
    ("host", "scheme", "forwarded", "address"),
    [
        ("events.example.com", "http", "https", ("https", "events.example.com/v1")),
        ("events.example.com", "http", "", ("https", "events.example.com/v1")),
        ("events.example.com", "http", "http", ("https", "events.example.com/v1")),
        ("localhost:8080", "http", "", ("http", "localhost:8080/v1")),
        ("shop.localhost:8080", "http", "", ("http", "shop.localhost:8080/v1")),
        ("127.0.0.1:8080", "http", "", ("http", "127.0.0.1:8080/v1")),
        ("[::1]:8080", "http", "", ("http", "[::1]:8080/v1")),
        ("ingest:8080", "http", "", ("http", "ingest:8080/v1")),
        ("localhost", "http", "https, http", ("https", "localhost/v1")),
        ("localhost", "https", "", ("https", "localhost/v1")),
        ("[", "http", "", ("https", "[/v1")),
    ],
)
def test_without_a_stated_address_a_name_that_is_not_local_has_https(
    host: str, scheme: str, forwarded: str, address: tuple[str, str]
) -> None:
    assert NONE.api_address(host, scheme, forwarded) == address


def test_the_stated_address_counts_whatever_the_request_says() -> None:
    assert STATED.api_address("ingest:8080", "http", "http") == ("https", "events.example.com/segment/v1")
    assert PublicUrl("http://10.0.0.1:81").api_address("a.example", "https", "https") == ("http", "10.0.0.1:81/v1")


@pytest.mark.parametrize(
    ("url", "path", "parts"),
    [
        (STATED, "/segment/v1/t", ["v1", "t"]),
        (STATED, "//segment//v1//t/", ["v1", "t"]),
        (STATED, "/v1/t", ["v1", "t"]),
        (STATED, "//v1/t", ["v1", "t"]),
        (STATED, "/segment/ready", ["ready"]),
        (STATED, "/segment", ["segment"]),
        (STATED, "/segment/other", ["segment", "other"]),
        (PublicUrl("https://a.example/v1"), "/v1/v1/t", ["v1", "t"]),
        (PublicUrl("https://a.example/v1"), "/v1/t", ["v1", "t"]),
        (NONE, "/segment/v1/t", ["segment", "v1", "t"]),
        (NONE, "//v1/t", ["v1", "t"]),
    ],
)
def test_a_path_is_found_with_and_without_the_prefix(url: PublicUrl, path: str, parts: list[str]) -> None:
    assert url.parts(path) == parts
