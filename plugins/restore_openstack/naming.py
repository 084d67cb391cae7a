"""The name under which something comes back."""

from __future__ import annotations

from restore_worker.plugin import Report, Selection
from restore_worker.resource import Resource


def name_of(resource: Resource, selection: Selection, report: Report) -> str:
    """Return what ``restore_name`` says; else the site map or the old name, as `Selection.named` has it."""
    mapped = selection.mapped("name", resource.name or None, resource, "name", parameter="restore_name")
    if mapped is not None and selection.parameters(resource.key).restore_name is not None:
        return mapped.value
    return selection.named(resource.name if mapped is None else mapped.value, report)
