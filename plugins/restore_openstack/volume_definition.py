"""What a bank holds of a volume, what a user may set for it, and what becomes of the two."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from restore_openstack.backup_record import Records
from restore_openstack.fields import Given, Id
from restore_openstack.glance import ImageMetadata
from restore_worker.plugin import Definition, Parameters


class VolumeDefinition(Definition):
    """The metadata of a volume in the bank, as one of four plugins of Karbor wrote it.

    size, volume_size: GiB, with a snapshot or with bytes.
    freezer: the volume is in Freezer's own storage; what else that plugin noted holds passwords and is not kept.
    """

    backup_id: Id | None = None
    snapshot_id: Id | None = None
    size: int | None = None
    image_metadata: ImageMetadata | None = None
    volume_size: int | None = None
    chunks_num: int | None = None
    freezer: Annotated[bool, BeforeValidator(lambda job: job is not None)] = Field(default=False, alias="job_info")


class VolumeParameters(Parameters):
    """What a user may set for a volume.

    restore_name: instead of the original's.
    restore_description: the original's is not in the bank.
    restore_volume_type: a type of the target instead of its default one.
    restore_availability_zone: a zone of the target instead of its default one.
    restore_size: GiB, not less than the original's.
    backup_record: what another cloud's Cinder exports of the backup, and of those that it builds on, separated by
        commas, to be imported if the target lacks them; of records for a whole type each volume takes its own.
    """

    restore_name: Given | None = None
    restore_description: str | None = None
    restore_volume_type: Given | None = None
    restore_availability_zone: Given | None = None
    restore_size: Annotated[int, Field(ge=1)] | None = None
    backup_record: Records | None = None


class VolumeWork(BaseModel):
    """What comes back, and of what: one of backup_id, snapshot_id and file is set.

    size: GiB; None for that of the backup.
    records: of the backup, and before it of those that it builds on, if the target may lack them.
    direct: Heat cannot build it so.
    bootable: what must be told to Cinder, whether servers may boot from it; None if it knows.
    """

    name: str
    description: str | None
    size: int | None
    volume_type: str | None
    availability_zone: str | None
    backup_id: str | None
    snapshot_id: str | None
    file: ImageMetadata | None
    chunks: int | None
    direct: bool
    bootable: bool | None
    # Work of an earlier version lacks it.
    records: tuple[str, ...] = ()
