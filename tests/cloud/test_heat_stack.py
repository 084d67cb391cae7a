"""A stack that its user has Heat manage is captured, protected, lost and restored, and Heat goes on managing it."""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection

from restore_worker.states import RestoreState
from tests.cloud import capture, disks, removal
from tests.cloud.checkpoint_writer import Graph, GraphNode, Header, writing
from tests.cloud.images import download
from tests.cloud.restoring import Restoring, reach
from tests.cloud.volumes import as_image, await_backup, begin_backup, read_volume
from tests.support.processes import wait_until

NAME = "managed"
SECONDS = 300
STACK, IMAGE = "OS::Heat::Stack", "OS::Glance::Image"
NESTED = """\
heat_template_version: '2018-08-31'
parameters:
  size: {type: number}
resources:
  disk:
    type: OS::Cinder::Volume
    properties: {name: managed-nested, size: {get_param: size}}
outputs:
  OS::stack_id: {value: {get_resource: disk}}
"""
TEMPLATE = """\
heat_template_version: '2018-08-31'
parameters:
  flavor: {type: string, constraints: [{custom_constraint: nova.flavor}]}
  image: {type: string}
  password: {type: string, hidden: true, default: none}
resources:
  net:
    type: OS::Neutron::Net
    properties: {name: managed-net}
  subnet:
    type: OS::Neutron::Subnet
    properties: {network: {get_resource: net}, cidr: 10.77.0.0/24, name: managed-subnet}
  boot:
    type: OS::Cinder::Volume
    properties: {name: managed-boot, size: 1, image: {get_param: image}}
  data:
    type: OS::Cinder::Volume
    properties: {name: managed-data, size: 1}
  extra:
    type: file:///nested.yaml
    properties: {size: 1}
  db:
    type: OS::Nova::Server
    properties:
      name: managed-db
      flavor: {get_param: flavor}
      block_device_mapping_v2: [{volume_id: {get_resource: boot}, boot_index: 0}]
      networks: [{subnet: {get_resource: subnet}}]
  web:
    type: OS::Nova::Server
    properties:
      name: managed-web
      flavor: {get_param: flavor}
      image: {get_param: image}
      networks: [{subnet: {get_resource: subnet}}]
      metadata: {db: {get_attr: [db, first_address]}}
  attachment:
    type: OS::Cinder::VolumeAttachment
    properties: {instance_uuid: {get_resource: web}, volume_id: {get_resource: data}}
outputs:
  address: {value: {get_attr: [web, first_address]}}
"""


@pytest.fixture
def files(cloud: Any) -> Path:
    return Path(cloud.site.data / "cinder" / "volumes")


def settled(demo: Connection, stack_id: str, status: str) -> None:
    """Wait until a stack is in a status; AssertionError with its reason if it ends in another."""

    def done() -> bool:
        stack = demo.orchestration.get_stack(stack_id)
        assert not stack.status.endswith("FAILED"), stack.status_reason
        return bool(stack.status == status)

    wait_until(done, f"stack {stack_id} {status}", SECONDS)


@contextlib.contextmanager
def a_stack(demo: Connection, files: Path) -> Iterator[str]:
    """Give the id of a stack of which each volume has bytes of its own; nothing of it is left at the end."""
    body = {
        "stack_name": NAME,
        "template": TEMPLATE,
        "files": {"file:///nested.yaml": NESTED},
        "parameters": {"flavor": "m1.tiny", "image": "tiny", "password": "secret"},
        "tags": "theirs",
    }
    try:
        response = demo.orchestration.post("/stacks", json=body)
        assert response.ok, response.text
        stack_id = response.json()["stack"]["id"]
        settled(demo, stack_id, "CREATE_COMPLETE")
        for path, volume in capture.volumes(demo, stack_id).items():
            disks.fill(disks.volume_file(files, volume), random.Random(path))
        yield stack_id
    finally:
        gone(demo)
        removal.remove(demo, NAME)


def gone(demo: Connection) -> None:
    """Delete the stack, and wait until it is gone."""
    if found := demo.orchestration.find_stack(NAME):
        demo.orchestration.delete_stack(found)
        demo.orchestration.wait_for_delete(found, interval=1, wait=SECONDS)


