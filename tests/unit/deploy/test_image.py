"""The image: what hadolint finds, what is in it, and under which user it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FILE = Path("deploy/Dockerfile")
TEXT = FILE.read_text(encoding="utf-8")
PACKAGES = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]["find"]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: `make install` installs it")

    result = subprocess.run([hadolint, FILE], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (0, "")


def test_every_package_is_in_the_image_and_in_its_context() -> None:
    names = {name.removesuffix("*") for name in PACKAGES["include"]}
    context = Path(".dockerignore").read_text(encoding="utf-8").splitlines()

    assert {name for name in names if f"COPY {name} {name}\n" not in TEXT} == set()
    assert {
        name for name in (*names, "settings.py", "pyproject.toml", "requirements.lock") if f"!{name}" not in context
    } == set()


def test_the_user_is_a_number() -> None:
    assert re.findall("^USER (.*)$", TEXT, re.MULTILINE) == ["10001:10001"]


def test_the_image_checks_its_own_health_and_says_what_it_is() -> None:
    assert re.search(r'^HEALTHCHECK .* CMD \["segue", "health"\]$', TEXT, re.MULTILINE)
    assert "org.opencontainers.image.version" in TEXT
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"ARG VERSION={version}\n" in TEXT
