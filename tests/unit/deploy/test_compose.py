"""`compose.yaml` is what Compose accepts, and starts what the documentation says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from console.checking import redis_findings
from tests.ha.nodes import Node

COMPOSE: dict[str, Any] = yaml.safe_load(Path("compose.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads(files("check_jsonschema.builtin_schemas").joinpath("vendor/compose-spec.json").read_text("utf-8"))
OURS = ("ingest", "worker", "metrics", "console", "ledger", "beat")


def test_the_file_fits_the_schema_of_compose() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_has_a_health_check_or_says_that_it_needs_none(name: str) -> None:
    check = COMPOSE["services"][name]["healthcheck"]

    assert check.get("disable") or check["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_changes_nothing_but_its_volumes(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_check_of_redis_finds_nothing_wrong_with_this_one(tmp_path: Path) -> None:
    content = COMPOSE["configs"]["redis"]["content"].replace("${REDIS_MAXMEMORY:-2gb}", "2gb")
    lines = dict(line.split(" ", 1) for line in content.splitlines())
    assert lines.pop("requirepass") == "${REDIS_PASSWORD}"
    node = Node(tmp_path, **{name.replace("-", "_"): value for name, value in lines.items()})
    node.start()
    try:
        assert list(redis_findings(node.client)) == []
    finally:
        node.kill()
