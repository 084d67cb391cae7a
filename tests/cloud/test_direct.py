"""What plugins build and look for by themselves, against real services."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumePlugin
from restore_worker.errors import CloudError, CloudUnavailableError, DamagedDataError
from restore_worker.plugin import StillBuilding
from restore_worker.template import HeatTemplate
from tests.cloud.volumes import await_backup, begin_backup, read_volume
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget
from tests.support.mortal import MortalContext, lives
from tests.support.processes import wait_until

SECONDS = 300
PIECE = 700_000
DATA = random.Random(7).randbytes(5 * PIECE)
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
PIECES = [DATA[start : start + PIECE] for start in range(0, len(DATA), PIECE)]
GIB = 2**30
PLUGINS = (ImagePlugin(), VolumePlugin(), ServerPlugin(), NetworkPlugin())


class Direct:
    """One resource in restores of its own, each with a cloud and what it notes.

    parameters: of the resource.
    """

    def __init__(self, cloud, node: Node, **parameters) -> None:
        self.cloud, self.node = cloud, node
        self.restore_id = f"direct-{uuid.uuid4()}"
        boots = nodes.server("server-1", "s", boot=node.id, from_volume=True)
        made, edges = [node], {}
        if parameters.pop("boots", False):
            made, edges = [node, boots], {boots.key: [node.key]}
        self.selection = FakeSelection(PLUGINS, made, edges, {node.type: parameters})
        self.plugin = self.selection.plugins[node.type]
        self.resource = self.selection.resource(node.key)
        self.work, _ = self.selection.prepare(node.key)

    def context(self, **fields) -> FakeContext:
        return FakeContext(self.restore_id, self.cloud, **{"data": PIECES, **fields})

    def build(self, context: FakeContext) -> str:
        """Restore it as workers do, again and again until it is there, and return its new id."""
        return wait_until(partial(self.try_to_build, context), f"the end of building {self.resource}", SECONDS)

    def try_to_build(self, context: FakeContext) -> str | None:
        template = HeatTemplate()
        try:
            self.plugin.restore(self.resource, self.work, template, context)
        except StillBuilding:
            return None
        return template.get_physical_id(self.node.id)

    def discard(self, context: FakeContext, **made: str) -> None:
        """Discard it as workers do, until nothing is left."""
        wait_until(partial(self._try_to_discard, context, made), f"the end of {self.resource}", SECONDS)

    def _try_to_discard(self, context: FakeContext, made: dict[str, str]) -> bool:
        try:
            self.plugin.discard(self.resource, made, context)
        except CloudUnavailableError:
            return False
        return True

    @property
    def images(self) -> list[str]:
        """Ids of the restore's images."""
        return [each.id for each in self.cloud.image.images(tag=f"restore:{self.restore_id}")]

    @property
    def volumes(self) -> list[str]:
        """Ids of the restore's volumes that are not being deleted."""
        every = self.cloud.block_storage.volumes()
        mine = [each for each in every if each.metadata.get("restore_worker_restore") == self.restore_id]
        return [each.id for each in mine if each.status != "deleting"]


@contextmanager
def direct(cloud, node: Node, **parameters) -> Iterator[Direct]:
    """Give what builds the node; all of it is discarded at the end, and nothing may be left then."""
    made = Direct(cloud, node, **parameters)
    try:
        yield made
    finally:
        made.discard(made.context())
    assert (made.images, made.volumes) == ([], [])


def beginning(cloud, volume_id: str) -> bytes:
    """Return as many of the volume's bytes as there are in the bank."""
    with (cloud.site.data / "cinder" / "volumes" / f"volume-{volume_id}").open("rb") as file:
        return file.read(len(DATA))


# Glance compares bytes with what they are said to be.
_raw = {"image_metadata": {"disk_format": "raw", "container_format": "bare", "checksum": MD5}}
_image = nodes.image("image-1", "direct image", DATA)
IMAGE = replace(_image, metadata=_image.metadata | _raw)
BYTES = nodes.volume_image("volume-1", "direct volume", DATA)


def test_an_image_is_uploaded_once(demo):
    with direct(demo, IMAGE) as made:
        first = made.build(made.context())
        image = demo.image.get_image(first)
        assert (image.status, image.checksum, image.size) == ("active", MD5, len(DATA))
        # A worker was killed before it could note the id.
        assert made.build(made.context(data=[])) == first
        assert made.images == [first]


