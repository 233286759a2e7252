"""The units of systemd: they are valid, and expose little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from settings import VARIABLES

UNITS = sorted(Path("deploy/systemd").glob("*.service"))
MOST_EXPOSED = 2.0  # of 10, by systemd-analyze; a unit without restrictions has 9.6

if shutil.which("systemd-analyze") is None:
    pytest.skip("systemd-analyze is not installed, so the units are not checked", allow_module_level=True)


def analyze(*arguments: str | Path) -> str:
    result = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_valid(unit: Path, tmp_path: Path) -> None:
    """The command is replaced by one that every machine has; only faults of our file count."""
    file = tmp_path / unit.name.replace("@", "@1")
    file.write_text(re.sub(r"/opt/segue/bin/segue", "/bin/true", unit.read_text(encoding="utf-8")))
    (tmp_path / "segue.target").write_text(Path("deploy/systemd/segue.target").read_text(encoding="utf-8"))

    assert [
        line for line in analyze("verify", "--man=no", file).splitlines() if unit.name.partition(".")[0] in line
    ] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_exposes_little(unit: Path) -> None:
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit))

    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_variable_of_a_unit_is_a_setting(unit: Path) -> None:
    (line,) = re.findall("^Environment=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)

    assert {part.partition("=")[0].removesuffix("_FILE") for part in line.split()} <= set(VARIABLES)
