"""The manifests fit the schemas of Kubernetes, render with Kustomize, and restrict what a pod may do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import mapping
from console import checking
from settings import VARIABLES, read_document

ROOT = Path("deploy/kubernetes")
VERSIONS = ("1.29", "1.34")
OVERLAYS = sorted(path.name for path in (ROOT / "overlays").iterdir())
FOREIGN = ("Kustomization", "Component", "ScaledObject")  # kinds that Kubernetes has no schema of


def documents(*folders: Path) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def deployments() -> list[dict[str, Any]]:
    return [each for each in documents(ROOT / "base") if each["kind"] == "Deployment"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_its_schema(version: str) -> None:
    checked = [each for each in documents(ROOT) if each["kind"] not in FOREIGN]

    for document in checked:
        kubernetes_validate.validate(document, version, strict=True)
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PersistentVolumeClaim"}
    assert kinds == {each["kind"] for each in checked}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, so the overlays are not rendered")
    command = ["kubectl", "kustomize", str(ROOT / "overlays" / overlay)]

    rendered = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    by_name = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    for role in ("ingest", "worker"):
        pod = by_name["Deployment", f"segue-{role}"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "registry.example.com/segue:0.1.0"
        configuration = next(each["configMap"]["name"] for each in pod["volumes"] if each["name"] == "configuration")
        assert ("ConfigMap", configuration) in by_name
        assert configuration != "segue"
    for each in rendered:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, VERSIONS[-1], strict=True)


def test_with_an_object_store_the_ledger_has_no_volume_and_the_console_reads_it(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, so the component is not rendered")
    shutil.copytree(ROOT, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "overlays" / "production"
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("components: [../../components/object-store]\n")
    command = ["kubectl", "kustomize", str(overlay)]

    rendered = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    by_name = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    assert ("PersistentVolumeClaim", "segue-ledger") not in by_name
    for name in ("segue-ledger", "segue-console"):
        pod = by_name["Deployment", name]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        variables = {each["name"]: each.get("value") for each in container["env"]}
        assert variables["SEGUE_LEDGER_DIR"] == "s3://segue-ledger/production"
        assert "AWS_REGION" in variables
        assert {"secretRef": {"name": "segue-object-store", "optional": True}} in container["envFrom"]
        assert "ledger" not in {each["name"] for each in [*pod["volumes"], *container["volumeMounts"]]}
        kubernetes_validate.validate(by_name["Deployment", name], VERSIONS[-1], strict=True)


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: each["metadata"]["name"])
def test_a_pod_may_do_nothing_that_it_does_not_need(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["readinessProbe"]
    assert next(each for each in pod["volumes"] if each["name"] == "secrets")["secret"]["defaultMode"] == 0o440


def test_every_variable_of_a_container_is_a_setting() -> None:
    names = {
        variable["name"]
        for deployment in deployments()
        for container in deployment["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]
    }
    for file in ROOT.rglob("*.env"):
        names |= {line.partition("=")[0] for line in file.read_text(encoding="utf-8").splitlines()}

    assert names - {*VARIABLES, *(f"{name}_FILE" for name in VARIABLES)} == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_of_an_overlay_has_no_fault(overlay: str, tmp_path: Path) -> None:
    file = tmp_path / "segue.toml"
    text = (ROOT / "overlays" / overlay / "segue.toml").read_text(encoding="utf-8")
    file.write_text(text.replace("/run/secrets/segue/", f"{tmp_path}/"))
    for name in ("write-key", "site-id", "api-key"):
        (tmp_path / name).write_text(f"{name}\n")

    document = read_document(file)

    assert checking.faults(document) == []
    assert checking.warnings(document) == []
    assert mapping.destinations(document)["journeys"].api_key == "api-key"


def test_keda_scales_the_workers_by_the_oldest_age_of_what_could_be_claimed() -> None:
    (scaled,) = [each for each in documents(ROOT / "overlays" / "keda") if each["kind"] == "ScaledObject"]
    names = [each["metadata"]["name"] for each in deployments()]
    (trigger,) = scaled["spec"]["triggers"]

    assert scaled["spec"]["scaleTargetRef"]["name"] in names
    assert "segue_queue_oldest_age_seconds" in trigger["metadata"]["query"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    kustomization = yaml.safe_load((ROOT / "overlays" / "keda" / "kustomization.yaml").read_text(encoding="utf-8"))
    assert "segue-worker" not in [each["name"] for each in kustomization["replicas"]]
