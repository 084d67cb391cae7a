"""What the network plugin decides at submit, as plain data: parts to put, each after those that it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from restore_openstack.lookups import networks, require, security_groups
from restore_worker.plugin import Report, Selection, Target
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

NET = "OS::Neutron::Net"
SUBNET = "OS::Neutron::Subnet"
ROUTER = "OS::Neutron::Router"
SECURITY_GROUP = "OS::Neutron::SecurityGroup"

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
    """

    type: str
    value: str
    title: str = ""
    own: bool = False

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

    substitutes: ids on the target by original id, for what does not keep its id there.
    isolated: nothing that is put may refer to what is on the target already.
    """

    report: Report
    selection: Selection
    substitutes: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = False
    existing: dict[str, Existing] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def named(self, name: str | None, where: str) -> str | None:
        """Return the name that a part gets; where: the part's field in the bank."""
        return self.selection.named(name, self.report, f"{where}.name") if name else name

    def build(self, original_id: str, part: Part) -> None:
        """Have Heat build a part, after all that were given before."""
        self.parts[original_id] = part

    def use(self, original_id: str, resource_type: str, title: str = "", *, own: bool = False) -> None:
        """Use what is on the target already; ``own`` as in `Existing`."""
        value = self.substitutes.get(original_id, original_id)
        self.existing[original_id] = Existing(type=resource_type, value=value, title=title, own=own)

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
