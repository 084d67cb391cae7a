import itertools

import neutron_lib.constants
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.template import fragment_name
from tests.support import nodes
from tests.support.networks import Restored, restore_network

EGRESS = [{"direction": "egress", "ethertype": "IPv4"}, {"direction": "egress", "ethertype": "IPv6"}]
NOWHERE = {"direction": "egress", "ethertype": "IPv4", "remote_ip_prefix": "127.0.0.1/32"}
WHERE = "security-group_metadata"


def bare(group_id, *rules, name=None, **fields):
    """A group without Neutron's own egress rules; rules have ids <group>-rule-<number from 2>."""
    group = nodes.group(group_id, name or group_id, rules, **fields)
    return group | {"security_group_rules": group["security_group_rules"][2:]}


def egress(**fields):
    return nodes.rule(direction="egress", **fields)


def rules_of(restored: Restored, group_id):
    return restored.properties(group_id)["rules"]


def test_a_group_comes_back_with_all_its_rules():
    restored = restore_network(
        groups=[
            nodes.group(
                "web",
                "web ünd mehr",
                [
                    nodes.rule(protocol="tcp", port_range_min=80, port_range_max=90, remote_ip_prefix="0.0.0.0/0"),
                    nodes.rule(ethertype="IPv6", protocol="ipv6-icmp", port_range_min=128, port_range_max=0),
                    nodes.rule(protocol="icmp", port_range_min=8, port_range_max=0),
                    nodes.rule(protocol="112"),
                    nodes.rule(),
                ],
                description="yes",
            )
        ]
    )
    ipv4 = {"direction": "ingress", "ethertype": "IPv4"}
    assert restored.properties("web") == {
        "name": "web ünd mehr",
        "description": "yes",
        "rules": [
            *EGRESS,
            {
                **ipv4,
                "protocol": "tcp",
                "port_range_min": 80,
                "port_range_max": 90,
                "remote_ip_prefix": "0.0.0.0/0",
            },
            {
                "direction": "ingress",
                "ethertype": "IPv6",
                "protocol": "ipv6-icmp",
                "port_range_min": 128,
                "port_range_max": 0,
            },
            {**ipv4, "protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
            {**ipv4, "protocol": "112"},
            ipv4,
        ],
    }
    assert restored.findings == []


def test_egress_rules_replace_those_that_let_everything_out():
    only_dns = egress(protocol="udp", port_range_min=53, port_range_max=53)
    restored = restore_network(groups=[bare("strict", only_dns)])
    assert [rule["direction"] for rule in rules_of(restored, "strict")] == ["egress"]
    assert restored.findings == []


@pytest.mark.parametrize("rules", [[], [nodes.rule(protocol="tcp")]])
def test_a_group_that_lets_nothing_out_gets_a_rule_that_matches_nothing(rules):
    restored = restore_network(groups=[bare("closed", *rules)])
    assert rules_of(restored, "closed")[len(rules) :] == [NOWHERE]
    assert "127.0.0.1/32" in restored.told(f"{WHERE}.closed.security_group_rules")


def test_default_comes_back_under_another_name_and_refers_to_itself():
    restored = restore_network(
        groups=[nodes.group("d", "default", [nodes.rule(remote_group_id="d")])],
        networks=[nodes.net("net")],
        ports=[nodes.port("port", "net", {}, security_groups=["d"])],
    )
    assert restored.properties("d")["name"] == "default-restored"
    assert rules_of(restored, "d")[2] == {
        "direction": "ingress",
        "ethertype": "IPv4",
        "remote_mode": "remote_group_id",
    }
    assert "default-restored" in restored.told(f"{WHERE}.d.name")
    assert restored.properties("port")["security_groups"] == [restored.ref("d")]


def test_a_remote_group_is_referred_to_by_its_id_whatever_its_name():
    restored = restore_network(
        groups=[
            nodes.group("a", "same", [nodes.rule(protocol="tcp", remote_group_id="b")]),
            nodes.group("b", "same"),
        ]
    )
    assert rules_of(restored, "a")[2] == {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "remote_mode": "remote_group_id",
        "remote_group_id": restored.ref("b"),
    }
    assert restored.order == ["security_group_b", "security_group_a"]


def test_a_remote_group_that_the_bank_lacks_must_be_on_the_target():
    restored = restore_network(groups=[nodes.group("a", "a", [nodes.rule(remote_group_id="far")])])
    assert restored.value("far") == "far"
    assert restored.fragments["far"].constraint == "neutron.security_group"
    assert rules_of(restored, "a")[2]["remote_group_id"] == {"get_param": "p_security_group_far"}
    assert "far" in restored.told(f"{WHERE}.a.security_group_rules.a-rule-2.remote_group_id")


def test_groups_that_refer_to_each_other():
    restored = restore_network(
        groups=[
            nodes.group(
                "a", "a", [nodes.rule(protocol="tcp", port_range_min=1, port_range_max=2, remote_group_id="b")]
            ),
            nodes.group("b", "b", [nodes.rule(protocol="udp", remote_group_id="a", description="for a")]),
        ]
    )
    assert rules_of(restored, "a") == EGRESS
    assert rules_of(restored, "b")[2]["remote_group_id"] == restored.ref("a")
    assert restored.properties("a-rule-2") == {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "port_range_min": 1,
        "port_range_max": 2,
        "description": "",
        "security_group": restored.ref("a"),
        "remote_group": restored.ref("b"),
    }
    assert [told.field for told in restored.findings] == [f"{WHERE}.b.security_group_rules"]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_a_rule_for_any_protocol_stays_inside_a_cycle_and_the_other_goes_out(first, second):
    restored = restore_network(
        groups=[
            nodes.group(first, first, [nodes.rule(remote_group_id=second)]),
            nodes.group(second, second, [nodes.rule(protocol="icmp", remote_group_id=first)]),
        ]
    )
    assert rules_of(restored, first)[2]["remote_group_id"] == restored.ref(second)
    assert rules_of(restored, second) == EGRESS
    assert restored.properties(f"{second}-rule-2")["protocol"] == "icmp"
    assert restored.findings == []


def test_a_group_that_only_refers_to_a_cycle_keeps_its_rules_inside():
    tcp = {"protocol": "tcp"}
    restored = restore_network(
        groups=[
            nodes.group("a", "a", [nodes.rule(**tcp, remote_group_id="b")]),
            nodes.group("b", "b", [nodes.rule(**tcp, remote_group_id="c")]),
            nodes.group("c", "c", [nodes.rule(**tcp, remote_group_id="b")]),
        ]
    )
    assert rules_of(restored, "a")[2]["remote_group_id"] == restored.ref("b")
    assert len(restored.built("SecurityGroupRule")) == 1


def test_any_protocol_in_both_directions_cannot_be_said():
    restored = restore_network(
        groups=[
            nodes.group("a", "a", [nodes.rule(remote_group_id="b")]),
            nodes.group("b", "b", [nodes.rule(remote_group_id="a", ethertype="IPv6")]),
        ]
    )
    assert rules_of(restored, "b")[2]["remote_group_id"] == restored.ref("a")
    apart = restored.built("SecurityGroupRule")
    assert apart == {"a-rule-2:tcp", "a-rule-2:udp", "a-rule-2:icmp"}
    assert {restored.properties(key)["protocol"] for key in apart} == {"tcp", "udp", "icmp"}
    assert not any(restored.fragments[key].output for key in apart)
    assert "tcp, udp, icmp only" in restored.told(f"{WHERE}.a.security_group_rules.a-rule-2")


def test_a_group_whose_egress_rules_go_out_of_it_stays_closed():
    """Heat would see no rule for egress inside, and leave those that let everything out."""
    restored = restore_network(
        groups=[
            bare("a", egress(protocol="tcp", remote_group_id="b")),
            bare("b", egress(protocol="udp"), nodes.rule(remote_group_id="a")),
        ]
    )
    assert rules_of(restored, "a") == [NOWHERE]
    assert restored.properties("a-rule-2")["direction"] == "egress"


def test_icmp_by_number_outside_a_group_keeps_type_and_code():
    """Heat takes type and code for a range of ports unless it knows the protocol by name."""
    icmp = {"port_range_min": 8, "port_range_max": 0, "remote_group_id": "b"}
    restored = restore_network(
        groups=[
            nodes.group("a", "a", [nodes.rule(protocol="1", **icmp), nodes.rule(protocol="58", **icmp)]),
            nodes.group("b", "b", [nodes.rule(remote_group_id="a")]),
        ]
    )
    assert [restored.properties(f"a-rule-{n}")["protocol"] for n in (2, 3)] == ["icmp", "ipv6-icmp"]


@pytest.mark.parametrize("name", [*neutron_lib.constants.IP_PROTOCOL_MAP, *map(str, range(256))])
def test_every_protocol_of_neutron_can_be_said(name):
    restored = restore_network(groups=[nodes.group("a", "a", [nodes.rule(protocol=name)])])
    said = rules_of(restored, "a")[2]["protocol"]
    numbers = neutron_lib.constants.IP_PROTOCOL_MAP
    assert str(numbers.get(said, said)) == str(numbers.get(name, name))
    assert restored.findings == []


@pytest.mark.parametrize("name", [None, "any", "ANY"])
def test_any_protocol_is_no_protocol(name):
    restored = restore_network(groups=[nodes.group("a", "a", [nodes.rule(protocol=name)])])
    assert rules_of(restored, "a")[2] == {"direction": "ingress", "ethertype": "IPv4"}


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (nodes.rule(protocol="tcpp"), "'tcpp'"),
        (nodes.rule(protocol="256"), "'256'"),
        (nodes.rule(remote_address_group_id="addresses"), "addresses"),
    ],
)
def test_what_heat_cannot_say_is_left_out_and_never_opened(rule, word):
    restored = restore_network(groups=[nodes.group("a", "a", [rule])])
    assert rules_of(restored, "a") == EGRESS
    assert word in restored.told(f"{WHERE}.a.security_group_rules.a-rule-2")


