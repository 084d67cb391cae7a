"""What on a target may take the place of what a checkpoint names: the same, the nearest, or the only one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from restore_worker.errors import printable
from restore_worker.plugin import Target
from restore_worker.site_rules import Subject
from restore_worker.sitemap import PUBLIC_KEY, Kind, Shape

# So many names fit into a line.
_FEW = 10
# The services' lists; what is there has an id and a name.
_LISTS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "flavor": ("compute", "flavors", {"is_public": "None"}),
    "image": ("image", "images", {}),
    "key_pair": ("compute", "keypairs", {}),
    "network": ("network", "networks", {}),
    "security_group": ("network", "security_groups", {}),
    "server_group": ("compute", "server_groups", {}),
    "subnet": ("network", "subnets", {}),
    "volume_type": ("block_storage", "types", {"is_public": "None"}),
}


# Where the checkpoint tells of them, they are parts of it: a restore builds those that are not external.
_BUILT = ("network", "subnet", "security_group")


class Guess(NamedTuple):
    """What may take the place of something; value: None if a person must say. reason: why, or what there is."""

    value: str | None
    reason: str


class Guesses:
    """Looks at a target, and if it is named at the source, for what may take the place of what."""

    def __init__(self, target: Target, source: Target | None) -> None:
        self._target = target
        self._source = source

    def of(self, kind: Kind, subject: Subject) -> Guess:
        """Return a guess for one thing, which has at least one name."""
        if kind == "zone":
            return self._zone(subject)
        if kind in _BUILT and subject.properties and not subject.properties.get("router:external"):
            return Guess(None, "it is built anew, unless one of the target is named here")
        there = _things(kind, self._target)
        for called in (*subject.values, *self._names(kind, subject)):
            same = [each for each in there if each.id == called] or [each for each in there if each.name == called]
            if len(same) == 1:
                return Guess(called, "the target has it")
        if kind == "flavor" and (shape := self.shape(subject)) is not None:
            return _nearest(shape, there)
        if kind == "network" and self._is_external(subject):
            there = [each for each in there if each.is_router_external]
            if len(there) == 1:
                return Guess(there[0].name or there[0].id, "the only external network of the target")
        return Guess(None, _choices(each.name or each.id for each in there))

    def shape(self, flavor: Subject) -> Shape | None:
        """Return what a flavor of the source has, None if nobody tells."""
        found = self._originals("flavor", flavor)
        return next((Shape(name=e.name or None, vcpus=e.vcpus, ram=e.ram, disk=e.disk) for e in found), None)

    def public_key(self, key_pair: Subject) -> str | None:
        """Return the public key of a key pair of the source, None if nobody tells it, or it is of another form."""
        found = self._originals("key_pair", key_pair)
        return next((e.public_key for e in found if re.fullmatch(PUBLIC_KEY, e.public_key or "")), None)

    def _originals(self, kind: Kind, subject: Subject) -> list[Any]:
        if self._source is None:
            return []
        return [
            each
            for each in _things(kind, self._source)
            if each.id in subject.values or (kind == "key_pair" and each.name in subject.values)
        ]

    def _names(self, kind: Kind, subject: Subject) -> list[str]:
        return [each.name for each in self._originals(kind, subject) if each.name]

    def _is_external(self, network: Subject) -> bool:
        """Say whether it was one; of what neither checkpoint nor source knows, it is the best guess."""
        known = self._originals("network", network)
        return all(each.is_router_external for each in known)

    def _zone(self, subject: Subject) -> Guess:
        there = _zones(self._target, subject.resource.type)
        if len(there) == 1:
            return Guess(None, f"{there[0]} is the target's only zone, so its default one will do")
        same = next((each for each in subject.values if each in there), None)
        return Guess(same, "the target has it") if same else Guess(None, _choices(there))


def _things(kind: Kind, cloud: Target) -> Sequence[Any]:
    service, what, query = _LISTS[kind]

    def ask() -> list[Any]:
        connection = cloud.connection()
        own = {"project_id": connection.current_project_id} if kind == "security_group" else {}
        return list(getattr(getattr(connection, service), what)(**query, **own))

    return cloud.look(f"all of {service}.{what}", ask)


def _zones(cloud: Target, resource_type: str) -> Sequence[str]:
    service = "block_storage" if resource_type.startswith("OS::Cinder::") else "compute"
    zones = cloud.look(
        f"all zones of {service}", lambda: list(getattr(cloud.connection(), service).availability_zones())
    )
    return [each.name for each in zones if each.state["available"]]


def _nearest(shape: Shape, there: Iterable[Any]) -> Guess:
    found = shape.nearest(there)
    had = f"had {shape.vcpus} vCPUs, {shape.ram} MiB, {shape.disk} GiB"
    if found is None:
        return Guess(None, f"{had}, which none of the target holds; {_choices(each.name for each in there)}")
    return Guess(found.name, f"the nearest: {had}; has {found.vcpus}, {found.ram}, {found.disk}")


def _choices(names: Iterable[str]) -> str:
    known = sorted({printable(each) for each in names})
    more = f" and {len(known) - _FEW} more" if len(known) > _FEW else ""
    return f"the target has {', '.join(known[:_FEW])}{more}" if known else "the target has none"
