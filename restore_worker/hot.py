"""Templates made of fragments: one, or several where Heat would not take so large a one.

HOT: https://docs.openstack.org/heat/latest/template_guide/hot_spec.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

import yaml

from restore_worker.cut import Limits, cut, waits
from restore_worker.errors import TemplateError
from restore_worker.template import Fragment, HeatParameter, HeatResource, Reference, fragment_name

# Newton: the oldest version with lower-case deletion policies, so that old targets take the template too.
HOT_VERSION = "2016-10-14"

# Strings that no YAML reader, 1.1 or 1.2, takes for anything but a string; all others are quoted.
_PLAIN = re.compile(
    r"(?!(y|yes|n|no|on|off|true|false|null|none|inf|nan)\Z)[a-z_][a-z0-9_./-]*(::[a-z0-9_]+)*",
    re.ASCII | re.IGNORECASE,
)
# What of a stack's bytes its resources may have, one try after the other: how long they are, and how much is taken
# over from other stacks, is known only once it is cut.
_SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)
# Resources of which the size is looked at.
_ASKED = 200


class Borrowed(NamedTuple):
    """An output of another of the restore's stacks. number: the stack's (`Hot.number`); output: its name there."""

    number: int
    output: str


@dataclass(frozen=True, slots=True)
class Hot:
    """A whole template, and apart from it what is known of its parameters' values.

    text: YAML; the same fragments give the same bytes.
    values: by parameter name, physical ids of what is built already.
    open_parameters: names of the parameters that have no value yet, nor get one from another stack.
    resources: how many there are for Heat to build.
    number: which of the restore's templates it is, from 1; 0 if it is the only one.
    waits_for: numbers of those whose stacks must be complete before this one is begun; all are smaller.
    borrowed: by parameter name, from which output its value comes.
    """

    text: str
    values: Mapping[str, str]
    open_parameters: Sequence[str]
    resources: int
    number: int = 0
    waits_for: Sequence[int] = ()
    borrowed: Mapping[str, Borrowed] = field(default_factory=dict)

    @property
    def environment(self) -> str:
        """The values as a Heat environment file (``openstack stack create -e``)."""
        return _dump({"parameters": dict(self.values)})

    @property
    def size(self) -> int:
        """Bytes of the text."""
        return len(self.text.encode())


class _Place(NamedTuple):
    """Where a template stands among all; borrowed: by the name of a resource of another one."""

    number: int
    waits_for: tuple[int, ...]
    borrowed: Mapping[str, Borrowed]


_SOLE = _Place(0, (), {})
_SUBNET = "OS::Neutron::Subnet"


def assemble(fragments: Mapping[str, Fragment], description: str, limits: Limits | None = None) -> tuple[Hot, ...]:
    """Make one HOT of all fragments by original id, or as many as a stack's limits ask for.

    limits: None for one, however large.
    Returns them in an order in which each comes after those that it waits for; none if there is nothing for Heat
    to build. Raises TemplateError if two fragments would bear one name or a reference leads nowhere.
    """
    whole = _Whole(fragments, description)
    if not whole.resources:
        return ()
    if limits is None or len(whole.resources) <= limits.resources:
        sole = whole.template(whole.resources, whole.parameters)
        if limits is None or sole.size <= limits.bytes:
            return (sole,)
    return whole.templates(limits)


def references(value: Any) -> Iterable[tuple[str, str]]:
    """Yield what a part of a template refers to: ``get_resource`` or ``get_param``, and the name."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("get_resource", "get_param") and isinstance(item, str) and len(value) == 1:
                yield key, item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


