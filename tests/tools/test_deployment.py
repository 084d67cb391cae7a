"""What is in deploy/ is taken by those who are to read it: systemd, Kubernetes, Docker's linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE, Priority, list_of
from tests.support.processes import ROOT

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
MANIFESTS = [
    each
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for each in yaml.safe_load_all(file.read_text())
    if not each["apiVersion"].startswith(("kustomize", "keda"))
]
WORKERS = ("restore-worker", "restore-transfer")


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit, tmp_path):
    # What it starts is in the environment of these tests.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/restore-worker/bin", str(BIN)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert unit.name not in verified.stderr, verified.stderr
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_kubernetes_takes_the_manifest(manifest):
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_every_queue_has_workers_and_what_scales_them():
    workers = {each["metadata"]["name"]: each for each in MANIFESTS if each["metadata"]["name"] in WORKERS}
    queues = []
    for each in workers.values():
        command = each["spec"]["template"]["spec"]["containers"][0]["command"]
        queues += command[command.index("--queues") + 1].split(",")
    assert sorted(queues) == sorted((QUEUE, TRANSFER_QUEUE, RECONCILE_QUEUE))
    scaled = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "autoscaling.yaml").read_text()))
    assert {each["spec"]["scaleTargetRef"]["name"] for each in scaled} == set(WORKERS)
    lists = [trigger["metadata"]["listName"] for each in scaled for trigger in each["spec"]["triggers"]]
    assert sorted(lists) == sorted(list_of(queue, each) for queue in (QUEUE, TRANSFER_QUEUE) for each in Priority)


def test_the_dockerfile_has_no_fault_that_hadolint_knows():
    checked = subprocess.run(
        [str(BIN / "hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