def test_a_kill_at_any_step_leaves_one_image(demo):
    with direct(demo, IMAGE) as made:
        for mortal in lives():
            doomed = MortalContext(made.restore_id, demo, [DATA[:PIECE], DATA[PIECE:]], mortal=mortal)
            with mortal.life(demo):
                made.build(doomed)
            image_id = made.build(made.context(made=doomed.made))
            assert made.images == [image_id]
            demo.image.delete_image(image_id)


def test_damaged_bytes_leave_no_image(demo):
    with direct(demo, IMAGE) as made:
        with pytest.raises(DamagedDataError):
            made.build(made.context(data=PIECES[1:], damage=DamagedDataError()))
        with pytest.raises(CloudUnavailableError, match=MD5):
            made.build(made.context(data=PIECES[1:]))
        assert made.images == []


def test_a_volume_of_bytes_holds_them_and_its_image_goes(cloud, demo):
    with direct(demo, BYTES, restore_volume_type="premium") as made:
        context = made.context()
        assert made.try_to_build(context) is None
        # Killed before it could note anything: neither the upload nor the volume is repeated.
        volume_id = made.build(made.context(data=[]))
        assert (made.images, made.volumes) == ([], [volume_id])
        volume = demo.block_storage.get_volume(volume_id)
        assert (volume.size, volume.volume_type, volume.is_bootable) == (1, "premium", True)
        assert beginning(cloud, volume_id) == DATA


@pytest.fixture(scope="module")
def backup(demo) -> Iterator[Node]:
    """Give a volume of which Cinder has a backup."""
    with direct(demo, BYTES) as made:
        volume = read_volume(demo, made.build(made.context()))
        backup_id = begin_backup(demo, volume, "direct backup")
        try:
            await_backup(demo, backup_id)
            yield nodes.volume("volume-1", "direct volume", backup_id=backup_id)
        finally:
            demo.block_storage.delete_backup(backup_id)
            wait_until(
                lambda: backup_id not in [each.id for each in demo.block_storage.backups()], "its end", SECONDS
            )


def test_a_volume_of_a_backup_has_another_type_and_size_and_zone_and_boots(cloud, demo, backup):
    given = {"restore_volume_type": "premium", "restore_size": 2, "restore_availability_zone": "far"}
    with direct(demo, backup, boots=True, **given) as made:
        assert made.try_to_build(made.context()) is None
        volume_id = made.build(made.context())
        assert made.volumes == [volume_id]
        volume = demo.block_storage.get_volume(volume_id)
        # The backup's volume was one of a restore, with metadata that Cinder brings back.
        assert (volume.name, volume.metadata["restore_worker_restore"]) == ("direct volume", made.restore_id)
        assert (volume.size, volume.volume_type, volume.is_bootable) == (2, "premium", True)
        assert volume.availability_zone == "far"
        assert beginning(cloud, volume_id) == DATA


def test_two_restores_of_one_backup_wait_for_each_other(cloud, demo, backup):
    with direct(demo, backup, boots=True) as one, direct(demo, backup, boots=True) as other:
        first, second = one.context(), other.context()
        # So that the first does not end before the second asks.
        with cloud.frozen("cinder-backup"):
            assert one.try_to_build(first) is None
            wait_until(
                lambda: demo.block_storage.get_backup(backup.metadata["backup_id"]).status != "available", "it", 60
            )
            assert other.try_to_build(second) is None
            assert other.volumes == []
        assert one.build(first) != other.build(second)


def test_a_volume_that_cinder_cannot_build_is_gone_and_the_reason_told(demo, backup):
    with direct(demo, backup, restore_size=90_000) as made:
        context = made.context()
        for _ in range(3):
            with pytest.raises(CloudError, match=r"its status was error: .*Could not find any available"):
                made.build(context)
        assert (made.volumes, context.made) == ([], {})


def told(cloud, node: Node, size: int = 0, **parameters) -> set[str]:
    """Return the fields that the check tells problems of."""
    selection = FakeSelection(PLUGINS, [node], {}, {node.type: parameters})
    work, _ = selection.prepare(node.key)
    report = FakeReport(node.id)
    plugin = selection.plugins[node.type]
    plugin.check(selection.resource(node.key), work, FakeTarget(cloud, size), report)
    return {each.field for each in report.problems}


