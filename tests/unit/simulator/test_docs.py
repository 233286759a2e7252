"""Every option, fault and figure is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.options import Faults, Options
from simulator.service import Service

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text()


@pytest.mark.parametrize("name", [*Options.model_fields, *Faults.model_fields, *Service(seed=1).stats()])
def test_every_option_fault_and_figure_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE
