"""What the network plugin decides at submit, as plain data: parts to put, each after those that it refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from restore_worker.plugin import Report
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

NET = "OS::Neutron::Net"
SUBNET = "OS::Neutron::Subnet"
ROUTER = "OS::Neutron::Router"
SECURITY_GROUP = "OS::Neutron::SecurityGroup"

# How people call them, and Heat's constraint that looks one up.
_EXISTING = {
    NET: ("network", "neutron.network"),
    SUBNET: ("subnet", "neutron.subnet"),
    ROUTER: ("router", "neutron.router"),
    SECURITY_GROUP: ("security group", "neutron.security_group"),
}
_REFERENCE = "original_id"


class Existing(BaseModel):
    """Something that is on the target already, under the id ``value``."""

    type: str
    value: str
    title: str = ""

    def put(self, original_id: str, template: HeatTemplate) -> None:
        """Let it stand for ``original_id`` in the template."""
        noun, constraint = _EXISTING[self.type]
        description = f"Id of the {noun} that takes the place of {original_id}"
        template.put_parameter(
            original_id, HeatParameter(self.value, self.type, constraint, description, self.title)
        )


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
    """

    report: Report
    substitutes: Mapping[str, str] = field(default_factory=dict)
    existing: dict[str, Existing] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def build(self, original_id: str, part: Part) -> None:
        """Have Heat build a part, after all that were given before."""
        self.parts[original_id] = part

    def use(self, original_id: str, resource_type: str, title: str = "") -> None:
        """Use what is on the target already."""
        value = self.substitutes.get(original_id, original_id)
        self.existing[original_id] = Existing(type=resource_type, value=value, title=title)

    def refer(self, original_id: str, resource_type: str, where: str) -> dict[str, str]:
        """Return a reference; what nobody restores is taken to be on the target, and told.

        where: the field that refers to it.
        """
        if original_id not in self.parts and original_id not in self.existing:
            self.use(original_id, resource_type)
            noun, _ = _EXISTING[resource_type]
            self.report.finding(
                where,
                f"{noun} {original_id} is not the project's own or not in the bank: "
                f"{self.existing[original_id].value} must be on the target",
            )
        return refer(original_id)
