"""Servers: Heat builds them on what was restored before, and attaches their volumes in the original order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from restore_openstack.disks import IMAGE, Disks, disks_of
from restore_openstack.flavor import check_fit, check_flavor, flavor_of
from restore_openstack.floating_ip import FloatingIp, by_site_map, floating_ips_of, tell_policy
from restore_openstack.key_pair import KeyPair, check_key_pair, discard_key_pair, key_pair_of, put_key_pair
from restore_openstack.naming import name_of
from restore_openstack.nics import NETWORK, Link, Nics, is_isolated, network_of, nics_of
from restore_openstack.server_definition import SERVER, ServerDefinition, ServerMetadata, ServerParameters
from restore_openstack.topology import NetworkDefinition, NetworkParameters
from restore_openstack.zone import check_server_zone, zone_of
from restore_worker.plugin import Context, Produces, Report, RestorePlugin, Selection, Target
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.image.v2.image import Image


class ServerWork(BaseModel):
    """What comes back; ids are original ones.

    public_key: for a key pair that is created.
    boot_image, boot_volume: one of them.
    data_volumes: in the order in which they are attached.
    """

    name: str
    flavor: str
    key_name: str | None
    public_key: str | None = None
    availability_zone: str | None
    boot_image: Link | None
    boot_volume: str | None
    data_volumes: list[str]
    nics: Nics
    floating_ips: list[FloatingIp]


class ServerPlugin(RestorePlugin[ServerDefinition, ServerParameters, ServerWork]):
    """Joins a server with its disks and ports and has Heat build it."""

    resource_type = SERVER
    Definition = ServerDefinition
    Parameters = ServerParameters
    Work = ServerWork
    isolates = True
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "user_data",
            "it was not saved; what cloud-init did is on the disk, but it may run again on the new server",
        ),
        ("metadata", "the server's metadata was not saved"),
        ("tags", "the server's tags were not saved"),
        ("description", "the server's description was not saved"),
        ("config_drive", "it was not saved; the target's default is used"),
        ("scheduler_hints", "server groups and other hints for placement were not saved"),
        ("power_state", "it was not saved: every server comes back running, unlocked"),
        ("network_order", "the order of several interfaces on one network was not saved"),
        ("mountpoint", "volumes are attached in the original order, but Nova chooses the devices' names"),
        ("local disks", "ephemeral and swap disks come back empty, as the flavor has them"),
        ("admin_pass", "it was not saved; passwords are as on the disk"),
        (
            "floating_ips",
            "each comes back as another address unless they are existing; which port had which was not saved",
        ),
    )

    def implied_dependencies(self, resource: Resource, selection: Selection) -> Iterable[ResourceKey]:
        """Return the network node with the server's ports, which the graph has no edge to."""
        network = network_of(resource.id, selection.definition(resource.key), selection)
        if network is None:
            return ()
        # On a network of the target it needs none of its own, but if they come back anyway, their groups.
        given = selection.parameters(resource.key).restore_net_id is not None
        return () if given and not selection.chosen(network) else (network,)

    def prepare(
        self,
        resource: Resource,
        definition: ServerDefinition,
        parameters: ServerParameters,
        selection: Selection,
        report: Report,
    ) -> ServerWork:
        """Join the server's disks, ports and addresses."""
        metadata = definition.server_metadata
        disks = disks_of(resource.key, definition, selection)
        name = name_of(resource, selection, report)
        if not name:
            report.finding("name", "it had none; Heat will name it after the stack")
        key_pair = key_pair_of(resource, metadata.key_name, selection, report)
        _tell_disks(disks, definition, parameters, report)
        topology, wanted = _network(resource.key, selection)
        apart = is_isolated(resource.key, selection)
        network = wanted
        if metadata.floating_ips and not apart:
            network = by_site_map(wanted, resource.id, topology, selection)
        nics, losses = nics_of(resource.key, topology, selection)
        for field, reason in losses:
            report.finding(field, reason)
        if apart:
            _check_isolated(metadata, nics, parameters, topology, network, report)
        floating_ips = floating_ips_of(resource.id, metadata, parameters, topology, network, report, apart=apart)
        if network.floating_ips != wanted.floating_ips:
            tell_policy(resource, dict.fromkeys(metadata.floating_ips), floating_ips, selection)
        return ServerWork(
            name=name,
            flavor=flavor_of(resource, metadata.flavor, selection, report),
            key_name=key_pair.name,
            public_key=key_pair.public_key,
            availability_zone=zone_of(resource, metadata.availability_zone, selection, report),
            boot_image=_image(resource, disks.boot_image, selection, report),
            boot_volume=disks.boot_volume,
            data_volumes=list(disks.data_volumes),
            nics=nics,
            floating_ips=floating_ips,
        )

    def produces(self, work: ServerWork) -> Produces:
        """Heat builds it."""
        return Produces.RESOURCE

    def check(self, resource: Resource, work: ServerWork, target: Target, report: Report) -> None:
        """Look for flavor, key pair, zone, networks, groups, and image and addresses unless they are made anew."""
        target.claim("compute", "instances", 1)
        flavor = check_flavor(work.flavor, target, report)
        check_key_pair(KeyPair(work.key_name, work.public_key), target, report)
        check_server_zone(work.availability_zone, target, report)
        if work.boot_image is not None and work.boot_image.original_id is None:
            image = _check_image(work.boot_image.otherwise, target, report)
            if image is not None and flavor is not None:
                check_fit(flavor, image, report)
        work.nics.check(target, report)
        for floating_ip in work.floating_ips:
            floating_ip.check(target, report)

    def restore(self, resource: Resource, work: ServerWork, template: HeatTemplate, context: Context) -> None:
        """Put the server, the attachments of its volumes and its floating IPs."""
        boot = None
        if work.boot_volume is not None:
            volume = template.get_resource_reference(work.boot_volume)
            boot = [{"volume_id": volume, "boot_index": 0, "delete_on_termination": False}]
        properties = {
            "name": work.name or None,
            "flavor": work.flavor,
            "image": work.boot_image.value(template) if work.boot_image else None,
            "block_device_mapping_v2": boot,
            "key_name": put_key_pair(resource, KeyPair(work.key_name, work.public_key), template, context),
            "availability_zone": work.availability_zone,
            "user_data_format": "RAW",
            **work.nics.properties(template),
        }
        first = work.nics.first(template)
        server = HeatResource(SERVER, properties, first, work.name, tells=("networks",))
        template.put_resource(resource.id, server)
        _attach(resource.id, work.data_volumes, template)
        for floating_ip in work.floating_ips:
            floating_ip.put(work.name or resource.id, template, context)

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Delete the key pair that was created."""
        discard_key_pair(made.get("key pair"), context)


def _network(server: ResourceKey, selection: Selection) -> tuple[NetworkDefinition | None, NetworkParameters]:
    """Return the topology that is restored before the server, and what the user wants of it."""
    node = next((child for child in selection.children(server) if child.type == NETWORK), None)
    if node is None:
        return None, NetworkParameters()
    return selection.definition(node.key), selection.parameters(node.key)


def _check_isolated(
    metadata: ServerMetadata,
    nics: Nics,
    parameters: ServerParameters,
    topology: NetworkDefinition | None,
    network: NetworkParameters,
    report: Report,
) -> None:
    """Tell what keeps a server from being apart from what lives."""
    if topology is not None and not network.isolated:
        report.problem("isolated", "its network is not", "set isolated for OS::Neutron::Network, too")
    if parameters.restore_net_id is not None:
        report.problem("restore_net_id", "an isolated copy has no interface on it", "leave it out")
    elif metadata.networks and not nics.nics:
        networks = ", ".join(metadata.networks)
        report.problem(
            "networks",
            f"none of its networks is in the checkpoint ({networks}), and an isolated copy has no interface on "
            "others",
            "leave the server out",
        )


def _tell_disks(disks: Disks, definition: ServerDefinition, parameters: ServerParameters, report: Report) -> None:
    if definition.snapshot_id is not None:
        report.problem(
            "metadata.snapshot_id",
            "a Karbor from before 2017 saved its disk, in a form that cannot be read",
            "leave the server out",
        )
        return
    for volume, device in disks.lost:
        report.finding(
            "attach_metadata", f"volume {volume} ({device}) is not in the checkpoint with it: not attached"
        )
    others = ", ".join(disks.data_volumes)
    if disks.guessed:
        report.finding(
            "boot_volume_id",
            f"the bank does not tell which volume it booted from; it boots from {disks.boot_volume}, which Nova "
            "listed first",
            f"boot_volume_id names another: {others}",
        )
    attached = definition.attach_metadata
    if len(disks.data_volumes) > 1 and not all(
        each in attached and attached[each].device for each in disks.data_volumes
    ):
        report.finding(
            "attach_metadata",
            f"the bank does not tell the devices of all its volumes, so their order may be another: {others}",
        )
    if disks.boot_image is None and disks.boot_volume is None:
        known = definition.boot_metadata.boot_volume_id if definition.boot_metadata else None
        wanted = parameters.boot_volume_id or known
        report.problem(
            "boot_volume_id",
            f"{f'volume {wanted}' if wanted else 'what it booted from'} is not in the checkpoint with it",
            f"name one of its volumes: {others}" if others else "leave the server out",
        )


def _image(server: Resource, image_id: str | None, selection: Selection, report: Report) -> Link | None:
    """Return the image to boot from, and tell whose disk it holds."""
    if image_id is None:
        return None
    image = next((child for child in selection.children(server.key) if child.key == (IMAGE, image_id)), None)
    if image is None:
        if mapped := selection.mapped("image", image_id, server, "image"):
            return Link(otherwise=mapped.value)
        report.finding(
            "image", f"image {image_id} is not in the checkpoint", "it must be on the target under that id"
        )
        return Link(otherwise=image_id)
    definition = selection.definition(image.key)
    if definition is not None and definition.server_id is None:
        report.finding("image", "it boots from the image as it was: what it wrote to its disk is not in the bank")
    elif definition is not None and definition.server_id != server.id:
        report.finding(
            "image",
            f"it comes back with the disk of server {definition.server_id}: the bank has one snapshot for all "
            "servers of that image",
        )
    return Link(original_id=image_id, otherwise=image_id)


def _attach(server_id: str, volumes: Iterable[str], template: HeatTemplate) -> None:
    """Put the attachments, each after the one before, so that the devices keep their order."""
    before: list[str] = []
    for volume in volumes:
        properties = {
            "instance_uuid": template.get_resource_reference(server_id),
            "volume_id": template.get_resource_reference(volume),
        }
        first = [template.get_resource_reference(each) for each in before]
        attachment = HeatResource("OS::Cinder::VolumeAttachment", properties, first, output=False)
        before = [f"attachment:{server_id}:{volume}"]
        template.put_resource(before[0], attachment)


def _check_image(image: str, target: Target, report: Report) -> Image | None:
    """Return the target's image, None once the report is told that there is none to use."""
    from openstack.image.v2.image import Image

    glance = target.connection().image
    found = target.look(f"image {image}", lambda: glance.find_image(image, ignore_missing=True))
    if not isinstance(found, Image) or found.status != "active":
        status = "has no" if found is None else f"cannot use ({found.status})"
        report.problem(
            "image",
            f"the target {status} image {image}, which the checkpoint does not hold",
            f"put it there (openstack image create --id {image} --file FILE NAME), or leave the server out",
        )
        return None
    return found
