"""An application that was protected on one cloud is restored on another, on which nothing is called the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection

from restore_worker.states import RestoreState
from tests.cloud import application, compare, protect, record, removal
from tests.cloud.openstack_cloud.holdings import holds
from tests.cloud.readme import hold, shown
from tests.cloud.restoring import Restoring
from tests.support.processes import restore_worker

NAME = "moved"
SECONDS = 900
SERVER, VOLUME, NETWORK = "OS::Nova::Server", "OS::Cinder::Volume", "OS::Neutron::Network"
# What the map changes: these fields differ, and the map tells how.
MAPPED = {
    (SERVER, "flavor"),
    (SERVER, "key_name"),
    (SERVER, "availability_zone"),
    (SERVER, "floating_ip_ports"),
    (VOLUME, "volume_type"),
    (VOLUME, "availability_zone"),
    (NETWORK, "router_metadata.external_gateway_info"),
}


class Shell:
    """Runs the commands of README in a folder, and keeps all that is to be read on the screen."""

    def __init__(self, folder: Path) -> None:
        self.printed = ""
        self._folder = folder

    def __call__(self, *command: str, code: int = 0, program: bool = False) -> str:
        """Return what a command of restore-worker printed on stdout; program: not for the screen."""
        done = subprocess.run(
            restore_worker(*command),
            cwd=self._folder,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if program else subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        if not program:
            self.printed += f"$ restore-worker {' '.join(command)}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def shell(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("RESTORE_BANK", str(tmp_path / "bank"))
    return Shell(tmp_path)


@pytest.fixture
def here(connect: Any) -> Connection:
    return connect("demo")


@pytest.fixture
def there(second_cloud: Any, connect: Any) -> Connection:
    return connect("operator-two")


@pytest.fixture
def protected(here: Connection, there: Connection, cloud: Any, tmp_path: Path) -> Iterator[Any]:
    """Give the application, its record and its checkpoint; nothing of it is left on either cloud at the end."""
    files = cloud.site.data / "cinder" / "volumes"
    try:
        made = application.build(here, NAME, files)
        scope = record.Scope(made.servers, made.volumes, made.networks)
        before = record.record(here, files, scope)
        wanted = protect.Plan(NAME, made.servers, (made.loose,), made.networks)
        saved = protect.protect(here, wanted, tmp_path / "bank", with_bytes=(made.data[0],))
        yield scope, before, saved
    finally:
        removal.remove(there, NAME)
        removal.remove(here, NAME)


@contextmanager
def small_quotas(connect: Any, there: Connection) -> Iterator[None]:
    """Let the project there have less than the application needs."""
    admin, project = connect("admin-two"), there.current_project_id
    sets = (
        (admin.compute, f"/os-quota-sets/{project}", {"quota_set": {"instances": 1, "cores": 1, "ram": 256}}),
        (admin.block_storage, f"/os-quota-sets/{project}", {"quota_set": {"volumes": 3, "gigabytes": 3}}),
        (admin.network, f"/quotas/{project}", {"quota": {"network": 1, "floatingip": 0}}),
    )
    try:
        for service, path, quotas in sets:
            answer = service.put(path, json=quotas)
            assert answer.ok, answer.text
        yield
    finally:
        for service, path, _ in sets:
            service.delete(path)


def answered(draft: Path) -> None:
    """Answer what a draft asks and nobody but a person can know: whose key it was, and that the project may be left."""
    text = draft.read_text()
    question = re.search(r'^  # map:\n    # "moved-key": "\?".*\n  policy: map$', text, flags=re.MULTILINE)
    assert question is not None, text
    answer = f'  policy: create\n  public_keys:\n    moved-key: "{application.PUBLIC_KEY}"'
    text = text.replace(question[0], answer)
    draft.write_text(re.sub(r"^# (project: \{map: .*)$", r"\1", text, flags=re.MULTILINE))


def places(told: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return the problems of a plan by name and field."""
    problems = json.loads(told)["problems"]
    found = {(each["name"], each["field"]): each for each in problems}
    assert len(found) == len(problems)
    for each in problems:
        assert each["severity"] == "error"
        assert each["found"]
        assert each["mend"]
    return found


