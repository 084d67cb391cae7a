"""What a checkpoint holds of one resource."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from restore_worker.errors import CheckpointError

# Karbor's bank plugins take these characters in a key; "/" and ".." would leave the resource's own folder.
_ID = re.compile(r"[A-Za-z0-9_.@-]{1,255}")


class ResourceKey(NamedTuple):
    """Identity of a resource: its type and the id that it had in the protected cloud."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}#{self.id}"


def check_id(text: str, what: str) -> str:
    """Return ``text`` if it can be part of a bank key, else raise CheckpointError that names ``what``."""
    if not _ID.fullmatch(text) or ".." in text:
        raise CheckpointError(
            f"{what} {text[:80]!r} is not an id: ids have letters, digits and _ . @ - without '..'"
        )
    return text


@dataclass(frozen=True, slots=True)
class Resource:
    """A node of the resource graph."""

    key: ResourceKey
    # As in the checkpoint, character for character; may be empty.
    name: str
    # What the protectable plugin noted in the graph, e.g. a volume's availability zone.
    extra_info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """Type of the resource, such as ``OS::Nova::Server``."""
        return self.key.type

    @property
    def id(self) -> str:
        """Original id of the resource."""
        return self.key.id

    def __str__(self) -> str:
        return f"{self.type} {self.name!r} ({self.id})" if self.name else f"{self.type} ({self.id})"
