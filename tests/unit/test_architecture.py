"""Rules of the packages that import-linter cannot state."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanes import keys

ROOT = Path(__file__).parents[2]
OTHERS = (
    "mapping",
    "logs",
    "metrics",
    "delivery",
    "dead_letters",
    "series",
    "privacy",
    "ledger",
    "ingest",
    "workers",
    "console",
    "simulator",
)
MODULES = [path for package in OTHERS for path in sorted((ROOT / package).rglob("*.py"))]
FOLDERS = sorted({path.parent for path in MODULES} | {ROOT / "lanes"})
# Modules of a folder, without those of its subfolders.
MOST_MODULES = dict.fromkeys(FOLDERS, 20) | {ROOT / "workers": 8}
# What a key's name has behind the base name of its queue, up to the first part that varies.
SUFFIXES = tuple(key.name.partition("{")[0] for key in keys.REGISTRY if key.name.startswith(":"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_lanes_spells_the_redis_keys_of_a_queue(path: Path) -> None:
    """A key has its name in one place, the registry in `lanes.keys`; the others ask it there."""
    found = [f"line {line}: {text!r}" for line, text in texts(path) if is_key(text)]

    assert not found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_lanes_adds_to_the_base_name_of_a_queue(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.names for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "lanes.keys"]
    formatted = [value for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values]

    assert "base" not in {alias.name for aliases in names for alias in aliases}
    assert not [value.value for value in formatted if isinstance(value, ast.FormattedValue) and names_base(value.value)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_package_stays_small(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]

    assert len(modules) <= MOST_MODULES[folder]


def is_key(text: str) -> bool:
    return "segue:{" in text or (text.startswith(SUFFIXES) and len(text) > 1)


def names_base(node: ast.expr) -> bool:
    """Whether the expression is `….base` or `base(…)`."""
    called = node.func if isinstance(node, ast.Call) else node
    return "base" in (getattr(called, "attr", None), getattr(called, "id", None))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the value of every text of a module, but for its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
