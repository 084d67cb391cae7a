"""Volumes: by Cinder backup, by snapshot, or by bytes in the bank, as their metadata shows.

Heat restores a backup with nothing but a name, so it builds only those volumes for which that is enough. It takes
size, type and zone of a snapshot, and Cinder keeps a snapshot's bootable flag and type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restore_openstack import backup_record, cinder, glance
from restore_openstack.disks import VOLUME, disks_of
from restore_openstack.naming import name_of
from restore_openstack.server_definition import SERVER
from restore_openstack.volume_definition import VolumeDefinition, VolumeParameters, VolumeWork
from restore_openstack.volume_source import check_backup, check_snapshot
from restore_openstack.volume_type import check_volume_type, volume_type_of
from restore_openstack.zone import check_volume_zone, zone_of
from restore_worker.plugin import (
    BankData,
    Context,
    Produces,
    Report,
    RestorePlugin,
    Selection,
    Target,
)
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection


class VolumePlugin(RestorePlugin[VolumeDefinition, VolumeParameters, VolumeWork]):
    """Restores a volume through Heat, or through Cinder where Heat would lose something."""

    resource_type = VOLUME
    Definition = VolumeDefinition
    Parameters = VolumeParameters
    Work = VolumeWork
    isolates = True
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "data",
            "of a volume saved by Cinder backup or snapshot the bank has only the id: the target must hold it",
        ),
        ("volume_type", "the target's default type is used unless restore_volume_type names one"),
        ("multiattach", "it belongs to the volume type, which was not saved"),
        ("encryption", "it belongs to the volume type, which was not saved"),
        ("description", "the volume comes back without one unless restore_description gives it"),
        (
            "metadata",
            "it was not saved; a backup brings its own; src_backup_id and restore_worker_* are added to some",
        ),
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
        size = definition.size or definition.volume_size
        if definition.snapshot_id:
            # Cinder makes the volume of the snapshot's type, and in its zone.
            volume_type, zone = parameters.restore_volume_type, parameters.restore_availability_zone
            _check_zone_of_snapshot(zone, resource, report)
        else:
            volume_type = volume_type_of(resource, size, selection, report)
            zone = zone_of(resource, resource.extra_info.get("availability_zone"), selection, report)
        _check_type(definition, volume_type, servers, report)
        bootable = _bootable(resource, definition, servers, selection)
        records = backup_record.needed(definition.backup_id, parameters.backup_record, selection, report)
        # Heat would look for a backup that is not imported yet.
        wishes = (bootable, parameters.restore_size, volume_type, zone, records)
        direct = not definition.snapshot_id and bool(any(wishes) or not definition.backup_id)
        work = VolumeWork(
            name=name_of(resource, selection, report),
            description=parameters.restore_description,
            size=parameters.restore_size or size,
            volume_type=volume_type,
            availability_zone=zone,
            backup_id=definition.backup_id,
            snapshot_id=definition.snapshot_id,
            file=definition.image_metadata,
            chunks=definition.chunks_num,
            direct=direct,
            bootable=bootable,
            records=records,
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

    def check(self, resource: Resource, work: VolumeWork, target: Target, report: Report) -> None:
        """Look for what it is made of, its type and its zone, and claim the room that it needs."""
        size = work.size
        if work.backup_id is not None:
            size = check_backup(work, work.backup_id, target, report)
        elif work.snapshot_id is not None:
            size = check_snapshot(work, work.snapshot_id, target, report)
        elif data := self.data(work):
            glance.claim_room(resource, data, target, passing=True)
        check_volume_zone(work.availability_zone, target, report)
        kind = check_volume_type(work.volume_type, target, report)
        # One of a snapshot has the type of that.
        known = kind and (work.volume_type or not work.snapshot_id)
        for suffix in ("", f"_{kind}") if known else ("",):
            target.claim("volume", f"volumes{suffix}", 1)
            target.claim("volume", f"gigabytes{suffix}", size or 0)

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

    def clear(self, physical_id: str, connection: Connection) -> None:
        """Delete a volume that Cinder could not fill.

        Heat takes one whose backup could not be restored for whole, since its status is none that Heat knows.
        Others it would delete only once all of the stack is there: each failure would leave a copy.
        """
        cinder.clear(connection, physical_id)

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Delete the image that the volume was made of, then the volume."""
        glance.delete(context, resource.id, made)
        cinder.delete(context, resource.id, made)


def _check_source(definition: VolumeDefinition, parameters: VolumeParameters, report: Report) -> None:
    if definition.freezer:
        report.problem(
            "metadata.job_info", "it was saved by Freezer, which is not supported", "restore it with Freezer"
        )
    elif not (definition.backup_id or definition.snapshot_id or definition.image_metadata):
        report.problem("metadata", "it shows no backup, snapshot or image to restore from", "leave the volume out")
    size = definition.size or definition.volume_size
    if definition.image_metadata and not (size or parameters.restore_size):
        report.problem("metadata.volume_size", "it is missing", "give the size in restore_size")
    if size and parameters.restore_size and parameters.restore_size < size:
        report.problem("restore_size", f"the volume has {size} GiB", f"{parameters.restore_size} GiB are too few")


def _check_type(
    definition: VolumeDefinition, volume_type: str | None, servers: list[ResourceKey], report: Report
) -> None:
    if definition.snapshot_id and volume_type:
        report.finding("volume_type", "Cinder takes another type for a snapshot only on the same back end")
    # A volume made of a snapshot has the type of the snapshot.
    if len(servers) > 1 and not definition.snapshot_id and not volume_type:
        ids = ", ".join(server.id for server in servers)
        report.problem(
            "restore_volume_type",
            f"the servers {ids} share it, and its type is not in the bank",
            "name a type that allows multi-attach",
        )


def _check_zone_of_snapshot(zone: str | None, volume: Resource, report: Report) -> None:
    if zone not in (None, volume.extra_info.get("availability_zone")):
        reason = "Cinder takes another zone for a snapshot only with cloned_volume_same_az off"
        report.finding("availability_zone", reason)


def _bootable(
    volume: Resource, definition: VolumeDefinition, servers: list[ResourceKey], selection: Selection
) -> bool | None:
    """Return what Cinder must be told of the flag; a snapshot keeps it, and a volume made of an image gets it."""
    if definition.backup_id:
        return _boots_a_server(volume, servers, selection) or None
    known = (selection.definition(server) for server in servers)
    flags = {
        each.attach_metadata[volume.id].bootable for each in known if each and volume.id in each.attach_metadata
    }
    return False if definition.image_metadata and flags == {"false"} else None


def _boots_a_server(volume: Resource, servers: list[ResourceKey], selection: Selection) -> bool:
    definitions = ((server, selection.definition(server)) for server in servers)
    return any(
        disks_of(server, definition, selection).boot_volume == volume.id
        for server, definition in definitions
        if definition is not None
    )


def _build(resource: Resource, work: VolumeWork, context: Context) -> str | None:
    def attributes() -> dict[str, Any]:
        wanted = work.model_dump(include={"description", "size", "volume_type", "availability_zone", "backup_id"})
        backup_record.have(context, work.records)
        if work.file:
            wanted["image_id"] = glance.upload(context, resource.id, f"volume {resource.id}", work.file)
        return wanted

    volume_id = cinder.build(context, resource.id, work.name, attributes, bootable=work.bootable)
    if work.file and volume_id is not None:
        glance.delete(context, resource.id, {})
        context.gone("image")
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
