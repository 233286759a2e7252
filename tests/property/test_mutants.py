"""The list of mutations is that of the scripts as they are: `tests.property.mutations` applies each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import lanes
from tests.property.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_text_of_a_mutant_is_in_its_file_exactly_once(mutant: Mutant) -> None:
    script = Path(lanes.__file__ or "").parent / "lua" / mutant.file

    assert script.read_text(encoding="utf-8").count(mutant.text) == 1
