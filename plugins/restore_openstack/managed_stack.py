"""Stacks that are restored as stacks of their own: Heat, as a plugin asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from restore_openstack.lookups import or_none
from restore_openstack.stack_definition import StackWork
from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.plugin import Context, StillBuilding

if TYPE_CHECKING:
    from openstack.connection import Connection

STACK = "OS::Heat::Stack"
_NOTHING = "OS::Heat::None"
# So deep Heat lets stacks be nested by default.
_NESTED = 5


class Stack(BaseModel):
    """A stack as Heat shows it."""

    id: str
    name: str = Field(alias="stack_name")
    status: str = Field(alias="stack_status")
    reason: str | None = Field(alias="stack_status_reason", default=None)
    tags: list[str] | None = None

    @property
    def busy(self) -> bool:
        """Whether an action is going on."""
        return self.status.endswith("_IN_PROGRESS")


class Part(BaseModel):
    """A resource of a stack or of one nested in it."""

    name: str = Field(alias="resource_name")
    type: str = Field(alias="resource_type")
    status: str = Field(alias="resource_status")
    reason: str | None = Field(alias="resource_status_reason", default=None)
    physical_id: str | None = Field(alias="physical_resource_id", default=None)
    parent: str | None = Field(alias="parent_resource", default=None)
    links: list[dict[str, str]] = Field(default_factory=list)

    @property
    def stack_id(self) -> str:
        """Id of the stack that it is in."""
        where = next((each["href"] for each in self.links if each["rel"] == "stack"), "")
        return where.rpartition("/")[2]


class _Stacks(BaseModel):
    stacks: list[Stack]


class _OneStack(BaseModel):
    stack: Stack


class _Created(BaseModel):
    class _Id(BaseModel):
        id: str

    stack: _Id


class _Parts(BaseModel):
    resources: list[Part]


def look(connection: Connection, name_or_id: str) -> Stack | None:
    """Return a stack, None if there is none."""
    found = or_none(lambda: _get(connection, f"/stacks/{quote(name_or_id)}"))
    return None if found is None else _OneStack.model_validate_json(found).stack


def find(context: Context, original_id: str) -> str | None:
    """Return the id of what an earlier run made."""
    mark = _mark(context, original_id)
    listed = or_none(lambda: _get(context.connection(), f"/stacks?tags={quote(mark)}"))
    found = [] if listed is None else _Stacks.model_validate_json(listed).stacks
    return next((each.id for each in found if mark in (each.tags or ()) and "DELETE" not in each.status), None)


def create(context: Context, original_id: str, work: StackWork, values: Mapping[str, Any]) -> str:
    """Begin to create the stack with its volumes alone, and return its id."""
    tags = ",".join(dict.fromkeys((*work.tags, _mark(context, original_id))))
    body = _request(work, values, work.stand_ins) | {"stack_name": work.name, "tags": tags}
    answer = _send(context.connection(), "POST", "/stacks", body)
    return _Created.model_validate_json(answer).stack.id


def complete(context: Context, stack_id: str, work: StackWork, values: Mapping[str, Any]) -> str:
    """Begin to make the stack what its template says; return its id."""
    stack = look(context.connection(), stack_id)
    name = stack.name if stack else work.name
    tags = {"tags": ",".join(stack.tags)} if stack and stack.tags else {}
    _send(context.connection(), "PUT", f"/stacks/{quote(name)}/{stack_id}", _request(work, values, ()) | tags)
    return stack_id


def completed(context: Context, stack_id: str) -> str | None:
    """Return its id if that was begun already."""
    stack = look(context.connection(), stack_id)
    return stack_id if stack and stack.status in {"UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"} else None


def parts(connection: Connection, stack: Stack) -> dict[str, Part]:
    """Return all resources of a stack by path, names with slashes between, those of nested stacks too."""
    path = f"/stacks/{quote(stack.name)}/{stack.id}/resources?nested_depth={_NESTED}"
    found = _Parts.model_validate_json(_get(connection, path)).resources
    by_physical_id = {each.physical_id: each for each in found if each.physical_id}

    def path_of(part: Part) -> str:
        above = by_physical_id.get(part.stack_id)
        return part.name if above is None or part.stack_id == stack.id else f"{path_of(above)}/{part.name}"

    return {path_of(each): each for each in found}


def delete(context: Context, original_id: str, made: Mapping[str, str]) -> None:
    """Delete the stack with all that is in it; CloudUnavailableError until it is gone."""
    connection = context.connection()
    stack_id = made.get("stack") or find(context, original_id)
    stack = look(connection, stack_id) if stack_id else None
    if stack is None or stack.status == "DELETE_COMPLETE":
        return
    if stack.status == "DELETE_FAILED":
        _send(connection, "DELETE", f"/stacks/{quote(stack.name)}/{stack.id}")
        raise CloudUnavailableError(f"Heat could not delete stack {stack.name}, and tries again: {stack.reason}")
    if not stack.status.startswith("DELETE_"):
        _send(connection, "DELETE", f"/stacks/{quote(stack.name)}/{stack.id}")
    raise CloudUnavailableError(f"stack {stack.name} is being deleted")


def failure(connection: Connection, stack: Stack) -> str:
    """Return what failed in a stack, in Heat's words."""
    broken = [
        f"{path}: {part.reason}"
        for path, part in parts(connection, stack).items()
        if part.status.endswith("_FAILED") and "aborted" not in (part.reason or "")
    ]
    return "; ".join(broken) or stack.reason or "it does not say why"


