"""Makes a sample bank restorable in the test cloud: what it names in a cloud is made there, and named anew.

A checkpoint of Karbor's holds ids that only its own cloud knew: of backups, snapshots, flavors, key pairs and the
external network. `stock` copies a bank and puts the ids of real ones there. The bytes of an image that pretends to
be qcow2 are replaced, since Glance looks into them; all else stays as Karbor wrote it.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from tests.cloud.disks import fill, volume_file

_PATIENCE = 300
_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICehjXmxaNH209Cse17uCZvAMA1OQqcYmiu4WVV7/rII"
Fields = dict[str, Any]


def stock(cloud: Connection, disks: Path, sample: Path, checkpoint: str, bank: Path, name: str) -> Path:
    """Return ``bank``, a copy of the sample bank of which one checkpoint can be restored in the connection's project.

    disks: folder of the cloud's volumes.
    bank: a folder that is not there yet.
    name: what all that is made in the cloud begins with; `tests.cloud.removal.remove` deletes it.
    Raises openstacksdk's errors.
    """
    shutil.copytree(sample, bank)
    stand_ins = _StandIns(cloud, disks, name)
    for path in sorted(bank.glob(f"karbor/checkpoints/{checkpoint}/resource-data/*/metadata")):
        metadata = json.loads(path.read_text())
        if "backup_id" in metadata:
            metadata["backup_id"] = stand_ins.backup()
        elif "snapshot_id" in metadata and "volume_id" in metadata:
            metadata["snapshot_id"] = stand_ins.snapshot(metadata["size"])
        elif metadata.get("image_metadata", {}).get("disk_format") == "qcow2":
            _replace_image(path.parent, metadata)
        elif "server_metadata" in metadata:
            server = metadata["server_metadata"]
            server |= {"flavor": stand_ins.flavor, "key_name": stand_ins.key_pair(server["key_name"])}
        for router in metadata.get("router_metadata", {}).values():
            if router["external_gateway_info"]:
                router["external_gateway_info"]["network_id"] = stand_ins.external
        path.write_text(json.dumps(metadata))
    stand_ins.await_backups()
    return bank


def project_of(bank: Path, checkpoint: str) -> str:
    """Return the id of the project that a checkpoint is of."""
    index = json.loads((bank / "karbor" / "checkpoints" / checkpoint / "index.json").read_text())
    return str(index["project_id"])


@dataclass
class _StandIns:
    """What takes the place of what a sample names."""

    cloud: Connection
    disks: Path
    name: str
    _backups: list[Any] = field(default_factory=list)
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def flavor(self) -> str:
        """Id of the flavor with the largest disk."""
        return str(max(self.cloud.compute.flavors(), key=lambda flavor: flavor.disk).id)

    @property
    def external(self) -> str:
        """Id of the external network."""
        return str(next(iter(self.cloud.network.networks(is_router_external=True))).id)

    def key_pair(self, name: str | None) -> str | None:
        """Return the name of a key pair, the same for the same ``name``."""
        if name and name not in self._keys:
            key = self.cloud.compute.create_keypair(name=f"{self.name}-{name}", public_key=_PUBLIC_KEY)
            self._keys[name] = key.name
        return self._keys[name] if name else None

    def backup(self) -> str:
        """Return the id of a backup of 1 GiB that nothing else is; `await_backups` waits until it is there."""
        volume = self._volume(1)
        cinder = self.cloud.block_storage
        self._backups.append(cinder.create_backup(volume_id=volume, name=f"{self.name}-{volume}"))
        return str(self._backups[-1].id)

    def await_backups(self) -> None:
        """Return once all backups are there, and the volumes that they were made of are gone."""
        cinder = self.cloud.block_storage
        for backup in self._backups:
            cinder.wait_for_status(backup, "available", ["error"], interval=1, wait=_PATIENCE)
            volume = cinder.get_volume(backup.volume_id)
            cinder.delete_volume(volume.id)
            cinder.wait_for_delete(volume, interval=1, wait=_PATIENCE)

    def snapshot(self, size: int) -> str:
        """Return the id of a snapshot of ``size`` GiB."""
        volume = self._volume(size)
        cinder = self.cloud.block_storage
        made = cinder.create_snapshot(volume_id=volume, name=f"{self.name}-{volume}")
        cinder.wait_for_status(made, "available", ["error"], interval=1, wait=_PATIENCE)
        return str(made.id)

    def _volume(self, size: int) -> str:
        cinder = self.cloud.block_storage
        number = len(self._backups)
        made = cinder.create_volume(size=size, name=f"{self.name}-source-{number}", volume_type="standard")
        cinder.wait_for_status(made, "available", ["error"], interval=0.5, wait=_PATIENCE)
        fill(volume_file(self.disks, made.id), random.Random(f"{self.name} {number}"))
        return str(made.id)


def _replace_image(folder: Path, metadata: Fields) -> None:
    """Put random bytes in the place of the image's, as many in each chunk."""
    chance = random.Random(metadata["image_metadata"]["checksum"])
    checksum = hashlib.md5(usedforsecurity=False)
    for path in _chunks(folder, metadata["chunks_num"]):
        data = chance.randbytes(path.stat().st_size)
        path.write_bytes(data)
        checksum.update(data)
    metadata["image_metadata"] |= {"disk_format": "raw", "checksum": checksum.hexdigest()}


def _chunks(folder: Path, count: int) -> Iterator[Path]:
    return (folder / f"data_{number}" for number in range(1, count + 1))
