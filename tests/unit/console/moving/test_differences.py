"""Where two destinations did other things for the same events."""

from __future__ import annotations

from typing import Any

from console.moving.differences import compared, without_repetitions


def page(number: int, **members: Any) -> dict[str, Any]:
    """Return the operation of a page of its own address."""
    name = f"https://shop.example/{number}"
    return {"type": "person", "action": "page", "identifiers": {"id": "1"}, "name": name, "id": "x"} | members


def groups(ours: Any, theirs: Any) -> list[tuple[Any, ...]]:
    found = compared(ours, theirs).json()["differences"]
    return [(row["kind"], row["what"], tuple(row["fields"]), row["count"]) for row in found]


def test_one_difference_of_all_pages_is_one_group_and_a_page_with_another_name_is_changed() -> None:
    ours = {f"m{n}": [page(n, attributes={"url": "u"})] for n in range(5)}
    theirs = {f"m{n}": [page(n, attributes={})] for n in range(5)}

    assert groups(ours, theirs) == [("changed", "person page", ("attributes.url",), 5)]
    assert groups({"m": [page(1)]}, {"m": [page(1, name="Prices")]}) == [("changed", "person page", ("name",), 1)]


def test_the_examples_are_those_of_the_first_events() -> None:
    ours = {f"m{n}": [page(n)] for n in range(9)}

    (group,) = compared(ours, {}).json()["differences"]

    assert [example["message_id"] for example in group["examples"]] == ["m0", "m1", "m2"]


def test_a_repeated_request_counts_as_often_as_we_make_the_operation() -> None:
    event = {"type": "person", "action": "event", "identifiers": {"id": "1"}, "name": "Bought"}
    twice = {"m1": [event | {"id": "a"}, event | {"id": "b"}]}

    once, repeated = without_repetitions(twice, {"m1": [event]})
    assert (compared({"m1": [event]}, once).json()["differences"], repeated) == ([], 1)

    kept, repeated = without_repetitions(twice, twice)
    assert (compared(twice, kept).json()["differences"], repeated) == ([], 0)

    assert groups({"m1": [event, event]}, {"m1": [event]}) == [("only_ours", "person event Bought", (), 1)]
