"""What of a topology is on the target already, and what it is called there, as the site map says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from restore_openstack.topology import NET, SECURITY_GROUP, SUBNET, NetworkDefinition
from restore_worker.plugin import Mapped, Selection
from restore_worker.resource import Resource, ResourceKey

Kind = Literal["network", "subnet", "security_group"]
_KINDS: Mapping[str, Kind] = {NET: "network", SUBNET: "subnet", SECURITY_GROUP: "security_group"}


class Elsewhere:
    """Asks the site map for parts of a topology.

    topology: None if there is none; a part may be unknown to it, such as a network of another project.
    """

    def __init__(self, topology: NetworkDefinition | None, selection: Selection) -> None:
        self._topology = topology or NetworkDefinition()
        self._selection = selection

    def find(self, part_type: str, original_id: str) -> Mapped | None:
        """Return what takes the place of a network, subnet or security group; None if it is no other one."""
        name, properties = self._known(part_type, original_id)
        return self._selection.mapped(
            _KINDS[part_type],
            original_id,
            Resource(ResourceKey(part_type, original_id), name),
            "id",
            also=filter(None, [name]),
            properties=properties,
        )

    def among(self, part_type: str, original_ids: Iterable[str]) -> frozenset[str]:
        """Return those that are on the target already."""
        return frozenset(each for each in original_ids if self.find(part_type, each) is not None)

    def _known(self, part_type: str, original_id: str) -> tuple[str, dict[str, Any]]:
        known: dict[str, Mapping[str, Any]] = {
            NET: self._topology.networks,
            SUBNET: self._topology.subnets,
            SECURITY_GROUP: self._topology.security_groups,
        }
        if (part := known[part_type].get(original_id)) is None:
            return "", {}
        return part.name or "", part.model_dump(by_alias=True, exclude={"rules"}, exclude_none=True)