def built(context: Context, stack_id: str) -> Stack:
    """Return the stack once Heat has nothing to do with it; StillBuilding until then, or if it is gone."""
    stack = look(context.connection(), stack_id)
    if stack is None or stack.status.startswith("DELETE_"):
        context.gone("stack")
        raise StillBuilding(f"stack {stack_id} was deleted: it is built again")
    if stack.busy:
        raise StillBuilding(f"stack {stack.name} is {stack.status}")
    return stack


def give_up(context: Context, stack: Stack) -> CloudError:
    """Begin to delete a stack of which no volume is filled; return the error to raise."""
    connection = context.connection()
    reason = failure(connection, stack)
    _send(connection, "DELETE", f"/stacks/{quote(stack.name)}/{stack.id}")
    context.gone("stack")
    return CloudError(
        f"Heat could not build the volumes of stack {stack.name}: {reason}; it is deleted, and resume builds "
        "another"
    )


def _request(work: StackWork, values: Mapping[str, Any], stand_ins: Sequence[str]) -> dict[str, Any]:
    registry = work.registry | dict.fromkeys(stand_ins, _NOTHING)
    body: dict[str, Any] = {
        "template": work.template,
        "files": work.files,
        "environment": {"resource_registry": registry, "parameter_defaults": work.defaults},
        "parameters": dict(values),
        "disable_rollback": True,
    }
    return body | ({"timeout_mins": work.timeout_mins} if work.timeout_mins else {})


def _mark(context: Context, original_id: str) -> str:
    # Heat takes 80 characters.
    return f"of-{context.restore_id}-{original_id}"[:80]


def _get(connection: Connection, path: str) -> bytes:
    return _answered(connection.session.get(path, raise_exc=False, **_heat(connection)))


def _send(connection: Connection, verb: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
    return _answered(connection.session.request(path, verb, json=body, raise_exc=False, **_heat(connection)))


def _heat(connection: Connection) -> dict[str, Any]:
    """Return where Heat is, as the catalog has it: openstacksdk's proxy wants it to tell of its versions first."""
    config = connection.config
    where = {
        "service_type": "orchestration",
        "interface": config.get_interface("orchestration"),
        "region_name": config.get_region_name("orchestration"),
    }
    return {"endpoint_filter": where, "endpoint_override": config.get_endpoint("orchestration")}


def _answered(response: Any) -> bytes:
    from openstack.exceptions import raise_from_response

    raise_from_response(response)
    content: bytes = response.content
    return content
