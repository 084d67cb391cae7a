"""The comparison of a restored application with the original finds whatever is not the same."""

import pytest

from restore_worker.registry import installed
from tests.cloud.compare import Difference, allowed_differences, compare, not_allowed
from tests.cloud.records import GroupRecord, PortRecord, Record, VolumeRecord

IDS = {
    "port": "new-port",
    "net": "new-net",
    "subnet": "new-subnet",
    "web": "new-web",
    "db": "new-db",
    "s": "new-s",
}
PORT = {
    "network_id": "net",
    "name": "p",
    "description": "",
    "device_id": "s",
    "mac_address": "fa:16:3e:00:00:01",
    "admin_state_up": True,
    "fixed_ips": [{"subnet_id": "subnet", "ip_address": "10.0.0.7"}],
    "security_groups": ["web", "db"],
    "allowed_address_pairs": [],
    "port_security_enabled": True,
    "binding:vnic_type": "normal",
    "qos_policy_id": None,
    "dns_name": None,
    "tags": [],
}
MAPPED = PORT | {
    "network_id": "new-net",
    "device_id": "new-s",
    "fixed_ips": [{"subnet_id": "new-subnet", "ip_address": "10.0.0.7"}],
    "security_groups": ["new-db", "new-web"],
}
RULE = {
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": 80,
    "port_range_max": 80,
    "remote_ip_prefix": None,
    "remote_group_id": "db",
    "remote_address_group_id": None,
    "description": None,
}
VOLUME = {
    "name": "v",
    "size": 1,
    "content": "00",
    "bootable": False,
    "availability_zone": "nova",
    "volume_type": "standard",
    "multiattach": False,
    "encrypted": False,
    "description": None,
    "metadata": {},
    "volume_image_metadata": None,
    "group_id": None,
}


def group(*rules) -> Record:
    fields = {"name": "web", "description": "", "stateful": True, "tags": []}
    return GroupRecord.model_validate(
        fields | {"security_group_rules": rules, "security_group_rules.description": rules}
    )


def ports(**changes) -> list[Difference]:
    original, restored = PortRecord.model_validate(PORT), PortRecord.model_validate(MAPPED | changes)
    return compare({"port": original}, {"new-port": restored}, IDS)


def test_what_has_new_ids_and_another_order_is_the_same():
    assert ports() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mac_address", "fa:16:3e:00:00:02"),
        ("security_groups", ["new-web"]),
        ("fixed_ips", [{"subnet_id": "new-subnet", "ip_address": "10.0.0.8"}]),
        ("fixed_ips", [{"subnet_id": "subnet", "ip_address": "10.0.0.7"}]),
        ("device_id", "s"),
    ],
)
def test_a_port_that_came_back_otherwise_is_found(field, value):
    (found,) = ports(**{field: value})
    assert (found.type, found.field) == ("OS::Neutron::Network", f"port_metadata.{field}")
    assert found.original_id == "port"
    assert not_allowed([found]) == [found]


def test_a_difference_that_the_page_tells_is_allowed():
    (found,) = ports(tags=["a"])
    assert found.field == "port_metadata.tags"
    assert not_allowed([found]) == []


def test_what_comes_back_otherwise_than_the_page_says_is_not_allowed():
    (found,) = ports(**{"binding:vnic_type": "direct"})
    assert found.field == "port_metadata.binding:vnic_type"
    assert not_allowed([found]) == [found]
    assert not_allowed([found._replace(original="direct", restored="normal")]) == []


@pytest.mark.parametrize(
    ("original", "restored", "allowed"),
    [
        ({"a": "b"}, {}, False),
        ({}, {"restore_worker_restore": "r", "restore_worker_original": "v"}, True),
        ({}, {"src_backup_id": "b"}, True),
        (
            {"a": "b"},
            {"a": "b", "src_backup_id": "b", "restore_worker_restore": "r", "restore_worker_original": "v"},
            True,
        ),
        ({}, {"restore_worker_original": "v"}, False),
        ({}, {"restore_worker_restore": "r", "restore_worker_original": "another"}, False),
        ({}, {"restore_worker_restore": "r", "restore_worker_original": "v", "a": "b"}, False),
    ],
)
def test_a_volume_has_the_marks_of_its_restore_and_no_other_metadata(original, restored, allowed):
    found = Difference("OS::Cinder::Volume", "metadata", "v", original, restored)
    assert not_allowed([found]) == ([] if allowed else [found])


def test_rules_are_compared_by_what_they_say():
    before, same = group(RULE), group(RULE | {"remote_group_id": "new-db"})
    assert compare({"web": before}, {"new-web": same}, IDS) == []
    other = group(RULE | {"remote_group_id": "new-web"})
    assert [each.field for each in compare({"web": before}, {"new-web": other}, IDS)] == [
        "security-group_metadata.security_group_rules",
        "security-group_metadata.security_group_rules.description",
    ]
    described = group(RULE | {"remote_group_id": "new-db", "description": "why"})
    assert [each.field for each in compare({"web": before}, {"new-web": described}, IDS)] == [
        "security-group_metadata.security_group_rules.description"
    ]


def test_what_is_missing_and_what_is_new_is_found():
    port = PortRecord.model_validate(PORT)
    missing, new = compare({"port": port}, {"another": port}, IDS)
    assert (missing.original_id, missing.original, missing.restored) == ("port", port, None)
    assert (new.original_id, new.original, new.restored) == ("", None, port)
    assert not_allowed([missing, new]) == [missing, new]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encrypted": True, "volume_image_metadata": {"a": "b"}}, []),
        ({"volume_type": "premium"}, ["volume_type"]),
        ({"content": "01", "size": 2}, ["size", "content"]),
        ({"bootable": True}, ["bootable"]),
    ],
)
def test_what_was_not_saved_of_a_volume_may_differ_but_not_its_bytes(changes, expected):
    before, after = VolumeRecord.model_validate(VOLUME), VolumeRecord.model_validate(VOLUME | changes)
    differences = compare({"v": before}, {"w": after}, {"v": "w"})
    assert len(differences) >= len(changes)
    assert [each.field for each in not_allowed(differences)] == expected


def test_the_page_is_read_as_the_plugins_say_it():
    registry = installed()
    said = {(each, field) for each in registry.types for field, _ in registry[each].not_in_bank}
    assert allowed_differences() == said
    assert said
