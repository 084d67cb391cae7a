"""Volumes: by Cinder backup, by snapshot, or by bytes in the bank, as their metadata shows.

Heat restores a backup with nothing but a name, so it builds only those volumes for which that is enough. It takes
size, type and zone of a snapshot, and Cinder keeps a snapshot's bootable flag and type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, Field

from restore_openstack import cinder, glance
from restore_openstack.disks import SERVER, VOLUME, disks_of
from restore_openstack.fields import Given
from restore_openstack.glance import ImageMetadata
from restore_worker.plugin import (
    BankData,
    Context,
    Definition,
    Parameters,
    Produces,
    Report,
    RestorePlugin,
    Selection,
)
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

_DEFAULT_ZONE = "the target's default zone is used unless restore_availability_zone names one"


class VolumeDefinition(Definition):
    """The metadata of a volume in the bank, as one of four plugins of Karbor wrote it.

    size, volume_size: GiB, with a snapshot or with bytes.
    freezer: the volume is in Freezer's own storage; what else that plugin noted holds passwords and is not kept.
    """

    backup_id: str | None = None
    snapshot_id: str | None = None
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
    """

    restore_name: Given | None = None
    restore_description: str | None = None
    restore_volume_type: Given | None = None
    restore_availability_zone: Given | None = None
    restore_size: Annotated[int, Field(ge=1)] | None = None


class VolumeWork(BaseModel):
    """What comes back, and of what: one of backup_id, snapshot_id and file is set.

    size: GiB; None for that of the backup.
    direct: Heat cannot build it so.
    bootable: it must be told to Cinder that servers may boot from it.
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
    bootable: bool


class VolumePlugin(RestorePlugin[VolumeDefinition, VolumeParameters, VolumeWork]):
    """Restores a volume through Heat, or through Cinder where Heat would lose something."""

    resource_type = VOLUME
    Definition = VolumeDefinition
    Parameters = VolumeParameters
    Work = VolumeWork
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "data",
            "of a volume saved by Cinder backup or snapshot the bank has only the id: the target must hold it",
        ),
        ("volume_type", "the target's default type is used unless restore_volume_type names one"),
        ("multiattach", "it belongs to the volume type, which was not saved"),
        ("encryption", "it belongs to the volume type, which was not saved"),
        ("description", "the volume comes back without one unless restore_description gives it"),
        ("metadata", "the volume's metadata was not saved"),
        ("volume_image_metadata", "what Cinder knew of the image that the volume was made of was not saved"),
        ("readonly", "the volume comes back writable"),
        ("group_id", "groups of volumes and their consistency were not saved"),
    )

    def prepare(
        self,
        resource: Resource,
        definition: VolumeDefinition,
        parameters: VolumeParameters,
        selection: Selection,
        report: Report,
    ) -> VolumeWork:
        """Decide how the volume is built."""
        servers = [parent.key for parent in selection.parents(resource.key) if parent.type == SERVER]
        _check_source(definition, parameters, report)
        _check_type(definition, parameters, servers, report)
        zone = resource.extra_info.get("availability_zone")
        # Of a snapshot Cinder makes the volume in the snapshot's zone.
        if zone and not parameters.restore_availability_zone and not definition.snapshot_id:
            report.finding("availability_zone", f"it was in zone {zone!r}; {_DEFAULT_ZONE}")
        # A snapshot keeps the flag, and a volume made of an image gets it.
        bootable = bool(definition.backup_id) and _boots_a_server(resource, servers, selection)
        wishes = (parameters.restore_size, parameters.restore_volume_type, parameters.restore_availability_zone)
        direct = not definition.snapshot_id and (bootable or not definition.backup_id or any(wishes))
        work = VolumeWork(
            name=resource.name if parameters.restore_name is None else parameters.restore_name,
            description=parameters.restore_description,
            size=parameters.restore_size or definition.size or definition.volume_size,
            volume_type=parameters.restore_volume_type,
            availability_zone=parameters.restore_availability_zone,
            backup_id=definition.backup_id,
            snapshot_id=definition.snapshot_id,
            file=definition.image_metadata,
            chunks=definition.chunks_num,
            direct=direct,
            bootable=bootable,
        )
        if not work.name and not direct:
            report.finding("name", "it had none; Heat will name it after the stack")
        return work

    def produces(self, work: VolumeWork) -> Produces:
        """Heat builds it unless that would lose something."""
        return Produces.PARAMETER if work.direct else Produces.RESOURCE

    def data(self, work: VolumeWork) -> BankData | None:
        """Return the chunks of a volume whose bytes are in the bank."""
        return BankData(work.chunks, work.file.checksum) if work.file else None

    def restore(self, resource: Resource, work: VolumeWork, template: HeatTemplate, context: Context) -> None:
        """Put the volume, or build it and put its id."""
        if work.direct:
            parameter = HeatParameter(
                _build(resource, work, context),
                VOLUME,
                constraint="cinder.volume",
                description=_what(resource, work),
                title=work.name,
            )
            template.put_parameter(resource.id, parameter)
            return
        fields = {"backup_id", "snapshot_id", "size", "volume_type", "availability_zone", "description"}
        properties = {"name": work.name or None, **work.model_dump(include=fields)}
        template.put_resource(resource.id, HeatResource(VOLUME, properties, title=work.name))

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Delete the volume and the image that it was made of."""
        cinder.delete(context, resource.id, made)
        glance.delete(context, resource.id, made)


