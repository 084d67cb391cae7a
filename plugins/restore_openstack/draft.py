"""What the network plugin decides at submit, as plain data: parts to put, each after those that it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from restore_openstack.elsewhere import Elsewhere
from restore_openstack.lookups import networks, require, security_groups
from restore_openstack.topology import NET, SECURITY_GROUP, SUBNET, NetworkParameters
from restore_worker.plugin import Report, Selection, Target
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

# How people call them, and Heat's constraint that looks one up.
_EXISTING = {
    NET: ("network", "neutron.network"),
    SUBNET: ("subnet", "neutron.subnet"),
    SECURITY_GROUP: ("security group", "neutron.security_group"),
}
_REFERENCE = "original_id"


class Existing(BaseModel):
    """Something that is on the target already, under the id ``value``.

    own: the bank has it too, so that it could be built.
    rule: what of the site map says so, "" if nothing does.
    """

    type: str
    value: str
    title: str = ""
    own: bool = False
    rule: str = ""

    def put(self, original_id: str, template: HeatTemplate) -> None:
        """Let it stand for ``original_id`` in the template."""
        noun, constraint = _EXISTING[self.type]
        description = f"Id of the {noun} that takes the place of {original_id}"
        template.put_parameter(
            original_id, HeatParameter(self.value, self.type, constraint, description, self.title)
        )

    def check(self, target: Target, report: Report) -> None:
        """Look for it on the target."""
        noun, _ = _EXISTING[self.type]
        mend = "set networks=new to have it built" if self.own else "its owner must share it with this project"
        if self.rule:
            mend = f"name another one ({self.rule}), or have its owner share it with this project"
        require(self.value, self._alike(target), noun, mend, "networks", report)

    def _alike(self, target: Target) -> Iterable[Any]:
        if self.type == NET:
            return networks(target)
        if self.type == SECURITY_GROUP:
            return security_groups(target, own=False)
        neutron = target.connection().network
        return target.look("subnets", lambda: list(neutron.subnets(fields=["id", "name"])))


class Part(BaseModel):
    """Something for Heat to build.

    properties: as in a `HeatResource`, with what `refer` returned in the place of references.
    depends_on: original ids.
    """

    type: str
    properties: dict[str, Any]
    depends_on: tuple[str, ...] = ()
    title: str = ""
    output: bool = True

    def put(self, original_id: str, template: HeatTemplate) -> None:
        """Put it into the template; all that it refers to must be there."""
        properties = {name: _resolve(value, template) for name, value in self.properties.items()}
        depends_on = [template.get_resource_reference(each) for each in self.depends_on]
        template.put_resource(
            original_id, HeatResource(self.type, properties, depends_on, self.title, self.output)
        )


def refer(original_id: str) -> dict[str, str]:
    """Return what stands for a reference among the properties of a `Part`."""
    return {_REFERENCE: original_id}


def references_in(value: Any) -> Iterator[str]:
    """Yield the original ids that properties of a `Part`, or a part of them, refer to."""
    if isinstance(value, Mapping):
        if value.keys() == {_REFERENCE}:
            yield value[_REFERENCE]
        else:
            yield from references_in(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from references_in(item)


def described(description: str | None) -> dict[str, str] | None:
    """Return the ``value_specs`` that carry a description, for types that have no property for it."""
    return {"description": description} if description else None


def _resolve(value: Any, template: HeatTemplate) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_REFERENCE}:
            return template.get_resource_reference(value[_REFERENCE])
        return {name: _resolve(item, template) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_resolve(item, template) for item in value]
    return value


@dataclass
class Draft:
    """Collects what is to be put.

    elsewhere, parameters: what the site map and the user say of it.
    substitutes: ids on the target by original id, for what else does not keep its id there.
    """

    report: Report
    selection: Selection
    elsewhere: Elsewhere
    parameters: NetworkParameters
    substitutes: Mapping[str, str] = field(default_factory=dict)
    existing: dict[str, Existing] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    _claims: set[tuple[str, str]] = field(default_factory=set)

    @property
    def isolated(self) -> bool:
        """True if nothing that is put may refer to what is on the target already."""
        return self.parameters.isolated

    def named(self, part_type: str, original_id: str, name: str | None, where: str) -> str | None:
        """Return the name that a part gets; where: the part's field in the bank."""
        if not name:
            return name
        mapped = self.selection.mapped("name", name, Resource(ResourceKey(part_type, original_id), name), "name")
        return self.selection.named(mapped.value if mapped else name, self.report, f"{where}.name")

    def wish(self, kind: Literal["fixed_ips", "macs"]) -> tuple[str, bool]:
        """Return what becomes of the ports' addresses, and whether the site map says so."""
        given: str | None = getattr(self.parameters, kind)
        policy = None if given else self.selection.policy(kind)
        return given or policy or "keep", policy is not None

    def moved(self, original_id: str) -> bool:
        """Say whether something of the target, and another one than before, takes its place."""
        there = self.existing.get(original_id)
        return there is not None and there.value != original_id

    def claim(self, network_id: str, address: str) -> bool:
        """Note that a port gets the address; False if another has it in what takes the network's place."""
        free = not self.claimed(network_id, address)
        if self.moved(network_id):
            self._claims.add((self.existing[network_id].value, address))
        return free

    def claimed(self, network_id: str, address: str) -> bool:
        """Say whether another port gets the address, too."""
        return self.moved(network_id) and (self.existing[network_id].value, address) in self._claims

    def build(self, original_id: str, part: Part) -> None:
        """Have Heat build a part, after all that were given before."""
        self.parts[original_id] = part

    def use(self, original_id: str, resource_type: str, title: str = "", *, own: bool = False) -> None:
        """Use what is on the target already; ``own`` as in `Existing`."""
        given = self.substitutes.get(original_id)
        mapped = None if given else self.elsewhere.find(resource_type, original_id)
        value = mapped.value if mapped else given or original_id
        rule = mapped.rule if mapped else ""
        self.existing[original_id] = Existing(type=resource_type, value=value, title=title, own=own, rule=rule)

    def forget_unused(self, used: Iterable[str]) -> None:
        """Do without what is on the target already unless a part refers to it, or it is among ``used``."""
        needed = {*used, *references_in([part.properties for part in self.parts.values()])}
        self.existing = {key: each for key, each in self.existing.items() if key in needed}

    def may_refer(self, original_id: str, resource_type: str, where: str) -> bool:
        """Say whether something may be referred to; what an isolated copy does without is told.

        where: the field that would refer to it.
        """
        if not self.isolated or original_id in self.parts:
            return True
        noun, _ = _EXISTING[resource_type]
        self.report.finding(where, f"{noun} {original_id} is not built with the isolated copy: it is left out")
        return False

    def refer(self, original_id: str, resource_type: str, where: str) -> dict[str, str]:
        """Return a reference; what nobody restores is taken to be on the target, and told.

        where: the field that refers to it.
        """
        if original_id not in self.parts and original_id not in self.existing:
            self.use(original_id, resource_type)
            noun, _ = _EXISTING[resource_type]
            self.report.finding(
                where,
                f"{noun} {original_id} is not the project's own or not in the bank",
                f"{self.existing[original_id].value} must be on the target",
            )
        return refer(original_id)
