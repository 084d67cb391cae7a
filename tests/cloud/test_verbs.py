"""What a user does to a restore on a real cloud: submit and show it, cancel and resume it, destroy it, forget its stack."""

from __future__ import annotations

import json

import pytest
import yaml

from restore_worker import restore
from restore_worker.errors import DuplicateRestoreError, RestoreError
from restore_worker.states import RestoreState
from tests.cloud import removal
from tests.cloud.restoring import SECONDS, Restoring, hear, noted, reach, see
from tests.cloud.small import PARAMETERS, Small
from tests.support.processes import wait_until

pytestmark = pytest.mark.disturbs


@pytest.fixture
def working(worker):
    """Have a worker at work, and beat."""
    worker(options=["--beat"])


def complete(restoring: Restoring, **choices) -> restore.Restore:
    submitted = restoring.submit(restoring.small(), **choices)
    reach(submitted, RestoreState.COMPLETE)
    return submitted


def request(restoring: Restoring, application: Small, **parameters: str) -> list[str]:
    """Return what to submit, as a command line has it."""
    network = {"networks": "new", **parameters}
    given = [f"--parameter=OS::Neutron::Network.{name}={value}" for name, value in network.items()]
    return [application.checkpoint.id, f"--bank={restoring.bank(application)}", "--cloud=demo", *given]


def nothing_is_left(restoring: Restoring, submitted: restore.Restore) -> bool:
    left = [each for each in restoring.volumes(submitted) if each.status != "deleting"]
    return not (submitted.belongings or restoring.stack(submitted) or restoring.images(submitted) or left)


# Submit and show