@pytest.mark.parametrize(
    "twice",
    [
        [nodes.rule(protocol="icmpv6", ethertype="IPv6"), nodes.rule(protocol="ipv6-icmp", ethertype="IPv6")],
        [nodes.rule(protocol="6", port_range_min=22), nodes.rule(protocol="tcp", port_range_min=22)],
        [nodes.rule(), nodes.rule(remote_ip_prefix="0.0.0.0/0")],
        [nodes.rule(protocol="tcp"), nodes.rule(protocol="tcp", port_range_min=1, port_range_max=65535)],
    ],
)
def test_rules_that_neutron_takes_for_the_same_come_back_once(twice):
    restored = restore_network(groups=[nodes.group("a", "a", twice)])
    assert len(rules_of(restored, "a")) == 3


def test_a_bare_address_becomes_a_range_since_heat_wants_one():
    restored = restore_network(groups=[nodes.group("a", "a", [nodes.rule(remote_ip_prefix="10.0.0.7")])])
    assert rules_of(restored, "a")[2]["remote_ip_prefix"] == "10.0.0.7/32"


PROTOCOLS = st.sampled_from([None, "tcp", "udp", "icmp", "any", "47", "1"])
GROUP_IDS = ("g0", "g1", "g2", "g3", "g4")
RULES = st.builds(
    nodes.rule,
    direction=st.sampled_from(["ingress", "egress"]),
    ethertype=st.sampled_from(["IPv4", "IPv6"]),
    protocol=PROTOCOLS,
    remote_group_id=st.sampled_from([None, *GROUP_IDS]),
)


