"""The name under which something comes back."""

from __future__ import annotations

from restore_worker.plugin import Selection
from restore_worker.resource import Resource


def name_of(resource: Resource, selection: Selection) -> str:
    """Return what the parameter ``restore_name`` or the site map says, or else its old name."""
    mapped = selection.mapped("name", resource.name or None, resource, "name", parameter="restore_name")
    return resource.name if mapped is None else mapped.value
