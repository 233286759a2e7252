"""The packages of Segue, as `pyproject.toml` names them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_SETUPTOOLS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
PACKAGES: Final[tuple[str, ...]] = tuple(pattern.rstrip("*") for pattern in _SETUPTOOLS["packages"]["find"]["include"])