def said(restored: Restored, group_id, rule, remote):
    """A rule as (group, direction, ethertype, protocol, remote group), wherever it stands."""
    return (group_id, rule["direction"], rule["ethertype"], rule.get("protocol"), remote)


def meant(group_id, rule):
    protocol = {"any": None, "1": "icmp"}.get(rule["protocol"], rule["protocol"])
    return (group_id, rule["direction"], rule["ethertype"], protocol, rule["remote_group_id"])


@given(st.lists(st.lists(RULES, max_size=5), min_size=5, max_size=5))
def test_whatever_groups_refer_to_heat_takes_them_and_no_rule_is_lost_or_opened(rules_by_group):
    groups = [bare(group_id, *rules) for group_id, rules in zip(GROUP_IDS, rules_by_group, strict=True)]
    restored = restore_network(groups=groups)
    names = {fragment_name(key, fragment): key for key, fragment in restored.fragments.items()}

    found = set()
    for group_id in GROUP_IDS:
        own = rules_of(restored, group_id)
        assert any(rule["direction"] == "egress" for rule in own)
        for rule in own:
            remote = None
            if rule.get("remote_mode") == "remote_group_id":
                remote = names[rule["remote_group_id"]["get_resource"]] if "remote_group_id" in rule else group_id
            assert ("remote_group_id" in rule) <= (rule.get("remote_mode") == "remote_group_id")
            if rule != NOWHERE:
                found.add(said(restored, group_id, rule, remote))
    for key in restored.built("SecurityGroupRule"):
        rule = restored.properties(key)
        ends = [names[rule[end]["get_resource"]] for end in ("security_group", "remote_group")]
        found.add(said(restored, ends[0], rule, ends[1]))

    expected = {meant(group["id"], rule) for group in groups for rule in group["security_group_rules"]}
    narrowed = {one for one in expected - found if one[3] is None}
    assert expected - found == narrowed
    told = [told for told in restored.findings if "comes back for" in told.text]
    assert len(told) == len(narrowed)
    common = {"IPv4": ("tcp", "udp", "icmp"), "IPv6": ("tcp", "udp", "ipv6-icmp")}
    instead = {(*one[:3], protocol, one[4]) for one in narrowed for protocol in common[one[2]]}
    assert found - expected <= instead <= found


@given(st.permutations(GROUP_IDS), st.sets(st.sampled_from(list(itertools.combinations(range(5), 2)))))
def test_without_cycles_every_rule_stays_inside(order, edges):
    rules = {group_id: [] for group_id in order}
    for early, late in edges:
        rules[order[late]].append(nodes.rule(remote_group_id=order[early]))
    restored = restore_network(groups=[nodes.group(key, key, own) for key, own in rules.items()])
    assert restored.built("SecurityGroupRule") == set()
    assert restored.findings == []
