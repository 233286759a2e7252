"""The recipes: each page is one configuration file in pieces, with events and the requests that they result in."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mapping
from console import cli

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def file_of(page: str) -> str:
    return "\n".join(blocks(page, "toml"))


def examples(page: str) -> list[tuple[Any, Any]]:
    """Return each event of the page with the request behind it."""
    values = [json.loads(block) for block in blocks(page, "json")]
    assert len(values) % 2 == 0
    return list(zip(values[::2], values[1::2], strict=True))


EXAMPLES = [(page, *example) for page in PAGES for example in examples(page)]


def test_there_are_recipes_with_examples() -> None:
    assert len(PAGES) >= 2
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("page", PAGES)
def test_the_file_of_a_page_is_valid(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    file.write_text(file_of(page), encoding="utf-8")
    monkeypatch.setenv("SEGUE_CONFIG", str(file))
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))

    result = CliRunner().invoke(cli.app, ["check"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert "warning" not in result.stdout


@pytest.mark.parametrize(("page", "event", "request_"), EXAMPLES)
def test_an_event_of_a_page_results_in_the_request_behind_it(page: str, event: Any, request_: Any) -> None:
    (destination,) = mapping.destinations(tomllib.loads(file_of(page))).values()

    translation = mapping.translate(event, destination, 0.0)

    assert translation.failures == ()
    assert [operation.body for operation in translation.operations] == [request_]


@pytest.mark.parametrize(("page", "event", "request_"), EXAMPLES)
def test_the_event_tester_shows_that_request(
    page: str, event: Any, request_: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"segue.toml": file_of(page), "event.json": json.dumps(event)}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path))

    # The last source may do most.
    options = [f"--source={name}" for name in list(tomllib.loads(file_of(page)).get("sources", {}))[-1:]]
    shown = CliRunner().invoke(cli.app, ["test", str(tmp_path / "event.json"), *options]).stdout

    assert shown.count("✓") == 1
    assert f'"action": "{request_["action"]}"' in shown