def test_checks_find_what_is_there(demo, backup):
    volume = {"restore_volume_type": "premium", "restore_availability_zone": "far", "restore_size": 1}
    server = {"restore_availability_zone": "nova", "restore_net_id": demo.network.find_network("public").id}
    image = demo.image.find_image("tiny").id
    network = nodes.network("project-1", routers=[nodes.router("router-1", "r", "elsewhere")])
    assert told(demo, backup, **volume) == set()
    made = nodes.server("server-1", "s", boot=image, flavor="m1.small", security_groups=[{"name": "default"}])
    assert told(demo, made, **server) == set()
    assert told(demo, network, public_network_id="public") == set()
    assert told(demo, IMAGE, size=GIB) == told(demo, BYTES, size=GIB) == set()


def test_checks_tell_everything_that_is_not_there(demo, target, backup):
    volume = {"restore_volume_type": "premium", "restore_availability_zone": "moon"}
    server = {"restore_availability_zone": "moon", "restore_net_id": "nowhere"}
    network = nodes.network("project-1", routers=[nodes.router("router-1", "r", "elsewhere")])
    # The backup is there, but in the project demo.
    assert told(target, backup, **volume) == {"backup_id", "restore_volume_type", "restore_availability_zone"}
    snapshot = nodes.volume("volume-2", snapshot_id="snapshot-1", size=1)
    assert told(demo, snapshot) == {"snapshot_id"}
    fields = {"flavor": "t1.small", "key_name": "nobody's", "security_groups": [{"name": "no such group"}]}
    made = nodes.server("server-1", "s", boot="no-such-image", **fields)
    assert told(demo, made, **server) == {
        *("flavor", "key_name", "restore_availability_zone", "image", "networks", "security_groups")
    }
    assert told(demo, network) == {"public_network_id"}


@pytest.fixture
def address(demo) -> Iterator[tuple[str, str]]:
    """Give a floating IP of the project and a port that it can lead to."""
    neutron, name = demo.network, f"direct-{uuid.uuid4()}"
    public = neutron.find_network("public").id
    network = neutron.create_network(name=name)
    subnet = neutron.create_subnet(network_id=network.id, cidr="10.77.0.0/24", ip_version=4)
    router = neutron.create_router(name=name, external_gateway_info={"network_id": public})
    neutron.add_interface_to_router(router, subnet_id=subnet.id)
    port = neutron.create_port(network_id=network.id, name=name)
    ip = neutron.create_ip(floating_network_id=public)
    yield ip.floating_ip_address, port.id
    neutron.delete_ip(ip)
    neutron.delete_port(port)
    neutron.remove_interface_from_router(router, subnet_id=subnet.id)
    neutron.delete_router(router)
    neutron.delete_network(network)


def test_a_floating_ip_is_never_taken_from_a_port(demo, target, address):
    old, port_id = address
    topology = nodes.network(
        "project-1",
        networks=[nodes.net("net-1")],
        subnets=[nodes.subnet("subnet-1", "net-1", "10.0.1.0/24", "10.0.1.1")],
        routers=[nodes.router("router-1", "edge", "external-1")],
        ports=[
            nodes.port(
                "port-router",
                "net-1",
                {"subnet-1": "10.0.1.1"},
                device_id="router-1",
                device_owner="network:router_interface",
            ),
            nodes.port(
                "port-1", "net-1", {"subnet-1": "10.0.1.5"}, device_id="server-1", device_owner="compute:nova"
            ),
        ],
    )
    image = demo.image.find_image("tiny").id
    server = nodes.server("server-1", "s", boot=image, flavor="m1.tiny", networks=["net-1"], floating_ips=[old])

    def problems(cloud) -> set[str]:
        selection = FakeSelection(PLUGINS, [topology, server], {}, {nodes.NETWORK: {"floating_ips": "existing"}})
        work, _ = selection.prepare(server.key)
        report = FakeReport(server.id)
        ServerPlugin().check(selection.resource(server.key), work, FakeTarget(cloud), report)
        return {each.field for each in report.problems}

    assert problems(demo) == set()
    assert problems(target) == {"floating_ips"}
    demo.network.update_ip(demo.network.find_ip(old), port_id=port_id)
    assert problems(demo) == {"floating_ips"}
