"""Fragments of a Heat Orchestration Template (HOT).

A plugin puts *fragments*, each under an original id: a `HeatResource` that Heat shall build, or a
`HeatParameter` that stands for something already built (or, in a rendering, still to be built). A parent
refers to its children by original id and need not know which of the two they are.

HOT: https://docs.openstack.org/heat/latest/template_guide/hot_spec.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from restore_worker.errors import TemplateError

# A mapping of one of these names alone is a function call to some version of HOT, which has no way to quote it.
_FUNCTION = re.compile(
    "and|contains|digest|equals|filter|get_(attr|file|param|resource)|if|list_(concat|concat_unique|join)|make_url|"
    "map_(merge|replace)|not|or|repeat|resource_facade|str_(replace|replace_strict|replace_vstrict|split)|yaql|"
    "Ref|Fn::.*"
)


class Reference(dict[str, str]):
    """``{"get_resource": name}`` or ``{"get_param": name}``: the only mapping with a meaning to Heat."""


@dataclass(frozen=True, slots=True)
class HeatResource:
    """A resource that Heat shall build.

    type: a type that Heat supports, such as ``OS::Nova::Server``.
    properties: by HOT property name. None anywhere inside means absent, since Heat reads an explicit
        null as the type's empty value.
    depends_on: references to what must be there first beyond what the properties refer to.
    title: what a person calls it, for the output's description.
    output: False for mere links (an attachment, an interface), which had no id of their own before.
    tells: attributes that the user wants to know of it once it is there, such as ``networks``.
    """

    type: str
    properties: Mapping[str, Any]
    depends_on: Sequence[Reference] = ()
    title: str = ""
    output: bool = True
    tells: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HeatParameter:
    """Something that Heat finds already there.

    value: physical id on the target, None while nobody has built it (a rendering). It never enters the
        HOT but the Heat environment beside it.
    type: the resource type it stands for.
    constraint: Heat's custom constraint that looks the value up, such as ``glance.image``; "" for none.
    description: what belongs in the parameter.
    title: what a person calls it, for the output's description.
    """

    value: str | None
    type: str
    constraint: str = ""
    description: str = ""
    title: str = ""
    output: bool = True


Fragment = HeatResource | HeatParameter


def fragment_name(original_id: str, fragment: Fragment) -> str:
    """Return the fragment's name in the HOT, made of its type and original id alone."""
    stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", fragment.type.rsplit("::", 1)[-1])
    name = f"{stem.lower()}_{re.sub('[^A-Za-z0-9_.-]', '_', original_id)}"
    return f"p_{name}" if isinstance(fragment, HeatParameter) else name


class HeatTemplate:
    """The template as one plugin sees it: its own fragments, and by look-up those of its children.

    find: returns the fragment that another resource put under an original id, None if there is none.
    """

    def __init__(self, find: Callable[[str], Fragment | None] = lambda _: None) -> None:
        self._find = find
        self.fragments: dict[str, Fragment] = {}

    def put_resource(self, original_id: str, resource: HeatResource) -> None:
        """Have Heat build ``resource`` in the place of ``original_id``; TemplateError if it is no plain data."""
        name = fragment_name(original_id, resource)
        plain = replace(
            resource,
            properties=_plain(resource.properties, name),
            depends_on=tuple(resource.depends_on),
            tells=tuple(resource.tells),
            title=_plain(resource.title, f"title of {name}"),
        )
        self._put(original_id, plain)

    def put_parameter(self, original_id: str, parameter: HeatParameter) -> None:
        """Let ``original_id`` be what ``parameter`` stands for; TemplateError if its texts are none."""
        name = fragment_name(original_id, parameter)
        plain = replace(
            parameter,
            description=_plain(parameter.description, f"description of {name}"),
            title=_plain(parameter.title, f"title of {name}"),
        )
        self._put(original_id, plain)

    def get_resource_reference(self, original_id: str) -> Reference:
        """Return how a property refers to ``original_id``; TemplateError if nobody has put it."""
        fragment = self._get(original_id)
        kind = "get_param" if isinstance(fragment, HeatParameter) else "get_resource"
        return Reference({kind: fragment_name(original_id, fragment)})

    def get_physical_id(self, original_id: str) -> str:
        """Return the id on the target, for builders that cannot wait for Heat; TemplateError if Heat builds it."""
        fragment = self._get(original_id)
        if isinstance(fragment, HeatParameter) and fragment.value is not None:
            return fragment.value
        raise TemplateError(f"{fragment.type} {original_id} has no id on the target yet: Heat is to build it")

    def has(self, original_id: str) -> bool:
        """Say whether something was put under ``original_id``."""
        return original_id in self.fragments or self._find(original_id) is not None

    def _put(self, original_id: str, fragment: Fragment) -> None:
        if self.fragments.get(original_id, fragment) != fragment:
            raise TemplateError(f"{original_id} was put twice, with different content")
        self.fragments[original_id] = fragment

    def _get(self, original_id: str) -> Fragment:
        fragment = self.fragments.get(original_id) or self._find(original_id)
        if fragment is None:
            raise TemplateError(f"nothing was restored for {original_id}, which is referred to")
        return fragment


def _plain(value: Any, where: str) -> Any:
    """Return ``value`` as data that means to Heat what it says: no nulls, mappings sorted by key."""
    if value is None or isinstance(value, Reference | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise TemplateError(f"{where}: the text holds half of a UTF-16 pair, which no template can carry")
        # The text itself, also of an enumeration's member.
        return str.__str__(value)
    if isinstance(value, Mapping):
        entries = {
            _plain(str(key), where): _plain(item, f"{where}.{key}")
            for key, item in value.items()
            if item is not None
        }
        if len(entries) == 1 and _FUNCTION.fullmatch(name := next(iter(entries))):
            raise TemplateError(f"{where}: the mapping {name!r} would be a function call to Heat")
        return dict(sorted(entries.items()))
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value) if item is not None]
    raise TemplateError(f"{where}: a {type(value).__name__} is no data that a template can carry")


def dump_fragment(fragment: Fragment) -> str:
    """Return the fragment as JSON, to be read by `load_fragment`."""
    kind = "parameter" if isinstance(fragment, HeatParameter) else "resource"
    fields = {name: getattr(fragment, name) for name in fragment.__slots__}
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"), sort_keys=True)


def load_fragment(text: str | bytes) -> Fragment:
    """Return the fragment that `dump_fragment` wrote."""
    fields = json.loads(text)
    if fields.pop("kind") == "parameter":
        return HeatParameter(**fields)
    fields["depends_on"] = tuple(Reference(each) for each in fields["depends_on"])
    fields["tells"] = tuple(fields["tells"])
    return HeatResource(**fields)