def protect(demo: Connection, stack_id: str, bank: Path) -> str:
    """Save the stack: boot and nested volume by Cinder backup, the other one by its bytes; the checkpoint's id."""
    metadata = capture.capture(demo, stack_id)
    saved: list[dict[str, str]] = []
    graph = Graph()
    root = GraphNode(STACK, stack_id, NAME)
    header = Header(str(demo.current_project_id), str(uuid.uuid4()), NAME, str(uuid.uuid4()), [root])
    with writing(bank, header) as checkpoint:
        images = []
        for path, volume_id in capture.volumes(demo, stack_id).items():
            volume = read_volume(demo, volume_id)
            if path == "data":
                with as_image(demo, volume) as image:
                    stored = checkpoint.chunks(volume_id, download(demo, image.id), 32 << 20)
                told = {"disk_format": "raw", "container_format": "bare", "checksum": stored.checksum}
                checkpoint.metadata(
                    volume_id, {"resource_id": volume_id, "image_metadata": told, "chunks_num": stored.chunks}
                )
                images.append(GraphNode(IMAGE, volume_id, "managed-contents"))
                saved.append({"path": path, "image_id": volume_id})
            else:
                backup = begin_backup(demo, volume, f"{NAME}-{path.replace('/', '-')}")
                await_backup(demo, backup)
                saved.append({"path": path, "backup_id": backup})
        checkpoint.metadata(stack_id, metadata | {"volumes": saved})
        graph.add(root, images)
        checkpoint.finish(graph)
    return checkpoint.id


def contents(demo: Connection, files: Path, stack_id: str) -> dict[str, str]:
    """Return a digest of each volume's bytes by its path."""
    found = capture.volumes(demo, stack_id)
    return {path: disks.digest(disks.volume_file(files, volume)) for path, volume in found.items()}


def test_a_managed_stack_comes_back_and_heat_goes_on_managing_it(
    worker: Any, restoring: Restoring, demo: Connection, files: Path, tmp_path: Path
) -> None:
    worker(options=["--beat"])
    with a_stack(demo, files) as stack_id:
        before = contents(demo, files, stack_id)
        assert len(set(before.values())) == len(before) == 3
        checkpoint = protect(demo, stack_id, tmp_path)
        gone(demo)

        submitted = restoring.restore(checkpoint, bank=tmp_path)
        reach(submitted, RestoreState.COMPLETE, SECONDS)
        (back,) = [each.id for each in submitted.belongings if each.original_id == stack_id]
        assert contents(demo, files, back) == before
        stack = demo.orchestration.get_stack(back)
        assert (stack.name, stack.status) == (NAME, "UPDATE_COMPLETE")
        assert "theirs" in stack.tags
        ids = capture.physical_ids(demo, back)
        assert set(ids) == {"net", "subnet", "boot", "data", "extra", "extra/disk", "db", "web", "attachment"}
        assert all(ids.values())
        attached = [each.volume_id for each in demo.compute.volume_attachments(ids["web"])]
        assert attached == [ids["data"]]
        assert [each.volume_id for each in demo.compute.volume_attachments(ids["db"])] == [ids["boot"]]

        # Its user updates it as ever: nothing is built anew, and the bytes stay.
        update = {
            "template": TEMPLATE,
            "files": {"file:///nested.yaml": NESTED},
            "parameters": {"flavor": "m1.tiny", "image": "tiny"},
        }
        response = demo.orchestration.put(f"/stacks/{NAME}/{back}", json=update)
        assert response.ok, response.text
        wait_until(
            lambda: demo.orchestration.get_stack(back).updated_at != stack.updated_at, "the update begins", SECONDS
        )
        settled(demo, back, "UPDATE_COMPLETE")
        assert capture.physical_ids(demo, back) == ids
        assert contents(demo, files, back) == before

        submitted.destroy()
        reach(submitted, RestoreState.DESTROYED, SECONDS)
        # For a moment, one that is just deleted still has its name.
        there = demo.orchestration.find_stack(NAME)
        assert there is None or there.status == "DELETE_COMPLETE"
        assert not [each for each in demo.block_storage.volumes() if each.name.startswith(NAME)]
