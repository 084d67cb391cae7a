"""One checkpoint: what Karbor's ``index.json`` says, parsed once into frozen models.

Format 0.9, the only one that Karbor ever wrote. Everything here is pure; `restore_worker.bank` reads the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from restore_worker.errors import CheckpointError, GraphError
from restore_worker.graph import ResourceGraph, build_graph
from restore_worker.resource import Resource, ResourceKey, check_id

VERSION = "0.9"


def parse_json(data: bytes, where: str) -> Any:
    """Return the JSON document; CheckpointError that begins with ``where`` if it is none."""
    try:
        # Half of a UTF-16 pair is no text that could be stored or sent: json.loads lets it pass, decode does not.
        document = json.loads(data.decode())
        if b"\\ud" in data.lower():
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        kind = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON ({error})"
        raise CheckpointError(f"{where} {kind}: it is truncated or damaged") from None
    return document


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return the field of a model's first error and what is wrong with it, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Pydantic's own sentence names the model, a word that nobody knows who reads a bank.
    message = "Input should be an object" if first["type"] == "model_type" else first["msg"]
    return ".".join(str(part) for part in first["loc"]), message[0].lower() + message[1:]


def _mapping(value: Any) -> Any:
    """Read Karbor's extra_info: an object, the text of one, or nothing; other texts of a user say nothing."""
    if isinstance(value, str):
        try:
            value = parse_json(value.encode(), "extra_info")
        except CheckpointError:
            return {}
    return value if isinstance(value, dict) else {}


ExtraInfo = Annotated[dict[str, Any], BeforeValidator(_mapping)]
Name = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class ProtectionPlan(_Model):
    """The plan that the checkpoint was made by."""

    id: str
    name: Name = ""


class _Index(_Model):
    version: str
    id: str
    status: str
    project_id: str = ""
    provider_id: str = ""
    protection_plan: ProtectionPlan
    extra_info: ExtraInfo = Field(default_factory=dict)
    # The greatest is the last second of the year 9999, beyond which there are no dates.
    timestamp: int = Field(ge=0, le=253402300799)
    resource_graph: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint without its resources' definition data."""

    id: str
    status: str
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
    try:
        labels = sorted(nodes, key=lambda label: int(label, 16))
    except ValueError:
        raise GraphError("a node's label is not a hexadecimal number") from None
    for label in labels:
        node = nodes[label]
        # The samples of Karbor's API show three elements, its code writes four.
        if not isinstance(node, list) or len(node) not in (3, 4):
            raise GraphError(f"node {label} is not a list of type, id, name and extra_info")
        resource_type, resource_id, name = node[:3]
        if not isinstance(resource_type, str) or not resource_type:
            raise GraphError(f"node {label}: the type is not a text")
        if not isinstance(resource_id, str) or not isinstance(name, str | None):
            raise GraphError(f"node {label} of type {resource_type}: id or name is not a text")
        key = ResourceKey(resource_type, check_id(resource_id, f"node {label} of type {resource_type}: the id"))
        yield label, Resource(key, name or "", _mapping(node[3] if node[3:] else None))


def _adjacency(entries: list[Any]) -> Iterator[tuple[str, list[str]]]:
    for entry in entries:
        match entry:
            case [str(parent), list(children)] if all(isinstance(child, str) for child in children):
                yield parent, children
            case _:
                raise GraphError("the adjacency list has an entry that is not a parent with a list of children")
