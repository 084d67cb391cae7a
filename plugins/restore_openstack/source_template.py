"""What a user's own Heat template says: its types, its parameters, and what these name on a cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_worker.sitemap import Kind

VOLUME = "OS::Cinder::Volume"
# What a parameter's constraint says that it names.
_CONSTRAINTS: Mapping[str, Kind] = {
    "nova.flavor": "flavor",
    "glance.image": "image",
    "nova.keypair": "key_pair",
    "neutron.network": "network",
    "neutron.subnet": "subnet",
    "neutron.security_group": "security_group",
    "cinder.vtype": "volume_type",
    "nova.server_group": "server_group",
}
# Properties that say it where a parameter has no constraint.
_PROPERTIES: Mapping[tuple[str, str], Kind] = {
    ("OS::Nova::Server", "flavor"): "flavor",
    ("OS::Nova::Server", "image"): "image",
    ("OS::Nova::Server", "key_name"): "key_pair",
    ("OS::Nova::Server", "availability_zone"): "zone",
    (VOLUME, "volume_type"): "volume_type",
    (VOLUME, "availability_zone"): "zone",
    (VOLUME, "image"): "image",
    ("OS::Neutron::Port", "network"): "network",
    ("OS::Neutron::Port", "network_id"): "network",
    ("OS::Neutron::FloatingIP", "floating_network"): "network",
    ("OS::Neutron::FloatingIP", "floating_network_id"): "network",
    ("OS::Neutron::RouterInterface", "subnet"): "subnet",
}
_FUNCTIONS_OF_RESOURCES = frozenset({"get_resource", "get_attr"})
# As deep as anybody writes, and far from what Python can follow.
_DEEPEST = 100


class TemplateError(ValueError):
    """The text is no Heat template; the message says why."""


class _Parameter(BaseModel):
    model_config = ConfigDict(extra="ignore")

    hidden: bool | str | None = None
    default: Any = None
    constraints: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def kind(self) -> Kind | None:
        names = (str(each.get("custom_constraint", "")) for each in self.constraints)
        return next((_CONSTRAINTS[name] for name in names if name in _CONSTRAINTS), None)


class _Resource(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    properties: dict[str, Any] | None = None
    depends_on: Any = None


class SourceTemplate(BaseModel):
    """A template in HOT, as much of it as a restore must know."""

    model_config = ConfigDict(extra="ignore")

    heat_template_version: Any
    parameters: dict[str, _Parameter] | None = None
    resources: dict[str, _Resource] | None = None

    @property
    def types(self) -> set[str]:
        """Types of all resources."""
        return {each.type for each in (self.resources or {}).values()}

    @property
    def without_default(self) -> set[str]:
        """Parameters that somebody must give."""
        return {name for name, each in (self.parameters or {}).items() if each.default is None}

    def kinds(self) -> dict[str, Kind]:
        """Return what parameters name on a cloud: by their constraints, else by where they are used."""
        found: dict[str, Kind] = {}
        for resource in (self.resources or {}).values():
            for name, value in (resource.properties or {}).items():
                kind = _PROPERTIES.get((resource.type, name))
                if kind and isinstance(value, dict) and isinstance(given := value.get("get_param"), str):
                    found.setdefault(given, kind)
        by_constraint = {name: each.kind for name, each in (self.parameters or {}).items()}
        return found | {name: kind for name, kind in by_constraint.items() if kind is not None}

    def of_volumes(self) -> set[str]:
        """Return the types of all that volumes need to be built, and of volumes."""
        resources = self.resources or {}
        wanted = [name for name, each in resources.items() if each.type == VOLUME]
        seen: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in resources and name not in seen:
                seen.add(name)
                wanted += _named(resources[name])
        return {resources[name].type for name in seen}


def read_template(text: str) -> SourceTemplate:
    """Return what a template says; TemplateError if it is none of HOT."""
    try:
        # Not the loader in C: brackets that are deep enough make it crash.
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise TemplateError(f"it is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or "heat_template_version" not in document:
        raise TemplateError("it has no heat_template_version: only templates in HOT are supported")
    try:
        return SourceTemplate.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise TemplateError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _named(resource: _Resource) -> list[str]:
    """Return the names of resources that a resource refers to or waits for."""
    waits = resource.depends_on or []
    found = [waits] if isinstance(waits, str) else [each for each in waits if isinstance(each, str)]
    return found + list(_references(resource.properties, 0))


def _references(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise TemplateError(f"its properties are more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        for name, each in value.items():
            if name in _FUNCTIONS_OF_RESOURCES:
                first = each[0] if isinstance(each, list) and each else each
                if isinstance(first, str):
                    yield first
            yield from _references(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each, depth + 1)
