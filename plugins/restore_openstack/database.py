"""Database instances: Heat has Trove make them of a backup, which also holds their databases and users."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from restore_openstack import trove
from restore_openstack.database_definition import DatabaseDefinition, DatabaseParameters, DatabaseWork
from restore_openstack.flavor import flavor_of
from restore_openstack.lookups import networks, offer, or_none, require
from restore_openstack.naming import name_of
from restore_openstack.zone import check_server_zone, zone_of
from restore_worker.errors import CloudUnavailableError
from restore_worker.plugin import Context, Produces, Report, RestorePlugin, Selection, Target
from restore_worker.resource import Resource
from restore_worker.template import HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection

DATABASE = "OS::Trove::Instance"
# GiB: Heat takes no more, whatever Trove would.
_LARGEST = 150


class DatabasePlugin(RestorePlugin[DatabaseDefinition, DatabaseParameters, DatabaseWork]):
    """Has Heat make the instance of its backup."""

    resource_type = DATABASE
    Definition = DatabaseDefinition
    Parameters = DatabaseParameters
    Work = DatabaseWork
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        ("data", "of a database the bank has only the id of a backup: the target's Trove must hold it"),
        ("databases", "those in the backup come back with it, and no others"),
        ("users", "those in the backup come back with it, with their passwords of then, and no others"),
        (
            "addresses",
            "the instance comes back at other ones (openstack database instance show): tell its clients",
        ),
        ("availability_zone", "the target's default zone is used unless restore_availability_zone names one"),
        ("volume_type", "Heat cannot ask for one: the target's default type is used"),
        ("configuration", "the configuration group was not saved: attach one again"),
        ("access", "who may reach the instance from outside was not saved: it is as Trove makes one"),
        ("replica_of", "what was a replica was not saved: each comes back as an instance of its own"),
    )

    def prepare(
        self,
        resource: Resource,
        definition: DatabaseDefinition,
        parameters: DatabaseParameters,
        selection: Selection,
        report: Report,
    ) -> DatabaseWork:
        """Return what Heat is told."""
        size = parameters.restore_size or definition.size
        if size > _LARGEST:
            report.problem(
                "restore_size" if parameters.restore_size else "metadata.size",
                f"Heat builds no database instance of more than {_LARGEST} GiB, and this one has {size}",
                f"set restore_size to {_LARGEST} if the backup's data fit, else leave the instance out and make "
                f"it by hand (openstack database instance create --backup {definition.backup_id})",
            )
        name = name_of(resource, selection, report)
        if not name:
            report.finding("name", "it had none; Heat will name it after the stack")
        network = selection.mapped("network", None, resource, "networks", parameter="restore_net_id")
        if network is None:
            report.finding(
                "networks",
                "that of its clients was not saved, so that they may not reach it",
                "restore_net_id names a network",
            )
        return DatabaseWork(
            name=name,
            flavor=flavor_of(resource, definition.flavor.id, selection, report),
            size=size,
            backup_id=definition.backup_id,
            datastore=definition.datastore.type,
            datastore_version=parameters.restore_datastore_version or definition.datastore.version,
            network=network and network.value,
            availability_zone=zone_of(resource, None, selection, report),
        )

    def produces(self, work: DatabaseWork) -> Produces:
        """Heat builds it."""
        return Produces.RESOURCE

    def check(self, resource: Resource, work: DatabaseWork, target: Target, report: Report) -> None:
        """Look for the backup, datastore and version, flavor, network and zone."""
        trove.check(work, target, report)
        check_server_zone(work.availability_zone, target, report)
        if work.network is not None:
            known = networks(target)
            choices = (f"{each.id} ({each.name})" for each in known if not each.is_router_external)
            mend = offer("restore_net_id", choices, "openstack network list --internal")
            require(work.network, known, "network", mend, "restore_net_id", report)

    def restore(self, resource: Resource, work: DatabaseWork, template: HeatTemplate, context: Context) -> None:
        """Put the instance."""
        properties = {
            "name": work.name or None,
            "flavor": work.flavor,
            "size": work.size,
            "restore_point": work.backup_id,
            # Without it Trove takes its default one, and refuses a backup of another.
            "datastore_type": work.datastore,
            "datastore_version": work.datastore_version,
            "networks": [{"network": work.network}] if work.network else None,
            "availability_zone": work.availability_zone,
        }
        template.put_resource(resource.id, HeatResource(DATABASE, properties, title=work.name))

    def clear(self, physical_id: str, connection: Connection) -> None:
        """Delete an instance that Trove could not make: Heat would, but only once all of the stack is there."""
        instance = or_none(lambda: connection.database.get_instance(physical_id))
        if instance is not None and instance.status == "BUILD":
            raise CloudUnavailableError(f"database instance {physical_id} is still being built")
        if instance is not None and instance.status in ("ERROR", "FAILED"):
            connection.database.delete_instance(physical_id)
