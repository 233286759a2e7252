"""What is left of the text of an error: nothing that it quotes."""

from __future__ import annotations

import random

import pytest

from dead_letters import query
from dead_letters.quotations import without_values, without_values_but_fields
from dead_letters.record import Reason


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("email: 'Ada King' is no address", "email: … is no address"),
        ("userId: must be a text, not '[\"Ada King, Countess of Love", "userId: must be a text, not …"),
        ("the person's surname 'Ada King' can't be set", "the person's surname … can't be set"),
        ("the surname 'Ada d'Arc' cannot be set", "the surname … cannot be set"),
        ('{"message":"the surname \\"Ada King\\" is wrong"}', "{…:…}"),
        ('{"errors":["x"],"echo":"Ada \\', "{…:[…],…:…"),
        ("“Ada King” is wrong", "… is wrong"),
        ("`Ada King` is wrong", "… is wrong"),
        ("not bytes: b'Ada King'", "not bytes: …"),
        ("42 people, ada@example.com and a1", "# people, # and #"),
        ("the people of the Kings", "the people of the Kings"),
    ],
)
def test_nothing_quoted_is_left_of_a_text(text: str, left: str) -> None:
    assert without_values(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("missing the required field 'url'.", "missing the required field 'url'."),
        ("the field 'url' must not be 'Ada King'", "the field 'url' must not be …"),
        ('the field "url" must not be "Ada King"', 'the field "url" must not be …'),
        ("the field 'Ada Ki", "the field …"),
    ],
)
def test_the_name_of_a_field_is_left_in_the_kind_of_an_error(text: str, left: str) -> None:
    assert query.kind(Reason.INVALID, None, None, text).message == left


@pytest.mark.parametrize("characters", ["'\\", '"\\', " 'a\\", "'\" field", "“`", "a", "field '\"", "'b \\\"“`5@"])
def test_a_text_of_quotes_and_backslashes_takes_time_in_proportion_to_its_length(characters: str) -> None:
    length = 500_000  # a time by the square of the length would be an hour
    texts = ((characters * length)[:length], "".join(random.Random(1).choices(characters, k=length)))

    for text in texts:
        assert without_values(f"{text}\n42")[-1] in "#…"
        assert without_values_but_fields(f"{text}\n42")[-1] in "#…"
