"""`@liquid`: what renders, what is refused and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.errors import FailedDirective, FailedLiquid
from mapping.liquid import DISABLED_FILTERS, DISABLED_TAGS, MAX_LENGTH, compile_liquid

EVENT: dict[str, Any] = {"name": "Jo", "n": 1.0, "list": ["a", None, 2], "object": {"k": 1}, "yes": True}


def rendered(template: Any, event: Any = EVENT) -> Any:
    return compile_liquid(template)(event)


def refusal(template: Any) -> str:
    with pytest.raises((FailedLiquid, FailedDirective)) as refused:
        rendered(template)
    return str(refused.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{ name | upcase }}", "JO"),
        ("{{ missing }}", ""),
        ("{{ n }}", "1"),
        ("{{ n | plus: 1 }}", "2"),
        ("{{ list }}", "a2"),
        ("{{ object }}", "[object Object]"),
        ("{% if name == 'Jo' %}y{% else %}n{% endif %}", "y"),
        ("{% unless name %}nobody{% endunless %}", ""),
        ("{% assign x = name %}{{ x }}", "Jo"),
        ("{% comment %}{{ a{b }}{% endcomment %}x", "x"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ name | no_such_filter }}", "Jo"),
        ("{{ yes | date: '%Y' }}", "1970"),
    ],
)
def test_a_template_renders_as_the_reference_renders_it(template: str, text: str) -> None:
    assert rendered(template) == text


@pytest.mark.parametrize("name", sorted(DISABLED_TAGS))
def test_a_disabled_tag_is_refused_by_its_name(name: str) -> None:
    assert refusal(f"{{% {name} x %}}") == f'tag "{name}" is disabled, line:1, col:1'


@pytest.mark.parametrize("name", sorted(DISABLED_FILTERS))
def test_a_disabled_filter_is_refused_by_its_name(name: str) -> None:
    assert f'filter "{name}" is disabled' in refusal(f"{{{{ name | {name} }}}}")


def test_a_fault_is_given_with_line_and_column() -> None:
    assert refusal("a\n{% nope %}") == 'tag "nope" not found, line:2, col:1'
    assert refusal("{{ name{b }}") == 'expected "|" before filter, line:1, col:9'


def test_a_template_has_at_most_a_thousand_characters() -> None:
    assert rendered("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert refusal("x" * (MAX_LENGTH + 1)) == "liquid template values are limited to 1000 characters"


@pytest.mark.parametrize("template", [None, 5, [], {}])
def test_a_template_is_a_text(template: Any) -> None:
    assert refusal(template) == "liquid template value must be a string"


def test_rendering_changes_nothing() -> None:
    event = {"list": [1]}
    rendered("{% assign list = 2 %}{{ list }}", event)
    assert event == {"list": [1]}
