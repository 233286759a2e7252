"""The parameters of pixels: base64 as mail programs, browsers and templates write it, and members of an event."""

from __future__ import annotations

import base64
from urllib.parse import quote

import orjson
import pytest

from ingest.browser import pixel
from ingest.errors import Refusal

JSON = '{"event":"Opened ✉ ~~~???","userId":"1"}'.encode()
ENCODED = base64.b64encode(JSON).decode()


@pytest.mark.parametrize(
    "value",
    [ENCODED, quote(ENCODED), ENCODED.rstrip("="), base64.urlsafe_b64encode(JSON).decode(), ENCODED.replace("+", " ")],
)
def test_the_data_may_have_either_alphabet_and_no_padding(value: str) -> None:
    assert {"+", "/"} & set(ENCODED)
    assert pixel.body(b"x=1&data=" + value.encode()) == JSON


@pytest.mark.parametrize("query", [b"", b"x=1", b"data=a"])
def test_other_queries_are_refused(query: bytes) -> None:
    with pytest.raises(Refusal, match="data: "):
        pixel.body(query)


@pytest.mark.parametrize(
    ("query", "event"),
    [
        (
            b"writeKey=w&anonymousId=%22a1%22&name=&properties.url=https%3A%2F%2Fa.example%2F%3Fq%3D1&properties.title=A+b",
            {
                "writeKey": "w",
                "anonymousId": "a1",
                "name": "",
                "properties": {"url": "https://a.example/?q=1", "title": "A b"},
            },
        ),
        (
            b"context.page.url=u&context.library.name=AMP",
            {"context": {"page": {"url": "u"}, "library": {"name": "AMP"}}},
        ),
        (b"userId=1&userId=2&&x", {"userId": "1", "x": ""}),
        (b"a=1&a.b=2&c.d=3&c=4&%f0%9f=5", {"a": "1", "c": {"d": "3"}, "\ufffd": "5"}),
        (b"", {}),
    ],
)
def test_dots_in_the_names_of_parameters_lead_to_members_of_members(query: bytes, event: dict[str, object]) -> None:
    """Of two values of one member the first counts, as in RudderStack."""
    assert orjson.loads(pixel.body_of_members(query)) == {"channel": "web", **event}


def test_a_parameter_with_many_dots_has_a_depth_that_can_be_encoded() -> None:
    found = orjson.loads(pixel.body_of_members(b"properties" + b"." * 30_000 + b"=1"))

    levels = 0
    while isinstance(found, dict):
        found, levels = next(value for name, value in found.items() if name != "channel"), levels + 1
    assert 60 < levels < 100
