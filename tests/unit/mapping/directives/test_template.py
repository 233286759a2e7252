"""`@template`: placeholders in braces, and text."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.directives.template import compile_template, render

EVENT: dict[str, Any] = {
    "a": "x",
    "inner": "{{a}}",
    "list": [1, None, "z"],
    "object": {"k": 1},
    "zero": 0,
    "none": None,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{a}}", "x"),
        ("<{{ a }}-{{a}}>", "<x-x>"),
        ("{{none}}{{missing}}", ""),
        ("{{list}}", "1,,z"),
        ("{{object}}", "[object Object]"),
        ("{{zero}}", "0"),
        ("{{object.k}}", "1"),
        ("{{a", "{{a"),
        ("{{{a", "{{{a"),
        ("{{{a} {{{a}}}", "{{{a} x"),
        ("{{a {{{a}}}", "{{a x"),
        ("{{{{a}}}}", "}"),
        ("{{$.a}}", ""),
    ],
)
def test_a_template_is_always_text(template: str, text: str) -> None:
    assert compile_template(template)(EVENT) == text
    assert render(template, EVENT) == text


def test_the_text_of_triple_braces_is_rendered_again() -> None:
    assert compile_template("{{{inner}}}!")(EVENT) == "x!"


def test_the_text_of_double_braces_is_not_rendered_again() -> None:
    assert compile_template("{{inner}}!")(EVENT) == "{{a}}!"


@pytest.mark.parametrize("part", ["{", "{{a", "{{{a"])
def test_braces_without_an_end_take_time_in_proportion_to_the_text(part: str) -> None:
    text = part * 300_000  # a time by the square of the length would be an hour

    assert compile_template("{{{v}}}")({"v": text}) == text
    assert render(text, EVENT) == text
