"""The pixel's parameter: base64 as mail programs, browsers and templates write it."""

from __future__ import annotations

import base64
from urllib.parse import quote

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
