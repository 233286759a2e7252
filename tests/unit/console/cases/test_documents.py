"""The example of docs/testing-mappings.md passes, and the commands of the workflow run in a repository."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from console import cli
from tests.packages import ROOT
from tests.unit.console.cases.configured import LEAD, TOML, expecting, run, write

WORKFLOW = yaml.safe_load((ROOT / "docs/recipes/github-actions.yaml").read_text(encoding="utf-8"))
SCHEMA = files("check_jsonschema.builtin_schemas").joinpath("vendor/github-workflows.json")
(JOB,) = WORKFLOW["jobs"].values()
COMMANDS = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}
REPOSITORY = TOML.replace('"s"', '"${CUSTOMERIO_SITE_ID}"').replace('"k"', '"${CUSTOMERIO_API_KEY}"')


def test_the_example_of_a_case_is_valid_and_passes(cases: Path) -> None:
    page = (ROOT / "docs/testing-mappings.md").read_text(encoding="utf-8")
    configuration, example = re.findall(r"^```(?:toml|json)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (cases / "lead.json").unlink()
    (cases / "shop.jsonl").unlink()
    write(cases / "example.json", example)
    Path("segue.toml").write_text(configuration)

    result = run("cases")

    assert (result.exit_code, result.stdout) == (0, "1 case in 1 file: 1 passed, 0 failed\n")


def test_the_workflow_is_one_of_github_actions_and_names_no_host() -> None:
    assert "://" not in json.dumps(WORKFLOW)
    workflow = {("on" if key is True else key): value for key, value in WORKFLOW.items()}  # YAML 1.1 reads on as true
    jsonschema.validate(workflow, json.loads(SCHEMA.read_text("utf-8")))


@pytest.fixture(autouse=True)
def _repository(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a repository with a base branch, and set the variables of the job."""
    write(cases / "lead.json", expecting({"fates": {"journeys": "sent", "archive": "filtered"}}))
    write(cases / "shop.jsonl", json.dumps(expecting({"fates": {"journeys": "sent"}}, LEAD | {"event": "Order"})))
    Path("segue.toml").write_text(REPOSITORY)
    author = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    for name, value in (author | JOB["env"] | {"GITHUB_BASE_REF": "main", "HOME": str(Path.cwd())}).items():
        monkeypatch.setenv(name, value)
    for command in ("init -q", "add segue.toml", "commit -qm x", "update-ref refs/remotes/origin/main HEAD"):
        subprocess.run(["git", *command.split()], check=True)


def step(name: str) -> Result:
    """Run the commands of a step: those of Segue in this process, the others in a shell. Return the last result."""
    result = Result(CliRunner(), b"", b"", b"", None, 0, None)
    for line in COMMANDS[name].splitlines():
        words = shlex.split(line)
        if words[0] == "segue":
            result = CliRunner().invoke(cli.app, words[1:], env={"COLUMNS": "200"})
        else:
            subprocess.run(["bash", "-ec", line], check=True)
    return result


def test_the_commands_of_the_workflow_pass() -> None:
    install, *names = COMMANDS
    results = [step(name) for name in names]

    assert install == "Install Segue"
    assert [(result.exit_code, result.stderr) for result in results] == [(0, "")] * 3
    assert results[1].stdout == "2 cases in 2 files: 2 passed, 0 failed\n"
    assert "journeys: 2 events, 3 requests unchanged" in results[2].stdout
    assert Path("report.xml").exists()


def test_a_change_that_sends_less_fails_in_the_workflow() -> None:
    filters = "[[destinations.journeys.filters]]\nif = \"event = 'Order'\"\naction = 'drop'\n"
    Path("segue.toml").write_text(REPOSITORY + filters)

    cases, difference = (step(name) for name in ("Run the cases", "Compare with the base branch"))

    assert (cases.exit_code, difference.exit_code) == (1, 1)
    assert '  journeys: fates.journeys: expected "sent", is "filtered"' in cases.stdout
    assert "no longer sent: 1 request of Track Event: filter: drop if event = 'Order'" in difference.stdout