def test_after_success_new_ids_and_addresses_are_told(working, restoring, demo, cli):
    public = demo.network.find_network("public").id
    application = restoring.small(floating_ips=["203.0.113.7"])
    done = cli("submit", *request(restoring, application, public_network_id=public), "--wait", seconds=SECONDS)
    submitted = restoring.known(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    shown = json.loads(cli("show", submitted.id, "-f", "json").stdout)
    assert shown["state"] == "complete"
    assert [each["status"] for each in shown["stacks"]] == ["CREATE_COMPLETE"]
    new = {each["original_id"]: each for each in shown["belongings"] if each["original_id"]}
    assert new.keys() >= {application.image, application.volume, application.network, application.server}

    server = demo.compute.get_server(new[application.server]["id"])
    assert server.status == "ACTIVE"
    (port,) = demo.network.ports(device_id=server.id)
    (floating,) = demo.network.ips(port_id=port.id)
    fixed = [each["ip_address"] for each in port.fixed_ips]
    assert new[application.server]["addresses"] == [*fixed, floating.floating_ip_address]
    (volume,) = restoring.volumes(submitted)
    assert volume.id == new[application.volume]["id"]
    (image,) = (each for each in restoring.images(submitted) if each.id == new[application.image]["id"])
    assert image.status == "active"
    (told,) = (each for each in shown["belongings"] if each["type"] == "OS::Neutron::FloatingIP")
    assert (told["id"], told["addresses"]) == (floating.id, [floating.floating_ip_address])

    lines = done.stderr.splitlines()
    for each in new.values():
        (line,) = (line for line in lines if line.startswith(f"{each['type']} ") and f" {each['id']}" in line)
        assert all(text in line for text in (each["title"], each["original_id"], *each["addresses"]))


@pytest.fixture
def lan(restoring, demo):
    """Give a network with the range of the small application, in which a port has its first server's address."""
    network = demo.network.create_network(name=f"lan-{restoring.folder.name}")
    subnet = demo.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24", gateway_ip=None)
    fixed = [{"subnet_id": subnet.id, "ip_address": "10.9.0.10"}]
    taker = demo.network.create_port(network_id=network.id, fixed_ips=fixed)
    yield network
    # Ports of the restore go with its stack.
    for submitted in restoring.restores:
        submitted.destroy()
        reach(submitted, RestoreState.DESTROYED)
    demo.network.delete_port(taker)
    demo.network.delete_network(network)


def test_servers_come_into_a_network_that_is_on_the_target(working, restoring, demo, lan):
    application = restoring.small(servers=2)
    network = {"networks": "new", "fixed_ips": "auto", "macs": "auto"}
    submitted = restoring.submit(
        application,
        networks={application.network: lan.name},
        parameters={"OS::Neutron::Network": network},
        name_prefix="in-lan-",
    )
    reach(submitted, RestoreState.COMPLETE)
    assert "10.9.0.10" in "".join(each.found for each in submitted.findings if each.field.endswith("fixed_ips"))
    built = {each.original_id: each for each in submitted.belongings}
    assert {each.type for each in built.values()}.isdisjoint({"OS::Neutron::Net", "OS::Neutron::Router"})
    addresses = {}
    for node in (each for each in application.checkpoint.nodes if each.type == "OS::Nova::Server"):
        server = demo.compute.get_server(built[node.id].id)
        assert server.name == f"in-lan-{node.name}"
        (port,) = demo.network.ports(device_id=server.id)
        assert port.network_id == lan.id
        addresses[node.id] = port.fixed_ips[0]["ip_address"]
    assert addresses.pop(application.server) not in {"10.9.0.10", "10.9.0.11"}
    assert set(addresses.values()) == {"10.9.0.11"}


def test_without_a_stack_what_heat_cannot_build_is_there_for_the_template(working, restoring, tmp_path, cli):
    template = tmp_path / "app.yaml"
    options = ("--no-stack", "--wait", f"--export={template}")
    application = restoring.small()
    done = cli("submit", *request(restoring, application), *options, seconds=SECONDS)
    submitted = restoring.known(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    assert restoring.stack(submitted) is None
    values = yaml.safe_load(template.with_suffix(".env.yaml").read_text())["parameters"]
    assert values.keys() == yaml.safe_load(template.read_text())["parameters"].keys()
    (volume,) = restoring.volumes(submitted)
    (image,) = restoring.images(submitted)
    assert (image.status, volume.status) == ("active", "available")
    assert values[f"p_image_{application.image}"] == image.id
    assert values[f"p_volume_{application.volume}"] == volume.id

    with pytest.raises(RestoreError, match="it has no stack, so there is nothing to forget"):
        submitted.forget()
    submitted.destroy()
    reach(submitted, RestoreState.DESTROYED)
    assert nothing_is_left(restoring, submitted)


def test_what_is_of_another_project_takes_a_login_there(restoring, target, cli):
    """Nobody works: nothing is built."""
    application = restoring.small()
    project, other = restoring.connection.current_project_id, target.current_project_id
    _, *rest = request(restoring, application)
    arguments = [
        "submit",
        application.checkpoint.id,
        *(each for each in rest if each != "--cloud=demo"),
        "--cloud=target",
    ]
    refused = cli(*arguments, seconds=SECONDS)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"is of project {project}, but cloud target is project {other}: " in refused.stderr
    assert restore.list_restores() == []
    proven = cli(*arguments, "--source-cloud=demo", seconds=SECONDS)
    assert proven.returncode == 0, proven.stderr
    submitted = restore.get(proven.stdout.strip())
    assert submitted.status.allow_projects == (project,)
    submitted.cancel()


def test_the_same_is_not_restored_twice_by_accident(working, restoring, cli):
    application = restoring.small()
    bank = restoring.bank(application)
    choices = {"bank": bank, "parameters": PARAMETERS}
    first = restoring.restore(application.checkpoint.id, **choices)
    reach(first, RestoreState.COMPLETE)
    with pytest.raises(DuplicateRestoreError, match=f"{first.id}, which is complete"):
        restoring.restore(application.checkpoint.id, **choices)
    first.destroy()
    reach(first, RestoreState.DESTROYED)
    again = restoring.restore(application.checkpoint.id, **choices)
    again.cancel()
    again.cancel()
    again.destroy()
    reach(again, RestoreState.DESTROYED)
    assert nothing_is_left(restoring, again)


# Cancel, in every state. Assembling takes some milliseconds, too few to hit: what cancel does then is shown with the
# ledger, where every state is reached at will.


def test_what_nobody_has_taken_up_is_cancelled_and_destroyed(restoring, worker):
    submitted = restoring.submit(restoring.small())
    submitted.cancel()
    worker(options=["--beat"])
    submitted.destroy()
    reach(submitted, RestoreState.DESTROYED)
    assert nothing_is_left(restoring, submitted)


def test_cancel_while_a_volume_is_built(working, restoring, cloud, cli):
    submitted = restoring.submit(restoring.small())
    with cloud.frozen("cinder-volume"):
        hear(submitted, "is creating")
        with pytest.raises(RestoreError, match="is restoring: cancel it before it is destroyed"):
            submitted.destroy()
        cancelled = cli("cancel", submitted.id)
        assert cancelled.returncode == 0
        (volume,) = restoring.volumes(submitted)
        assert volume.id in cancelled.stdout
        reach(submitted, RestoreState.CANCELLED)
    assert {volume.id} < {each.id for each in submitted.belongings}
    submitted.resume()
    reach(submitted, RestoreState.COMPLETE)
    assert [each.id for each in restoring.volumes(submitted)] == [volume.id]


@pytest.fixture
def stopped(working, restoring, cloud):
    """Give a restore that was cancelled while Heat built its server."""
    submitted = restoring.submit(restoring.small())
    with cloud.frozen("nova-compute"):
        see(submitted, lambda: "OS::Nova::Server" in {each.type for each in submitted.belongings}, "a server")
        submitted.cancel()
        wait_until(lambda: restoring.stack(submitted).status == "CREATE_FAILED", "that Heat stops", SECONDS)
    assert submitted.status.state is RestoreState.CANCELLED
    return submitted


def test_cancel_while_heat_builds_and_resume(stopped, restoring, cli):
    wait_until(lambda: noted(stopped).status == "CREATE_FAILED", "that it is known how Heat ended", SECONDS)
    shown = json.loads(cli("show", stopped.id, "-f", "json").stdout)
    stack = restoring.stack(stopped)
    assert (shown["state"], shown["stacks"][0]["id"]) == ("cancelled", stack.id)
    before = {each["id"]: each for each in shown["belongings"]}
    assert {each["type"] for each in before.values()} > {
        "OS::Nova::Server",
        "OS::Neutron::Net",
        "OS::Glance::Image",
    }
    stopped.resume()
    reach(stopped, RestoreState.COMPLETE)
    assert noted(stopped).id == restoring.stack(stopped).id == stack.id
    whole = {each for each in before if before[each]["status"] == "CREATE_COMPLETE"}
    assert whole <= {each.id for each in stopped.belongings}


def test_what_was_cancelled_is_destroyed(stopped, restoring):
    stopped.destroy()
    reach(stopped, RestoreState.DESTROYED)
    assert nothing_is_left(restoring, stopped)


# Destroy


def test_destroy_deletes_all_that_a_restore_made_and_asks_before(working, restoring, cli):
    submitted = complete(restoring)
    ids = {each.id for each in submitted.belongings}
    assert {each.type for each in submitted.belongings} > {
        "OS::Heat::Stack",
        "OS::Nova::Server",
        "OS::Glance::Image",
    }
    refused = cli("destroy", submitted.id)
    assert (refused.returncode, refused.stderr) == (
        1,
        "there is nobody to ask: give --yes to delete all of this\n",
    )
    assert all(each in refused.stdout for each in ids)
    assert submitted.status.state is RestoreState.COMPLETE

    destroyed = cli("destroy", submitted.id, "--yes", "--wait", seconds=SECONDS)
    assert destroyed.returncode == 0, destroyed.stderr
    assert destroyed.stdout == refused.stdout
    first, *_, last = destroyed.stderr.splitlines()
    assert (first.split()[1], last.split()[1]) == ("destroying", "destroyed")
    assert nothing_is_left(restoring, submitted)
    # Once more is no error, and has no effect.
    again = cli("destroy", submitted.id, "--yes", "--wait")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert submitted.status.state is RestoreState.DESTROYED


def test_a_stack_that_somebody_else_deletes_ends_the_restore_and_the_rest_is_destroyed(
    working, restoring, demo, cloud
):
    submitted = restoring.submit(restoring.small())
    with cloud.frozen("nova-compute"):
        see(submitted, lambda: noted(submitted).id, "the stack")
        demo.orchestration.delete_stack(noted(submitted).id)
    wait_until(lambda: submitted.status.state is RestoreState.FAILED, "the end", SECONDS)
    assert (
        submitted.status.reason
        == f"stack restore-{submitted.id} was deleted by somebody else: resume makes another"
    )
    assert restoring.images(submitted)
    submitted.destroy()
    reach(submitted, RestoreState.DESTROYED)
    assert nothing_is_left(restoring, submitted)


# Forget


def test_forget_leaves_the_application_without_its_stack(working, restoring, demo, cli):
    application = restoring.small()
    submitted = restoring.submit(application)
    reach(submitted, RestoreState.COMPLETE)
    before = {each.original_id: each.id for each in submitted.belongings if each.original_id}
    name = application.checkpoint.plan_name
    try:
        done = cli("forget", submitted.id, "--wait", seconds=SECONDS)
        assert done.returncode == 0, done.stderr
        assert submitted.status.state is RestoreState.FORGOTTEN
        assert restoring.stack(submitted) is None
        server = demo.compute.get_server(before[application.server])
        assert server.status == "ACTIVE"
        volume = demo.block_storage.get_volume(before[application.volume])
        assert [each["server_id"] for each in volume.attachments] == [server.id]
        assert demo.network.get_network(before[application.network]).name == f"{name}-net"
        assert {each.original_id: each.id for each in submitted.belongings if each.original_id} == before
        refused = cli("destroy", submitted.id, "--yes")
        assert refused.returncode == 1
        assert f"restore {submitted.id} is forgotten: " in refused.stderr
    finally:
        removal.remove(demo, name)
