"""Shares: Heat has Manila make them of a snapshot.

Manila takes type, network and zone of such a share from the snapshot's own one, and refuses others: none is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, Field

from restore_openstack.fields import Given, Id
from restore_openstack.lookups import has_service, or_none
from restore_openstack.naming import name_of
from restore_worker.errors import CloudUnavailableError
from restore_worker.plugin import (
    Context,
    Definition,
    Parameters,
    Produces,
    Report,
    RestorePlugin,
    Selection,
    Target,
)
from restore_worker.resource import Resource
from restore_worker.template import HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.shared_file_system.v2.share_snapshot import ShareSnapshot

SHARE = "OS::Manila::Share"
# As Heat spells them; Manila has capitals only.
_PROTOCOLS = {each.upper(): each for each in ("NFS", "CIFS", "GlusterFS", "HDFS", "CEPHFS")}
# Ocata: since then Manila tells whether it makes shares of a share's snapshots.
_TELLS_SUPPORT = "2.24"


class ShareDefinition(Definition):
    """The metadata of a share in the bank.

    size: GiB.
    share_type: id, or name as Manila's API before 2.6 has it.
    """

    snapshot_id: Id
    size: Annotated[int, Field(ge=1)]
    share_proto: str
    share_type: str | None = None
    share_network_id: str | None = None


class ShareParameters(Parameters):
    """What a user may set for a share.

    restore_name: instead of the original's.
    restore_description: the original's is not in the bank.
    """

    restore_name: Given | None = None
    restore_description: str | None = None


class ShareWork(BaseModel):
    """What comes back, and of what.

    size: GiB.
    protocol: as Heat spells it.
    share_type, share_network_id: the original's.
    """

    name: str
    description: str | None
    size: int
    protocol: str
    snapshot_id: str
    share_type: str | None
    share_network_id: str | None


class _Source(BaseModel):
    """The share that a snapshot is of, as Manila tells it."""

    share_type: str
    share_type_name: str
    share_network_id: str | None
    create_share_from_snapshot_support: bool


class _Answer(BaseModel):
    share: _Source


class SharePlugin(RestorePlugin[ShareDefinition, ShareParameters, ShareWork]):
    """Has Heat make the share of its snapshot."""

    resource_type = SHARE
    Definition = ShareDefinition
    Parameters = ShareParameters
    Work = ShareWork
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        ("data", "of a share the bank has only the id of a snapshot: the target's Manila must hold it"),
        ("access_rules", "who may use the share was not saved: allow it again (openstack share access create)"),
        (
            "export_locations",
            "the share comes back under other paths: have clients mount those in the stack's outputs",
        ),
        ("availability_zone", "Manila makes the share in the zone of the share that the snapshot is of"),
        ("description", "the share comes back without one unless restore_description gives it"),
        ("metadata", "the share's metadata was not saved"),
        ("is_public", "it was not saved: the share comes back private to the project"),
        ("share_group_id", "groups of shares were not saved"),
        ("replicas", "replicas of the share were not saved"),
    )

    def prepare(
        self,
        resource: Resource,
        definition: ShareDefinition,
        parameters: ShareParameters,
        selection: Selection,
        report: Report,
    ) -> ShareWork:
        """Return what Heat is told."""
        protocol = _PROTOCOLS.get(definition.share_proto.upper())
        if protocol is None:
            report.problem(
                "metadata.share_proto",
                f"Heat builds no shares of protocol {definition.share_proto!r}",
                "leave the share out, and make it by hand (openstack share create --snapshot-id "
                f"{definition.snapshot_id})",
            )
        return ShareWork(
            name=name_of(resource, selection, report),
            description=parameters.restore_description,
            size=definition.size,
            protocol=protocol or "",
            snapshot_id=definition.snapshot_id,
            share_type=definition.share_type,
            share_network_id=definition.share_network_id,
        )

    def produces(self, work: ShareWork) -> Produces:
        """Heat builds it."""
        return Produces.RESOURCE

    def check(self, resource: Resource, work: ShareWork, target: Target, report: Report) -> None:
        """Look for the snapshot, and whether Manila makes a share of it."""
        if not has_service("shared-file-system", target):
            report.problem(
                "snapshot_id",
                "the target has no Manila, which would hold the share's bytes",
                "restore to the cloud that made the snapshot, or leave the share out",
            )
            return
        snapshot = _find_snapshot(work.snapshot_id, target)
        if snapshot is None:
            report.problem(
                "snapshot_id",
                f"the project sees no share snapshot {work.snapshot_id} on the target, which has the bytes",
                "restore to the cloud and project that made it, or leave the share out",
            )
            return
        if snapshot.status != "available":
            report.problem(
                "snapshot_id",
                f"share snapshot {snapshot.id} of the target is in status {snapshot.status!r}",
                "it must be available",
            )
        _check_source(work, snapshot, target, report)

    def restore(self, resource: Resource, work: ShareWork, template: HeatTemplate, context: Context) -> None:
        """Put the share."""
        properties = {
            "name": work.name or None,
            "description": work.description,
            "share_protocol": work.protocol,
            "size": work.size,
            "snapshot": work.snapshot_id,
        }
        share = HeatResource(SHARE, properties, title=work.name, tells=("export_locations",))
        template.put_resource(resource.id, share)

    def clear(self, physical_id: str, connection: Connection) -> None:
        """Delete a share that Manila could not make: Heat would do that only once all of the stack is there."""
        manila = connection.shared_file_system
        share = or_none(lambda: manila.get_share(physical_id))
        if share is not None and share.status.startswith("creating"):
            raise CloudUnavailableError(f"share {physical_id} is still {share.status}")
        if share is not None and share.status == "error":
            manila.delete_share(physical_id)


def _find_snapshot(snapshot_id: str, target: Target) -> ShareSnapshot | None:
    manila = target.connection().shared_file_system
    # It lists a thousand at most.
    known = target.look("share snapshots", lambda: {each.id: each for each in manila.share_snapshots()})
    return known.get(snapshot_id) or target.look(
        f"share snapshot {snapshot_id}", lambda: or_none(lambda: manila.get_share_snapshot(snapshot_id))
    )


def _check_source(work: ShareWork, snapshot: ShareSnapshot, target: Target, report: Report) -> None:
    """Look at the share that the snapshot is of: Manila deletes none that has snapshots."""
    share_id = snapshot.share_id
    source = target.look(f"share {share_id}", lambda: _find_source(share_id, target.connection()))
    if source is None:
        return
    if not source.create_share_from_snapshot_support:
        report.problem(
            "snapshot_id",
            f"Manila of the target makes no shares of the snapshots of share {share_id}: type "
            f"{source.share_type_name} did not have create_share_from_snapshot_support when that was made",
            f"leave the share out, and revert that one (openstack share revert {snapshot.id})",
        )
    if work.share_type not in (None, source.share_type, source.share_type_name):
        report.finding(
            "share_type", f"share {share_id} has type {source.share_type_name} by now, and so will the new one"
        )
    if work.share_network_id != source.share_network_id:
        network = f"is on share network {source.share_network_id}" if source.share_network_id else "is on none"
        report.finding("share_network_id", f"share {share_id} {network} by now, and so will be the new one")


def _find_source(share_id: str, connection: Connection) -> _Source | None:
    # Without a version Manila tells as little as it did at first.
    response = connection.shared_file_system.get(f"/shares/{share_id}", microversion=_TELLS_SUPPORT)
    return _Answer.model_validate_json(response.content).share if response.ok else None
