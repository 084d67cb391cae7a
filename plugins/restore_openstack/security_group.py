"""Security groups with all their rules, as far as Heat can say them.

Heat's ``OS::Neutron::SecurityGroup`` carries its rules, but groups that refer to each other would wait for each
other: some of their rules have to stand apart, as ``OS::Neutron::SecurityGroupRule``, which cannot say "any
protocol". So the groups are ordered such that rules for any protocol stay inside wherever that is possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from restore_openstack.draft import Draft, Part, refer
from restore_openstack.topology import SECURITY_GROUP, Rule, SecurityGroup
from restore_worker.plugin import Report

# Heat refuses the name "default": every project has a group of that name already.
RESTORED_DEFAULT = "default-restored"

# fmt: off
_PROTOCOLS = {
    "ah", "dccp", "egp", "esp", "gre", "icmp", "igmp", "ipv6-encap", "ipv6-frag", "ipv6-icmp", "ipv6-nonxt",
    "ipv6-opts", "ipv6-route", "ospf", "pgm", "rsvp", "sctp", "tcp", "udp", "udplite", "vrrp",
} | {str(number) for number in range(256)}
# fmt: on
# Names that Heat does not know, and numbers of which it does not know that they are ICMP, with type and code.
_OTHER_NAMES = {"ip": "0", "hopopt": "0", "ipip": "4", "icmpv6": "ipv6-icmp", "1": "icmp", "58": "ipv6-icmp"}
# Numbers that people write beside the names.
_OTHER_NAMES |= {"6": "tcp", "17": "udp"}
_ANYWHERE = {"0.0.0.0/0", "::/0"}
# What comes closest to any protocol where that cannot be said.
_COMMON = {"IPv4": ("tcp", "udp", "icmp"), "IPv6": ("tcp", "udp", "ipv6-icmp")}
# Unless there is a rule for egress, Heat leaves Neutron's default ones, which let everything out.
_TO_NOWHERE = {"direction": "egress", "ethertype": "IPv4", "remote_ip_prefix": "127.0.0.1/32"}


def build_groups(draft: Draft, groups: Mapping[str, SecurityGroup]) -> None:
    """Draft the groups by original id, and after them the rules that cannot be inside."""
    known = groups.keys() if draft.isolated else None
    rules = {group_id: _sayable(group_id, group.rules, draft.report, known) for group_id, group in groups.items()}
    apart: list[tuple[str, Rule]] = []
    later = set(groups)
    for group_id in _creation_order(rules):
        later.remove(group_id)
        inside = [rule for rule in rules[group_id] if rule.remote_group_id not in later]
        apart += [(group_id, rule) for rule in rules[group_id] if rule.remote_group_id in later]
        _build_group(draft, group_id, groups[group_id], inside)
    for group_id, rule in apart:
        _build_rule(draft, group_id, rule)


def _creation_order(rules: Mapping[str, list[Rule]]) -> list[str]:
    """Order the groups so that rules refer to earlier ones; if not all can, then those for any protocol."""
    needs = {
        group_id: {rule.remote_group_id for rule in own} & rules.keys() - {group_id}
        for group_id, own in rules.items()
    }
    needs_inside = {
        group_id: {rule.remote_group_id for rule in own if rule.protocol is None} & needs[group_id]
        for group_id, own in rules.items()
    }
    wanted = Counter(remote for remotes in needs.values() for remote in remotes)
    waiting = set(rules)
    order: list[str] = []
    while waiting:
        ready = sorted(group_id for group_id in waiting if not needs[group_id] & waiting)
        if not ready:
            ready = [min(waiting, key=lambda each: (bool(needs_inside[each] & waiting), -wanted[each], each))]
        order += ready
        waiting.difference_update(ready)
    return order


def _sayable(group_id: str, rules: Iterable[Rule], report: Report, known: Collection[str] | None) -> list[Rule]:
    """Return the rules that Heat can say, each once, with protocols as Heat calls them.

    known: the only groups that rules may refer to; None for any.
    """
    said: dict[tuple[Any, ...], Rule] = {}
    for rule in rules:
        where = _field(group_id, rule)
        protocol = _protocol(rule.protocol)
        if rule.remote_address_group_id:
            report.finding(
                where, f"Heat has no rules for address groups ({rule.remote_address_group_id}): it is left out"
            )
        elif known is not None and rule.remote_group_id and rule.remote_group_id not in known:
            report.finding(
                where,
                f"security group {rule.remote_group_id} is not built with the isolated copy: the rule is left out",
            )
        elif protocol is not None and protocol not in _PROTOCOLS:
            report.finding(where, f"Heat does not know the protocol {rule.protocol!r}: it is left out")
        else:
            named = rule.model_copy(update={"protocol": protocol})
            said.setdefault(_meaning(named), named)
    return list(said.values())


def _meaning(rule: Rule) -> tuple[Any, ...]:
    """Return what Neutron compares rules by: it refuses two alike, though it once was less strict."""
    return (
        *(rule.direction, rule.ethertype, rule.protocol, rule.remote_group_id),
        None if rule.remote_ip_prefix in _ANYWHERE else rule.remote_ip_prefix,
        1 if rule.port_range_min is None else rule.port_range_min,
        65535 if rule.port_range_max is None else rule.port_range_max,
    )


def _protocol(name: str | None) -> str | None:
    lower = (name or "any").lower()
    return None if lower == "any" else _OTHER_NAMES.get(lower, lower)


def _build_group(draft: Draft, group_id: str, group: SecurityGroup, inside: list[Rule]) -> None:
    where = f"security-group_metadata.{group_id}"
    name = draft.named(SECURITY_GROUP, group_id, group.name, where)
    if name == "default":
        name = RESTORED_DEFAULT
        draft.report.finding(
            f"{where}.name", f"the target has a group 'default' of its own: it comes back as {name!r}"
        )
    rules = [_inside(draft, group_id, rule) for rule in inside]
    if not any(rule.direction == "egress" for rule in inside):
        rules.append(_TO_NOWHERE)
        draft.report.finding(
            f"{where}.security_group_rules",
            "without a rule for egress inside, Heat would let everything out: one to 127.0.0.1/32, which nothing "
            "matches, is added",
        )
    if any(rule.description for rule in inside):
        draft.report.finding(
            f"{where}.security_group_rules",
            "the descriptions of its rules do not come back: Heat has them only since version 27",
        )
    properties = {"name": name, "description": group.description, "rules": rules}
    draft.build(group_id, Part(type=SECURITY_GROUP, properties=properties, title=name or ""))


def _inside(draft: Draft, group_id: str, rule: Rule) -> dict[str, Any]:
    properties = _properties(rule)
    if rule.remote_group_id is None:
        return properties
    properties["remote_mode"] = "remote_group_id"
    # The group itself is meant if none is named, which is the only way to refer to it from inside.
    if rule.remote_group_id != group_id:
        where = f"{_field(group_id, rule)}.remote_group_id"
        properties["remote_group_id"] = draft.refer(rule.remote_group_id, SECURITY_GROUP, where)
    return properties


def _build_rule(draft: Draft, group_id: str, rule: Rule) -> None:
    """Draft a rule that stands apart, since its remote group comes later than its own."""
    common = _COMMON[rule.ethertype]
    if rule.protocol is None:
        draft.report.finding(
            _field(group_id, rule),
            f"its group and {rule.remote_group_id} need each other for any protocol, which Heat cannot say: it "
            f"comes back for {', '.join(common)} only",
        )
    for protocol in (rule.protocol,) if rule.protocol else common:
        properties = _properties(rule) | {
            "protocol": protocol,
            "description": rule.description,
            "security_group": refer(group_id),
            "remote_group": refer(rule.remote_group_id or group_id),
        }
        key = rule.id if rule.protocol else f"{rule.id}:{protocol}"
        output = rule.protocol is not None
        draft.build(key, Part(type="OS::Neutron::SecurityGroupRule", properties=properties, output=output))


def _properties(rule: Rule) -> dict[str, Any]:
    properties = rule.model_dump(
        include={"direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix"},
        exclude_none=True,
    )
    if rule.remote_group_id:
        properties.pop("remote_ip_prefix", None)
    return properties


def _field(group_id: str, rule: Rule) -> str:
    return f"security-group_metadata.{group_id}.security_group_rules.{rule.id}"
