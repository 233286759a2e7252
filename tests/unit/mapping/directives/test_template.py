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
