from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.console.cases.configured import TOML


@pytest.fixture(autouse=True)
def cases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Configure the commands, go to a new directory, and return the path of its cases."""
    for name in ("REDIS_URL", "SEGUE_TRACK_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "segue.toml").write_text(TOML)
    monkeypatch.setenv("SEGUE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SEGUE_CONFIG", str(tmp_path / "segue.toml"))
    monkeypatch.chdir(tmp_path)
    return Path("cases")
