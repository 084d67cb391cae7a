"""A volume driver for Cinder: the one of its tests stores nothing, so nothing could be backed up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from cinder import interface
from cinder.volume import driver
from oslo_config import cfg

_OPTIONS: list[cfg.Opt] = [cfg.StrOpt("volumes_dir", help="where the volumes' files are")]
_CAPACITY = 100_000  # GiB
_UNLIMITED = {
    "total_capacity_gb": _CAPACITY,
    "free_capacity_gb": _CAPACITY,
    "allocated_capacity_gb": 0,
    "provisioned_capacity_gb": 0,
    "reserved_percentage": 0,
    "max_over_subscription_ratio": 20.0,
    "thin_provisioning_support": True,
    "thick_provisioning_support": False,
    "multiattach": True,
    "QoS_support": False,
}
Thing = dict[str, Any]  # a volume or a snapshot, as Cinder gives it


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    """Volumes and snapshots are sparse files. Backup, restore and image copy open them as local devices."""

    VERSION = "1.0"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(_OPTIONS)
        self._folder = Path(self.configuration.volumes_dir)

    @classmethod
    def get_driver_options(cls) -> list[cfg.Opt]:
        """Return the options of the backend's section that only this driver knows."""
        return _OPTIONS

    def check_for_setup_error(self) -> None:
        """Make the folder of the volumes."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def create_volume(self, volume: Thing) -> None:
        """Make an empty volume."""
        self._path(volume).touch()
        self.extend_volume(volume, volume["size"])

    def delete_volume(self, volume: Thing) -> None:
        """Delete a volume, if it is there."""
        self._path(volume).unlink(missing_ok=True)

    def extend_volume(self, volume: Thing, new_size: int) -> None:
        """Give a volume its new size, in GiB."""
        os.truncate(self._path(volume), new_size << 30)

    def create_snapshot(self, snapshot: Thing) -> None:
        """Copy the snapshot's volume."""
        self._copy(snapshot["volume"], snapshot)

    delete_snapshot = delete_volume

    def create_volume_from_snapshot(self, volume: Thing, snapshot: Thing) -> None:
        """Make a volume of the snapshot's bytes; it may be larger."""
        self._copy(snapshot, volume)
        self.extend_volume(volume, volume["size"])

    def create_cloned_volume(self, volume: Thing, src_vref: Thing) -> None:
        """Make a volume of another's bytes; it may be larger."""
        self.create_volume_from_snapshot(volume, src_vref)

    def revert_to_snapshot(self, context: object, volume: Thing, snapshot: Thing) -> None:  # noqa: ARG002 - as Cinder calls it
        """Give a volume the bytes of its snapshot."""
        self.create_volume_from_snapshot(volume, snapshot)

    def ensure_export(self, context: object, volume: Thing) -> None:
        """Do nothing: a file needs no export."""

    def create_export(self, context: object, volume: Thing, connector: object) -> None:
        """Do nothing: a file needs no export."""

    def remove_export(self, context: object, volume: Thing) -> None:
        """Do nothing: a file needs no export."""

    def initialize_connection(self, volume: Thing, connector: object) -> Thing:  # noqa: ARG002 - as Cinder calls it
        """Tell where the volume's bytes are."""
        return {
            "driver_volume_type": "local",
            "data": {"device_path": str(self._path(volume)), "access_mode": "rw"},
        }

    def terminate_connection(self, volume: Thing, connector: object, **kwargs: object) -> None:
        """Do nothing: a file is not connected."""

    def _update_volume_stats(self) -> None:
        name = self.configuration.safe_get("volume_backend_name")
        self._stats = {
            "volume_backend_name": name,
            "vendor_name": "restore-worker",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "pools": [{"pool_name": name, **_UNLIMITED}],
        }

    def _path(self, thing: Thing) -> Path:
        return self._folder / str(thing["name"])

    def _copy(self, source: Thing, target: Thing) -> None:
        subprocess.run(
            ["cp", "--sparse=always", "--reflink=auto", self._path(source), self._path(target)], check=True
        )
