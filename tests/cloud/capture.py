"""Captures a stack that runs in a cloud, in the form of docs/bank-format.md: all that Heat tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from openstack.connection import Connection
from openstack.exceptions import raise_from_response

_HIDDEN = "******"
# Parameters that Heat adds itself.
_OF_HEAT = "OS::"


def capture(cloud: Connection, stack_id: str) -> dict[str, Any]:
    """Return the metadata of a stack, without volumes; openstacksdk's errors if there is none.

    The template is as Heat has it, which is not letter by letter as its user gave it.
    """
    stack = _ask(cloud, f"/stacks/{quote(stack_id)}")["stack"]
    place = f"/stacks/{quote(stack['stack_name'])}/{stack_id}"
    environment = _ask(cloud, f"{place}/environment")
    parameters = {name: value for name, value in stack["parameters"].items() if not name.startswith(_OF_HEAT)}
    return {
        "resource_id": stack_id,
        "template": cloud.orchestration.get(f"{place}/template").text,
        "files": _ask(cloud, f"{place}/files"),
        "environment": {
            name: value
            for name, value in environment.items()
            if name in {"resource_registry", "parameter_defaults"} and value
        },
        "parameters": {name: value for name, value in parameters.items() if value != _HIDDEN},
        "hidden": [name for name, value in parameters.items() if value == _HIDDEN],
        "tags": stack["tags"] or [],
        "timeout_mins": stack["timeout_mins"],
    }


def volumes(cloud: Connection, stack_id: str) -> dict[str, str]:
    """Return the ids of the stack's volumes by their path."""
    return {path: each["physical_resource_id"] for path, each in parts(cloud, stack_id) if _is_volume(each)}


def physical_ids(cloud: Connection, stack_id: str) -> dict[str, str]:
    """Return the ids of all that is in the stack by path."""
    return {path: each["physical_resource_id"] for path, each in parts(cloud, stack_id)}


def parts(cloud: Connection, stack_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the resources of the stack and of those nested in it with their path."""
    yield from _parts(cloud, stack_id, "")


def _parts(cloud: Connection, stack_id: str, above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    name = _ask(cloud, f"/stacks/{quote(stack_id)}")["stack"]["stack_name"]
    for each in _ask(cloud, f"/stacks/{quote(name)}/{stack_id}/resources")["resources"]:
        path = f"{above}{each['resource_name']}"
        yield path, each
        if any(link["rel"] == "nested" for link in each["links"]):
            yield from _parts(cloud, each["physical_resource_id"], f"{path}/")


def _is_volume(part: dict[str, Any]) -> bool:
    return bool(part["resource_type"] == "OS::Cinder::Volume")


def _ask(cloud: Connection, path: str) -> Any:
    response = cloud.orchestration.get(path)
    raise_from_response(response)
    return response.json()