class _Whole:
    """All fragments as they stand in a template, by name.

    resources, parameters: their entries.
    """

    def __init__(self, fragments: Mapping[str, Fragment], description: str) -> None:
        self._description = description
        self._named = _named(fragments)
        self.resources: dict[str, dict[str, Any]] = {}
        self.parameters: dict[str, dict[str, Any]] = {}
        for name, (_, fragment) in self._named.items():
            if isinstance(fragment, HeatParameter):
                self.parameters[name] = _parameter(fragment)
            else:
                self.resources[name] = _resource(fragment)
        self._refers = {name: set(references(each["properties"])) for name, each in self.resources.items()}
        self._check_references()

    def templates(self, limits: Limits) -> tuple[Hot, ...]:
        """Return several templates; each is within the limits, unless a single resource is not."""
        needs, sizes = self._needs(), self._sizes()
        for share in _SHARES:
            made = self._cut(needs, cut(needs, sizes, limits._replace(bytes=int(limits.bytes * share))))
            if all(limits.holds(each.resources, each.size) for each in made):
                break
        return made

    def template(
        self,
        resources: Collection[str],
        parameters: Collection[str],
        *,
        told: Collection[str] = (),
        lent: Collection[str] = (),
        place: _Place = _SOLE,
    ) -> Hot:
        """Return the template of so many of the resources and parameters, all by name.

        told: parameters of which another template tells the value.
        lent: resources that others refer to.
        """
        values = {
            name: fragment.value
            for name in parameters
            if isinstance(fragment := self._named[name][1], HeatParameter) and fragment.value is not None
        }
        taken = {_taken(name): self._taken_entry(name, each) for name, each in place.borrowed.items()}
        entries = {name: self.parameters[name] for name in parameters} | taken
        hot: dict[str, Any] = {"heat_template_version": HOT_VERSION, "description": self._description}
        if entries:
            hot["parameters"] = dict(sorted(entries.items()))
        within = frozenset(resources)
        hot["resources"] = {name: _within(self.resources[name], within) for name in sorted(resources)}
        outputs = self._outputs([*resources, *(each for each in parameters if each not in told)], lent)
        hot["outputs"] = dict(sorted(outputs))
        return Hot(
            _dump(hot),
            dict(sorted(values.items())),
            tuple(name for name in sorted(parameters) if name not in values),
            len(resources),
            place.number,
            place.waits_for,
            {_taken(name): each for name, each in sorted(place.borrowed.items())},
        )

    def _cut(self, needs: Mapping[str, Collection[str]], parts: Sequence[Collection[str]]) -> tuple[Hot, ...]:
        number_of = {name: number for number, part in enumerate(parts, 1) for name in part}
        foreign = [
            {
                need
                for name in part
                for kind, need in self._refers[name]
                if kind == "get_resource" and number_of[need] != number
            }
            for number, part in enumerate(parts, 1)
        ]
        lent = set().union(*foreign)
        referred = {target for refers in self._refers.values() for kind, target in refers if kind == "get_param"}
        told: set[str] = set()
        made = []
        for number, (part, before) in enumerate(zip(parts, waits(needs, parts), strict=True), 1):
            own = {target for name in part for kind, target in self._refers[name] if kind == "get_param"}
            if number == 1:
                own |= self.parameters.keys() - referred
            borrowed = {need: Borrowed(number_of[need], self._named[need][0]) for need in foreign[number - 1]}
            place = _Place(number, tuple(sorted(each + 1 for each in before)), borrowed)
            made.append(self.template(part, own, told=told.copy(), lent=lent, place=place))
            told |= own
        return tuple(made)

    def _sizes(self) -> dict[str, int]:
        """Return by name about how many bytes a resource and what is told of it have."""
        entries = {name: [name, entry, dict(self._outputs([name], ()))] for name, entry in self.resources.items()}
        # YAML takes ten times as long to make as JSON: how much longer it is, some tell for all.
        sizes = {name: len(json.dumps(entry)) for name, entry in entries.items()}
        some = list(entries)[:: 1 + len(entries) // _ASKED]
        ratio = len(_dump([entries[name] for name in some]).encode()) / sum(sizes[name] for name in some)
        return {name: ceil(size * ratio) for name, size in sizes.items()}

    def _needs(self) -> dict[str, set[str]]:
        """Return by name what must be there before, also as Heat alone knows."""
        needs = {
            name: {target for kind, target in self._refers[name] if kind == "get_resource"}
            | set(entry.get("depends_on", ()))
            for name, entry in self.resources.items()
        }
        # Who is in a network waits for all its subnets in the same template.
        subnets: dict[tuple[str, str], set[str]] = {}
        for name, entry in self.resources.items():
            if entry["type"] == _SUBNET:
                for network in references(entry["properties"].get("network")):
                    subnets.setdefault(network, set()).add(name)
        for name, entry in self.resources.items():
            if entry["type"] != _SUBNET:
                needs[name].update(*(subnets.get(each, ()) for each in self._refers[name]))
        return needs

    def _outputs(self, names: Iterable[str], lent: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in names:
            original_id, fragment = self._named[name]
            if fragment.output or name in lent:
                kind = "get_param" if isinstance(fragment, HeatParameter) else "get_resource"
                words = f"New id of {fragment.type} {fragment.title}".rstrip()
                yield original_id, {"description": words, "value": {kind: name}}
            for attribute in fragment.tells if isinstance(fragment, HeatResource) else ():
                words = f"{attribute} of {fragment.type} {fragment.title}".rstrip()
                yield (
                    f"{original_id}.{attribute}",
                    {"description": words, "value": {"get_attr": [name, attribute]}},
                )

    def _taken_entry(self, name: str, each: Borrowed) -> dict[str, Any]:
        if _taken(name) in self.parameters:
            raise TemplateError(
                f"{self._named[name][0]} and another one would both be the parameter {_taken(name)}"
            )
        fragment = self._named[name][1]
        words = f"{fragment.type} {fragment.title}".rstrip()
        return {"type": "string", "description": f"New id of {words}, from stack {each.number}"}

    def _check_references(self) -> None:
        for name, entry in self.resources.items():
            depends_on = (("get_resource", target) for target in entry.get("depends_on", ()))
            for kind, target in (*sorted(self._refers[name]), *depends_on):
                if target not in (self.resources if kind == "get_resource" else self.parameters):
                    raise TemplateError(f"{name} refers to {target}, which nobody restored")


def _named(fragments: Mapping[str, Fragment]) -> dict[str, tuple[str, Fragment]]:
    """Return the fragments with their original ids, by name."""
    named: dict[str, tuple[str, Fragment]] = {}
    for original_id, fragment in fragments.items():
        name = fragment_name(original_id, fragment)
        if name in named:
            raise TemplateError(f"{named[name][0]} and {original_id} would both be named {name}")
        named[name] = (original_id, fragment)
    return dict(sorted(named.items()))


def _taken(name: str) -> str:
    """Return the name of the parameter that stands for a resource of another stack."""
    return f"p_{name}"


def _parameter(parameter: HeatParameter) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "string", "description": parameter.description}
    if parameter.constraint:
        entry["constraints"] = [{"custom_constraint": parameter.constraint}]
    return entry


def _resource(resource: HeatResource) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": resource.type, "properties": dict(resource.properties)}
    # A parameter is there before the stack: nothing to wait for.
    names = sorted({each["get_resource"] for each in resource.depends_on if "get_resource" in each})
    if names:
        entry["depends_on"] = names
    return entry


def _within(entry: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a resource's entry as it stands in a template with these resources alone."""
    within = {**entry, "properties": _properties_within(entry["properties"], names)}
    within["depends_on"] = [each for each in entry.get("depends_on", ()) if each in names]
    return within if within["depends_on"] else {key: within[key] for key in ("type", "properties")}


def _properties_within(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        target = value.get("get_resource") if len(value) == 1 else None
        if isinstance(target, str) and target not in names:
            return Reference(get_param=_taken(target))
        return {key: _properties_within(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_properties_within(item, names) for item in value]
    return value


class _Dumper(yaml.CSafeDumper):
    """PyYAML's C dumper that quotes whatever any YAML reader could take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """Write shared values out each time: Heat limits the aliases of a template."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _PLAIN.fullmatch(text) else '"')


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Reference, lambda dumper, reference: dumper.represent_dict(reference.items()))


def _dump(data: Any) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
