"""Deletes what an application is made of, by the beginning of its names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from openstack import exceptions
from openstack.connection import Connection

# Seconds that one thing may take on a loaded machine.
_PATIENCE = 300


def lose(cloud: Connection, name: str) -> None:
    """Delete the application, and wait until it is gone; its key pair and backups of its volumes stay."""
    servers = list(_named(name, cloud.compute.servers()))
    for server in servers:
        cloud.compute.delete_server(server)
    for server in servers:
        cloud.compute.wait_for_delete(server, interval=1, wait=_PATIENCE)
    _lose_networks(cloud, name)
    volumes = list(_named(name, cloud.block_storage.volumes()))
    for volume in volumes:
        cloud.block_storage.wait_for_status(volume, "available", ["error_deleting"], interval=1, wait=_PATIENCE)
        cloud.block_storage.delete_volume(volume)
    for volume in volumes:
        cloud.block_storage.wait_for_delete(volume, interval=1, wait=_PATIENCE)
    for image in _named(name, cloud.image.images()):
        cloud.image.delete_image(image)


def remove(cloud: Connection, name: str) -> None:
    """Delete all that bears the application's name, backups, snapshots and key pairs too."""
    cinder = cloud.block_storage
    backups = list(_named(name, cinder.backups()))
    for backup in backups:
        _settle(cloud, backup)
    snapshots = list(_named(name, cinder.snapshots()))
    for snapshot in snapshots:
        cinder.delete_snapshot(snapshot)
    for snapshot in snapshots:
        cinder.wait_for_delete(snapshot, interval=1, wait=_PATIENCE)
    lose(cloud, name)
    for backup in backups:
        cinder.delete_backup(backup)
    for backup in backups:
        cinder.wait_for_delete(backup, interval=1, wait=_PATIENCE)
    for key in _named(name, cloud.compute.keypairs()):
        cloud.compute.delete_keypair(key)


def _settle(cloud: Connection, backup: Any) -> None:
    """Wait until Cinder has done with a backup: if a server goes meanwhile, its volume is in use for ever."""
    if backup.status == "creating":
        with contextlib.suppress(exceptions.ResourceFailure):
            cloud.block_storage.wait_for_status(backup, "available", ["error"], interval=1, wait=_PATIENCE)


def _lose_networks(cloud: Connection, name: str) -> None:
    neutron = cloud.network
    networks = list(_named(name, neutron.networks()))
    ports = [port for network in networks for port in neutron.ports(network_id=network.id)]
    leading_here = {port.id for port in ports}
    for address in neutron.ips():
        if address.port_id in leading_here:
            neutron.delete_ip(address)
    for router in _named(name, neutron.routers()):
        neutron.update_router(router, routes=[])
        for port in neutron.ports(device_id=router.id, device_owner="network:router_interface"):
            neutron.remove_interface_from_router(router, port=port.id)
        neutron.delete_router(router)
    for network in networks:
        for port in neutron.ports(network_id=network.id):
            neutron.delete_port(port)
        neutron.delete_network(network)
    for group in _named(name, neutron.security_groups()):
        neutron.delete_security_group(group)


def _named(name: str, resources: Iterable[Any]) -> Iterator[Any]:
    return (each for each in resources if (each.name or "").startswith(f"{name}-"))
