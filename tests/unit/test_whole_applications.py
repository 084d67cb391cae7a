"""What belongs together in the bank belongs together in the template."""

from __future__ import annotations

import json

import pytest
import yaml

from restore_worker import restore
from tests.support import banks, nodes
from tests.support.sample_banks import WEBAPP
from tests.support.tenants import tenant


@pytest.fixture(params=["karbor", 1, 2])
def bank(request, tmp_path):
    """Give the bank of an application of several servers."""
    if request.param == "karbor":
        return WEBAPP
    banks.write(tenant(servers=6, networks=3, seed=request.param), tmp_path / "karbor")
    return tmp_path


def ports_in(bank):
    """Return for every server in the bank's only checkpoint its ports: network, MAC and addresses of each."""
    (metadata,) = (
        found
        for path in bank.glob("karbor/checkpoints/*/resource-data/*/metadata")
        if "port_metadata" in (found := json.loads(path.read_text()))
    )
    owned = {}
    for text in metadata["port_metadata"].values():
        port = json.loads(text) if isinstance(text, str) else text
        if port["device_owner"].startswith("compute:"):
            addresses = sorted(each["ip_address"] for each in port["fixed_ips"])
            owned.setdefault(port["device_id"], []).append((port["network_id"], port["mac_address"], addresses))
    return {server_id: sorted(ports) for server_id, ports in owned.items()}


def test_every_server_gets_its_own_ports(bank):
    resources = yaml.safe_load(restore.plan("latest", bank=bank, verify=False).hots[0].text)["resources"]

    def connected(server):
        for nic in server["properties"]["networks"]:
            port = resources[nic["port"]["get_resource"]]["properties"]
            network = port["network"]["get_resource"].removeprefix("net_")
            yield network, port["mac_address"], sorted(each["ip_address"] for each in port["fixed_ips"])

    servers = {name: each for name, each in resources.items() if each["type"] == nodes.SERVER}
    assert {name.removeprefix("server_"): sorted(connected(each)) for name, each in servers.items()} == ports_in(
        bank
    )