def test_the_second_site_is_another_cloud(second_cloud, cloud, connect, demo):
    other = connect("demo-two")
    assert other.current_project_id != demo.current_project_id
    assert second_cloud.site.region == other.config.get_region_name() != demo.config.get_region_name()
    assert second_cloud.is_up
    assert cloud.is_up


def test_what_one_cloud_lost_comes_back_on_another(  # noqa: PLR0913, PLR0917 - two clouds, and who works on them
    protected: Any,
    shell: Shell,
    there: Connection,
    here: Connection,
    second_cloud: Any,
    connect: Any,
    worker: Any,
    tmp_path: Path,
) -> None:
    scope, before, saved = protected
    draft = tmp_path / "site.yaml"  # where the shell is
    onto, mapped = ("latest", "--cloud", "operator-two"), ("--site-map", draft.name)
    with small_quotas(connect, there):
        lacking = places(shell("plan", *onto, "-f", "json", code=1, program=True))
    named = {volume: here.block_storage.get_volume(volume).name for volume in saved.backups}
    assert lacking.keys() == {
        *((name, "backup_id") for name in named.values()),
        ("Network Topology", "public_network_id"),
        (f"{NAME}-web", "flavor"),
        (f"{NAME}-web", "key_name"),
        (f"{NAME}-db", "flavor"),
        ("", "quota compute.instances"),
        ("", "quota network.networks"),
        ("", "quota volume.volumes"),
    }
    for volume, name in named.items():
        told = lacking[name, "backup_id"]
        assert (told["type"], told["id"]) == (VOLUME, volume)
        assert f"export {saved.backups[volume]}" in told["mend"]
    assert "(internet)" in lacking["Network Topology", "public_network_id"]["mend"]
    assert "c2.small" in lacking[f"{NAME}-web", "flavor"]["mend"]
    shell("plan", *onto, code=1)

    shell("sitemap", "draft", *onto, "--source-cloud", "operator", "--output", draft.name)
    answered(draft)
    shell("sitemap", "check", draft.name)
    with small_quotas(connect, there):
        lacking = places(shell("plan", *onto, *mapped, "-f", "json", code=1, program=True))
    # With flavors, backups and the external network, all that is needed is known.
    quotas = {
        *("compute.instances", "compute.cores", "compute.ram", "volume.volumes", "volume.gigabytes"),
        *("network.networks", "network.floating_ips"),
    }
    assert lacking.keys() == {("", f"quota {name}") for name in quotas}
    planned = json.loads(shell("plan", *onto, *mapped, "-f", "json", program=True))
    assert planned["problems"] == []
    flavors = {each["name"]: each for each in planned["changes"] if each["field"] == "flavor"}
    assert {name: each["after"] for name, each in flavors.items()} == {
        f"{NAME}-web": "c2.medium",
        f"{NAME}-db": "c2.small",
    }
    for each in planned["changes"]:
        assert re.match(rf"{re.escape(draft.name)}:\d+ \w+", each["rule"]), each
    shell("plan", *onto, *mapped)
    removal.lose(here, NAME)

    worker(options=["--beat"])
    shell("submit", *onto, *mapped, "--wait", "--parameter", f"{NETWORK}.networks=new")
    [listed] = json.loads(shell("list", "-f", "json", program=True))
    restoring = Restoring(there, "operator-two", tmp_path)
    submitted = restoring.known(listed["ID"])
    try:
        assert submitted.status.state is RestoreState.COMPLETE
        ids = {each.original_id: each.id for each in submitted.belongings if each.original_id}
        files = second_cloud.site.data / "cinder" / "volumes"
        after = record.record(there, files, scope.mapped(ids))
        differences = compare.compare(before, after, ids)
        unmapped = [each for each in differences if (each.type, each.field) not in MAPPED]
        assert compare.not_allowed(unmapped) == []
        restored = {each.name: each for each in after.values() if each.type == SERVER}
        for name, each in flavors.items():
            assert restored[name].flavor in (each["after"], there.compute.find_flavor(each["after"]).id)
        assert {each.volume_type for each in after.values() if each.type == VOLUME} == {
            holds(second_cloud.site).default_volume_type
        }
        hold(shown("restore-worker plan latest --cloud operator-two"), shell.printed)
    finally:
        restoring.clean()
