"""The wheel: installed in an environment of its own, it runs in the directory of another project."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import clean_environment, foreign_project
from tests.packages import PACKAGES, ROOT

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*arguments: str | Path) -> None:
    subprocess.run(list(map(str, arguments)), check=True, capture_output=True, timeout=180)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the repository, as building leaves files in it."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", copy / "dist", copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    assert packed == {"settings.py"} | {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}


def test_the_demo_of_an_installed_wheel_is_green_in_another_project(wheel: Path, tmp_path: Path) -> None:
    """The environment has the wheel of Segue, and takes its dependencies from the one of the tests."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    run(*PIP, "--python", tmp_path / "venv" / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    foreign = foreign_project(tmp_path / "django")

    shown = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "segue"), "demo", "--events", "500"],
        cwd=foreign,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "every person is as expected" in shown.stdout
    assert not (foreign / "EXECUTED").exists()
