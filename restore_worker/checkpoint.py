"""One checkpoint: what Karbor's ``index.json`` says, parsed once into frozen models.

Format 0.9, the only one that Karbor ever wrote. Everything here is pure; `restore_worker.bank` reads the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from restore_worker.errors import CheckpointError, GraphError
from restore_worker.graph import ResourceGraph, build_graph
from restore_worker.resource import Resource, ResourceKey, check_id

VERSION = "0.9"

# What one checkpoint can hold; Heat takes 1000 resources in a stack unless its operator allows more.
_MOST_NODES, _MOST_EDGES = 100_000, 1_000_000
_LABEL = re.compile(r"(0x)?[0-9A-Fa-f]{1,16}")
_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
# Characters of names and ids; nothing of OpenStack has longer ones.
_LONGEST = 255
# Characters of a text from the bank that a message repeats.
_SHOWN = 80


def parse_json(data: bytes, where: str) -> Any:
    """Return the JSON document; CheckpointError that begins with ``where`` if it is none.

    It has neither NaN nor halves of UTF-16 pairs, its numbers up to 4300 digits and 200 levels at most. Of a name
    that an object has twice the last counts.
    """
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise CheckpointError(f"{where} is no JSON ({error}): it is truncated or damaged") from None


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return the field of a model's first error and what is wrong with it, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Pydantic's own sentence names the model, a word that nobody knows who reads a bank.
    message = "Input should be an object" if first["type"] == "model_type" else first["msg"]
    return ".".join(map(_part, first["loc"])), message[0].lower() + message[1:]


def _part(part: str | int) -> str:
    """Return a part of a field's name, which may be a name that the bank has."""
    text = str(part)
    return text if len(text) <= _SHOWN and text.isprintable() else repr(text[:_SHOWN])


def _mapping(value: Any) -> Any:
    """Read Karbor's extra_info: an object, the text of one, or nothing; other texts of a user say nothing."""
    if isinstance(value, str):
        try:
            value = parse_json(value.encode(), "extra_info")
        except CheckpointError:
            return {}
    return value if isinstance(value, dict) else {}


Text = Annotated[str, Field(max_length=_LONGEST)]
ExtraInfo = Annotated[dict[str, Any], BeforeValidator(_mapping)]
Name = Annotated[Text, BeforeValidator(lambda value: "" if value is None else value)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class ProtectionPlan(_Model):
    """The plan that the checkpoint was made by."""

    id: Text
    name: Name = ""


class _Index(_Model):
    version: Text
    id: Text
    status: Text
    project_id: Text = ""
    provider_id: Text = ""
    protection_plan: ProtectionPlan
    extra_info: ExtraInfo = Field(default_factory=dict)
    # The greatest is the last second of the year 9999, beyond which there are no dates.
    timestamp: int = Field(ge=0, le=253402300799)
    resource_graph: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint without its resources' definition data."""

    id: str
    status: Text
    plan: ProtectionPlan
    project_id: str
    provider_id: str
    created: datetime
    extra_info: Mapping[str, Any]
    # None until Karbor built it.
    graph: ResourceGraph | None

    def restorable_graph(self) -> ResourceGraph:
        """Return the graph; CheckpointError unless the checkpoint was finished and is kept."""
        if self.status != "available":
            raise CheckpointError(
                f"checkpoint {self.id} is {self.status!r}: only an 'available' checkpoint can be restored, "
                "choose another one (restore-worker checkpoint list)"
            )
        if self.graph is None:
            raise CheckpointError(f"checkpoint {self.id} has no resource_graph: its protection never got that far")
        if not self.graph.nodes:
            raise CheckpointError(f"checkpoint {self.id} has an empty resource_graph: there is nothing to restore")
        return self.graph


def parse_checkpoint(checkpoint_id: str, data: bytes) -> Checkpoint:
    """Return the checkpoint from the bytes of its ``index.json``.

    Raises CheckpointError, or GraphError for its graph, in one sentence that names checkpoint and field.
    """
    where = f"checkpoint {checkpoint_id}: index.json"
    document = parse_json(data, where)
    try:
        index = _Index.model_validate(document)
    except ValidationError as error:
        field, message = first_error(error)
        raise CheckpointError(f"{where}{f', field {field}' if field else ''}: {message}") from None
    if index.version != VERSION:
        raise CheckpointError(f"{where}, field version: {index.version!r} is not known, only {VERSION!r} is")
    if index.id != checkpoint_id:
        raise CheckpointError(f"{where}, field id: it is that of another checkpoint, {index.id!r}")
    return Checkpoint(
        id=index.id,
        status=index.status,
        plan=index.protection_plan,
        project_id=index.project_id,
        provider_id=index.provider_id,
        created=datetime.fromtimestamp(index.timestamp, UTC),
        extra_info=index.extra_info,
        graph=None if index.resource_graph is None else _graph(checkpoint_id, index.resource_graph),
    )


def _graph(checkpoint_id: str, text: str) -> ResourceGraph:
    where = f"checkpoint {checkpoint_id}: index.json, field resource_graph"
    document = parse_json(text.encode(), where)
    try:
        nodes, adjacency = document
        if not isinstance(nodes, dict) or not isinstance(adjacency, list):
            raise TypeError  # noqa: TRY301 - the same sentence as for a document of another length
    except (TypeError, ValueError):
        raise GraphError(f"{where}: it is not a pair of nodes and adjacency list") from None
    try:
        return build_graph(_nodes(nodes), list(_adjacency(adjacency)))
    except CheckpointError as error:
        raise GraphError(f"{where}: {error}") from None


def _nodes(nodes: dict[str, Any]) -> Iterator[tuple[str, Resource]]:
    if len(nodes) > _MOST_NODES:
        raise GraphError(f"it has {len(nodes)} nodes, more than the {_MOST_NODES} that are restored at once")
    for label in nodes:
        if not _LABEL.fullmatch(label):
            raise GraphError(f"a node's label is not a hexadecimal number: {label[:_SHOWN]!r}")
    for label in sorted(nodes, key=lambda label: int(label, 16)):
        node = nodes[label]
        # The samples of Karbor's API show three elements, its code writes four.
        if not isinstance(node, list) or len(node) not in (3, 4):
            raise GraphError(f"node {label} is not a list of type, id, name and extra_info")
        resource_type, resource_id, name = node[:3]
        if not isinstance(resource_type, str) or not _TYPE.fullmatch(resource_type):
            raise GraphError(f"node {label}: the type is not a text such as OS::Nova::Server")
        if not isinstance(resource_id, str) or not isinstance(name, str | None):
            raise GraphError(f"node {label} of type {resource_type}: id or name is not a text")
        if name and len(name) > _LONGEST:
            raise GraphError(
                f"node {label} of type {resource_type}: the name has {len(name)} characters, more than {_LONGEST}"
            )
        key = ResourceKey(resource_type, check_id(resource_id, f"node {label} of type {resource_type}: the id"))
        yield label, Resource(key, name or "", _mapping(node[3] if node[3:] else None))


def _adjacency(entries: list[Any]) -> Iterator[tuple[str, list[str]]]:
    edges = 0
    for entry in entries:
        match entry:
            case [str(parent), list(children)] if all(isinstance(child, str) for child in children):
                edges += len(children)
                if edges > _MOST_EDGES:
                    raise GraphError(f"it has more than the {_MOST_EDGES} edges that are restored at once")
                yield parent, children
            case _:
                raise GraphError("the adjacency list has an entry that is not a parent with a list of children")
