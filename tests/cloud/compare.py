"""Compares a restored application with the original, field by field.

What may differ is read from docs/not-in-the-bank.md: a field that stands in the table of its type. Where the page says
as what it comes back, it may be nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from tests.cloud.records import Record, Reference

PAGE = Path(__file__).parents[2] / "docs" / "not-in-the-bank.md"


class Difference(NamedTuple):
    """A field that came back as something else.

    type, field: as in docs/not-in-the-bank.md; field is "" if one of both is not there at all.
    original_id: "" for what was not there before.
    original, restored: the values, with the restored application's ids in both.
    """

    type: str
    field: str
    original_id: str
    original: Any
    restored: Any

    def __str__(self) -> str:
        return f"{self.type} {self.original_id} {self.field}: {self.original!r} became {self.restored!r}"


def _as(*values: Any) -> Callable[[Difference], bool]:
    return lambda difference: difference.restored in values


def _marks(difference: Difference) -> bool:
    """Say whether the metadata are those of the original, with Cinder's note of the backup and our marks, if any."""
    old, new = dict(difference.original), dict(difference.restored)
    for each in (old, new):
        each.pop("src_backup_id", None)
    marks = [new.pop(name, None) for name in ("restore_worker_restore", "restore_worker_original")]
    return new == old and (marks == [None, None] or (bool(marks[0]) and marks[1] == difference.original_id))


# What the page says that a field comes back as; the test cloud's default type is `standard`.
_PROMISED: Mapping[tuple[str, str], Callable[[Difference], bool]] = {
    ("OS::Nova::Server", "power_state"): _as("ACTIVE"),
    ("OS::Nova::Server", "metadata"): _as({}),
    ("OS::Nova::Server", "tags"): _as(frozenset()),
    ("OS::Nova::Server", "floating_ips"): lambda each: len(each.restored) == len(each.original),
    ("OS::Cinder::Volume", "volume_type"): _as("standard"),
    ("OS::Cinder::Volume", "description"): _as(None, ""),
    ("OS::Cinder::Volume", "metadata"): _marks,
    ("OS::Cinder::Volume", "group_id"): _as(None),
    ("OS::Glance::Image", "min_disk"): _as(0),
    ("OS::Glance::Image", "min_ram"): _as(0),
    # Shared with nobody is private.
    ("OS::Glance::Image", "visibility"): _as("private", "shared"),
    ("OS::Glance::Image", "protected"): _as(False),
    ("OS::Glance::Image", "tags"): lambda each: each.restored > {"restore-worker", f"original:{each.original_id}"},
    ("OS::Neutron::Network", "router_metadata.admin_state_up"): _as(True),
    ("OS::Neutron::Network", "port_metadata.binding:vnic_type"): _as("normal"),
    ("OS::Neutron::Network", "security-group_metadata.stateful"): _as(True),
}


def compare(
    original: Mapping[str, Record], restored: Mapping[str, Record], ids: Mapping[str, str]
) -> list[Difference]:
    """Return all differences.

    original, restored: by id, as `tests.cloud.record.record` returned them before and after.
    ids: new id by original id; what has none keeps its id.
    """
    found: list[Difference] = []
    for original_id, before in original.items():
        after = restored.get(ids.get(original_id, ""))
        if after is None:
            found.append(Difference(before.type, "", original_id, before, None))
        else:
            found += _differences(original_id, _mapped(before, ids), after)
    new = restored.keys() - {ids.get(each) for each in original}
    return found + [Difference(restored[each].type, "", "", None, restored[each]) for each in sorted(new)]


def allowed_differences(page: str | None = None) -> frozenset[tuple[str, str]]:
    """Return the pairs of type and field that may differ.

    page: text of docs/not-in-the-bank.md, by default of that of this checkout.
    """
    found: set[tuple[str, str]] = set()
    resource_type = ""
    for line in (PAGE.read_text() if page is None else page).splitlines():
        if heading := re.fullmatch(r"## (OS::\S+)", line):
            resource_type = heading[1]
        elif row := re.fullmatch(r"\| `([^`]+)` \| .+ \|", line):
            found.add((resource_type, row[1]))
    return frozenset(found)


def not_allowed(differences: Iterable[Difference]) -> list[Difference]:
    """Return those differences that may not be: the page tells nothing of them, or something else."""
    may = allowed_differences()
    return [each for each in differences if (each.type, each.field) not in may or not _as_promised(each)]


def _as_promised(difference: Difference) -> bool:
    promised = _PROMISED.get((difference.type, difference.field))
    return promised is None or promised(difference)


def _differences(original_id: str, before: Record, after: Record) -> Iterator[Difference]:
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(after, name, None)
        if old != new:
            yield Difference(before.type, f"{before.part}{field.alias or name}", original_id, old, new)


def _mapped(value: Any, ids: Mapping[str, str]) -> Any:
    """Return the value with the new ids in the place of the original ones."""
    match value:
        case Reference(id):
            return Reference(ids.get(id, id))
        case BaseModel():
            fields = {name: _mapped(getattr(value, name), ids) for name in type(value).model_fields}
            return value.model_copy(update=fields)
        case frozenset() | tuple():
            return type(value)(_mapped(each, ids) for each in value)
        case _:
            return value
