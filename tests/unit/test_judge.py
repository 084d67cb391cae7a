"""The judge of templates is as strict as Heat: a judge that says yes to everything makes other tests worthless."""

import subprocess
import sys

import pytest

from tests.support.judge import judge

NETWORK = {
    "n": {"type": "OS::Neutron::Net"},
    "sn": {"type": "OS::Neutron::Subnet", "properties": {"network": {"get_resource": "n"}, "cidr": "10.0.0.0/24"}},
}
DATABASE = {"flavor": "7", "size": 1}
GATEWAY = {"router_id": "r", "network": "n"}


def hot(resources, **sections):
    # JSON-like text is YAML too.
    return repr({"heat_template_version": "2016-10-14", "resources": resources, **sections})


def port(**properties):
    return {"type": "OS::Neutron::Port", "properties": {"network": {"get_resource": "n"}, **properties}}


def server(**properties):
    return {"type": "OS::Nova::Server", "properties": {"flavor": "2", **properties}}


def test_it_tells_the_order_of_creation():
    boot = [{"volume_id": {"get_resource": "v"}, "boot_index": 0}]
    resources = {
        "s": server(block_device_mapping_v2=boot, networks=[{"port": {"get_resource": "p"}}]),
        "p": port(fixed_ips=[{"subnet": {"get_resource": "sn"}, "ip_address": "10.0.0.4"}]),
        "v": {"type": "OS::Cinder::Volume", "properties": {"backup_id": "b"}, "depends_on": ["p"]},
        **NETWORK,
    }
    assert judge(hot(resources)) == ["n", "sn", "p", "v", "s"]


def test_parameters_without_a_value_get_one():
    parameters = {
        "image": {"type": "string", "constraints": [{"custom_constraint": "glance.image"}]},
        "flavor": {"type": "string", "default": "2"},
    }
    resources = {"s": server(image={"get_param": "image"}, flavor={"get_param": "flavor"}, metadata={"a": "b"})}
    assert judge(hot(resources, parameters=parameters)) == ["s"]
    assert judge(hot(resources, parameters=parameters), {"image": "i"}) == ["s"]


def test_a_value_that_no_parameter_takes_is_refused():
    with pytest.raises(Exception, match=r"\(x\) was not defined"):
        judge(hot(NETWORK), {"x": "y"})


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ({"p": port(mac_address="fa:16")}, "Invalid MAC address"),
        ({"p": port(fixed_ips=[{"ip_address": "10.0.0.400"}])}, "Invalid IP address"),
        # Heat itself sees this one only when it creates the port.
        ({"p": port(fixed_ips=[{"subnet": {"get_resource": "sn"}, "ip_address": "10.0.0.400"}])}, "Invalid IP"),
        ({"p": port(fixed_ips=[{"subnet": {"get_resource": "sn"}, "no_such": "1"}])}, "Unknown Property no_such"),
        ({"p": port(allowed_address_pairs=[{"ip_address": "10.0.0.0/64"}])}, "allowed_address_pairs"),
        ({"p": port(dns_name="a_b.")}, "dns_name"),
        ({"p": port(network="")}, "network"),
        ({"p": port(no_such="1")}, "Unknown Property no_such"),
        ({"p": port(network={"get_resource": "lost"})}, '"lost"'),
        ({"p": port(network={"get_param": "lost"})}, "lost"),
        ({"p": {"type": "OS::Neutron::Port"}}, "network"),
        ({"p": port() | {"depends_on": ["lost"]}}, "lost"),
        ({"p": port() | {"depends_on": ["p"]}}, "Circular Dependency"),
        ({"x": {"type": "OS::No::Such"}}, "OS::No::Such"),
        ({"g": {"type": "OS::Neutron::SecurityGroup", "properties": {"name": "default"}}}, "default"),
        ({"v": {"type": "OS::Cinder::Volume", "properties": {"name": "no size"}}}, "size"),
        ({"s": server()}, "Neither image nor bootable volume"),
        ({"s": server(image="i", networks=[{"port": "p"}], security_groups=["g"])}, "security_groups"),
        ({"s": server(image="i", user_data_format="YES")}, "user_data_format"),
        ({"a/b": {"type": "OS::Neutron::Net"}}, "/"),
        ({"d": {"type": "OS::Trove::Instance", "properties": {"flavor": "7", "size": 151}}}, "size"),
        ({"d": {"type": "OS::Trove::Instance", "properties": DATABASE | {"datastore_version": "5"}}}, "datastore"),
        (
            {"m": {"type": "OS::Manila::Share", "properties": {"size": 1, "share_protocol": "nfs"}}},
            "share_protocol",
        ),
    ],
)
def test_what_heat_refuses_is_refused(resources, reason):
    with pytest.raises(Exception, match=reason):
        judge(hot(NETWORK | resources))


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"type": "OS::Nova::FloatingIP", "properties": {"pool": "p"}}, "type OS::Nova::FloatingIP is HIDDEN"),
        (
            {"type": "OS::Neutron::RouterGateway", "properties": GATEWAY},
            "type OS::Neutron::RouterGateway is HIDDEN",
        ),
        ({"type": "OS::Neutron::Port", "properties": {"network_id": "n"}}, "property network_id is HIDDEN"),
        (port(fixed_ips=[{"subnet_id": "sn"}]), "property fixed_ips.subnet_id is HIDDEN"),
        (server(image="i", networks=[{"uuid": "n"}]), "property networks.uuid is HIDDEN"),
        (server(image="i", personality={"/a": "b"}), "personality"),
    ],
)
def test_what_heat_no_longer_wants_is_refused(resource, reason):
    with pytest.raises(Exception, match=reason):
        judge(hot(NETWORK | {"r": resource}))


@pytest.mark.parametrize("value", [{"get_resource": "lost"}, {"get_param": "lost"}, {"get_attr": ["n", "lost"]}])
def test_an_output_must_have_a_value(value):
    with pytest.raises(Exception, match="lost"):
        judge(hot(NETWORK, outputs={"o": {"value": value}}))


@pytest.mark.parametrize("text", ["", "a: [", "- a", "resources: {}", "heat_template_version: '1999-01-01'"])
def test_what_is_no_template_is_refused(text):
    with pytest.raises(Exception, match="emplate"):
        judge(text)


PROGRAM = """
import socket, threading, time
before = threading.Thread.start, threading.Lock, threading.get_ident, time.sleep, socket.socket
import celery
from tests.support.judge import judge
print(judge({text!r}))
print(before == (threading.Thread.start, threading.Lock, threading.get_ident, time.sleep, socket.socket))
"""


def test_it_leaves_threads_alone_and_works_beside_celery_when_warnings_are_errors():
    program = PROGRAM.format(text=hot(NETWORK))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("['n', 'sn']\nTrue\n", "", 0)