def _check_source(definition: VolumeDefinition, parameters: VolumeParameters, report: Report) -> None:
    if definition.freezer:
        report.problem(
            "metadata.job_info", "it was saved by Freezer, which is not supported: restore it with Freezer"
        )
    elif not (definition.backup_id or definition.snapshot_id or definition.image_metadata):
        report.problem("metadata", "it shows no backup, snapshot or image to restore from: leave the volume out")
    size = definition.size or definition.volume_size
    if definition.image_metadata and not (size or parameters.restore_size):
        report.problem("metadata.volume_size", "it is missing: give the size in restore_size")
    if size and parameters.restore_size and parameters.restore_size < size:
        report.problem("restore_size", f"the volume has {size} GiB: {parameters.restore_size} GiB are too few")


def _check_type(
    definition: VolumeDefinition, parameters: VolumeParameters, servers: list[ResourceKey], report: Report
) -> None:
    if definition.snapshot_id and parameters.restore_volume_type:
        report.finding("volume_type", "Cinder takes another type for a snapshot only on the same back end")
    # A volume made of a snapshot has the type of the snapshot.
    if len(servers) > 1 and not definition.snapshot_id and not parameters.restore_volume_type:
        ids = ", ".join(server.id for server in servers)
        report.problem(
            "restore_volume_type",
            f"the servers {ids} share it, and its type is not in the bank: name a type that allows multi-attach",
        )


def _boots_a_server(volume: Resource, servers: list[ResourceKey], selection: Selection) -> bool:
    definitions = ((server, selection.definition(server)) for server in servers)
    return any(
        disks_of(server, definition, selection).boot_volume == volume.id
        for server, definition in definitions
        if definition is not None
    )


def _build(resource: Resource, work: VolumeWork, context: Context) -> str | None:
    attributes = work.model_dump(
        include={"name", "description", "size", "volume_type", "availability_zone", "backup_id"}
    )
    if work.file:
        attributes["image_id"] = glance.upload(context, resource.id, f"volume {resource.id}", work.file)
    volume_id = cinder.build(context, resource.id, attributes, bootable=work.bootable)
    if work.file and volume_id is not None:
        glance.delete(context, resource.id, {})
    return volume_id


def _what(resource: Resource, work: VolumeWork) -> str:
    """Say, for a user who builds it by hand, what belongs in the parameter."""
    source = f"Cinder backup {work.backup_id}"
    if work.file:
        source = f"the bytes in the bank ({work.file.disk_format}, MD5 {work.file.checksum})"
    wishes = {
        "size": work.size and f"{work.size} GiB",
        "type": work.volume_type,
        "zone": work.availability_zone,
        "bootable": work.bootable and "true",
    }
    told = "".join(f", {name} {value}" for name, value in wishes.items() if value)
    return f"Id of a volume restored from {source} for {resource}{told}"
