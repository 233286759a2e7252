"""`@liquid`: the output of templates, and the errors of invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.errors import EngineFault, FailedDirective, FailedLiquid
from mapping.liquid.clock import at
from mapping.liquid.compiler import DISABLED_FILTERS, DISABLED_TAGS, MAX_LENGTH, compile_liquid

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
        ("{% unless name %}absent{% endunless %}", ""),
        ("{% assign x = name %}{{ x }}", "Jo"),
        ("{% comment %}{{ a{b }}{% endcomment %}x", "x"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ name | no_such_filter }}", "Jo"),
        ("{{ yes | date: '%Y' }}", "1970"),
        ("{{ 1.2 | ceil }}{{ 1.8 | floor }}{{ n | abs: name }}", "211"),
        ("{{ n | round: 0, 1 }}{{ name | plus | to_integer }}", "1NaN"),
        ("{{ name | slice }}|{{ name | truncatewords: 'x' }}|{{ name | where }}", "||"),
        ("{{ 5 | base64_decode }}{{ object | json: 2 }}", '{\n  "k": 1\n}'),
        ("{% echo n %}", "1"),
        ("{{ '' | truncate: 'x' }}{{ name | truncate: missing }}{{ name | truncatewords: missing }}", "...JoJo"),
        ("{{ missing | date: '%Y' | json }}", ""),
        ("{{ 'Infinity' | ceil }}{{ '-Infinity' | floor }}{{ 'Infinity' | round }}", "Infinity-InfinityInfinity"),
        ("{{ 'Infinity' | modulo: 100 }}", "NaN"),
        ("{{ (1..3) | size }}", "3"),
        ("{{ 'a<b>c</b>d<!-- <e> -->f<script>1 < 2</script>g<style>h</style>i' | strip_html }}", "acdfgi"),
        ("{{ 'a < b <script> c > d <!-- e' | strip_html }}", "a  c > d <!-- e"),
    ],
)
def test_a_template_renders_as_in_the_reference(template: str, text: str) -> None:
    assert rendered(template) == text


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("n < 'x'", False),
        ("n < '5'", True),
        ("n > nothing", False),
        ("n >= none", True),
        ("n > nil", False),
        ("name >= 'Jn' and 2 <= n or yes", True),
        ("list > 'a'", True),
        ("yes >= 1", True),
        ("n contains 1", False),
        ("list contains 2", True),
        ("name contains 'o'", True),
    ],
)
def test_values_of_different_types_are_compared_as_in_javascript(condition: str, holds: bool) -> None:
    event = EVENT | {"none": None}

    assert rendered(f"{{% if {condition} %}}y{{% else %}}n{{% endif %}}", event) == ("y" if holds else "n")
    assert rendered(f"{{% unless {condition} %}}y{{% else %}}n{{% endunless %}}", event) == ("n" if holds else "y")


@pytest.mark.parametrize("name", sorted(DISABLED_TAGS))
def test_a_disabled_tag_is_refused_by_name(name: str) -> None:
    assert refusal(f"{{% {name} x %}}") == f'tag "{name}" is disabled, line:1, col:1'


@pytest.mark.parametrize("name", sorted(DISABLED_FILTERS))
def test_a_disabled_filter_is_refused_by_name(name: str) -> None:
    assert f'filter "{name}" is disabled' in refusal(f"{{{{ name | {name} }}}}")


def test_a_fault_has_a_line_and_a_column() -> None:
    assert refusal("a\n{% nope %}") == 'tag "nope" not found, line:2, col:1'
    assert refusal("{{ name{b }}") == 'expected "|" before filter, line:1, col:9'


def test_a_template_has_at_most_a_thousand_characters() -> None:
    assert rendered("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert refusal("x" * (MAX_LENGTH + 1)) == "liquid template values are limited to 1000 characters"


@pytest.mark.parametrize("template", [None, 5, [], {}])
def test_a_template_must_be_a_text(template: Any) -> None:
    assert refusal(template) == "liquid template value must be a string"


def test_line_ends_stay_as_they_are() -> None:
    text = "line 1\r\nline 2\rline 3\n"
    assert rendered("{{ v }}", {"v": text}) == text
    assert rendered("{% if v %}{{ v }}{% endif %}", {"v": text}) == text


@pytest.mark.parametrize("part", ["<", "<!--", "<script", "<style"])
def test_openings_without_an_end_take_time_in_proportion_to_the_text(part: str) -> None:
    text = part * 300_000  # a time by the square of the length would be an hour

    assert rendered("{{ v | strip_html }}", {"v": text}) == text


def test_the_date_of_a_text_with_many_digits_is_the_text() -> None:
    assert rendered("{{ v | date: '%Y' }}", {"v": "9" * 5000}) == "9" * 5000


@pytest.mark.parametrize("limit", ["100000000", "v"])
def test_a_range_beyond_the_limit_of_the_reference_is_not_made(limit: str) -> None:
    with pytest.raises(EngineFault, match="memory alloc limit exceeded"):
        rendered(f"{{{{ (1..{limit}) | size }}}}", {"v": 10**12})


def test_rendering_does_not_change_the_event() -> None:
    event = {"list": [1]}
    rendered("{% assign list = 2 %}{{ list }}", event)
    assert event == {"list": [1]}


def test_a_member_may_have_any_name() -> None:
    assert rendered("{{ self }}", {"self": 1}) == "1"


@pytest.mark.parametrize(
    "template",
    [
        "{{ b | replace: 'a', b }}",
        "{{ b | replace: '', b }}",
        "{{ b | split: '' | join: b }}",
        "{{ 'now' | date: '%999999999999Y' }}",
        "{{ 'now' | date: '%99999999N' }}",
    ],
)
def test_a_text_beyond_the_limit_of_the_reference_is_not_made(template: str) -> None:
    with at(0), pytest.raises(FailedLiquid, match="memory alloc limit exceeded"):
        rendered(template, {"b": "a" * 32_000})


def test_an_output_that_takes_too_much_memory_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise MemoryError

    template = compile_liquid("{{ userId }}")
    monkeypatch.setattr("mapping.liquid.compiler.written", fail)

    with pytest.raises(EngineFault, match="memory alloc limit exceeded"):
        template(EVENT)
