"""Heat: the stack that a restore has made of its template."""

from __future__ import annotations

import functools
import json
import re
import uuid
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import heatclient.exc as heat
from heatclient.client import Client

from restore_worker.cloud import connect, discreet, translated
from restore_worker.cut import Limits
from restore_worker.entries import Built, stack_name
from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.hot import HOT_VERSION, Hot

# On all our stacks.
_TAG = "restore-worker"
# How many stacks are asked for by name at once: their URL must stay below the 8 KiB that servers take.
_NAMES = 100
_GONE = "DELETE_COMPLETE"
# What Heat says of a template or a request that is too large, in bytes: how large it is, and may be.
_TOO_LONG = re.compile(r"\((\d+) bytes\) exceeds maximum allowed size \((\d+) bytes\)")
# Bytes of a request at most that are not the template or its parameters' values: name, tags, options.
_BESIDE = 500


class StackRefusedError(CloudError):
    """Heat would not take a stack, whatever is in it: ``field`` says what is in the way."""

    def __init__(self, field: str, found: str, mend: str) -> None:
        super().__init__(f"{found}: {mend}")
        self.field, self.found, self.mend = field, found, mend


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as Heat shows it.

    status: such as ``CREATE_COMPLETE``.
    reason: Heat's words for it.
    updated: ISO time when its last update, else its creation, was begun.
    """

    id: str
    name: str
    status: str
    reason: str
    updated: str

    @property
    def mark(self) -> str:
        """Text that changes whenever an action was begun or ended."""
        return f"{self.status} {self.updated}"

    @property
    def busy(self) -> bool:
        """Whether an action is going on."""
        return self.status.endswith("_IN_PROGRESS")

    @property
    def complete(self) -> bool:
        """Whether all of the template is there."""
        return self.status.endswith("_COMPLETE") and not self.deleted and not self.failed

    @property
    def failed(self) -> bool:
        """Whether the last action failed, rolled back or not."""
        return self.status.endswith("_FAILED") or self.status == "ROLLBACK_COMPLETE"

    @property
    def deleted(self) -> bool:
        """Whether it is deleted or being deleted."""
        return self.status.startswith("DELETE_")


@dataclass(frozen=True, slots=True)
class StackEvent:
    """Something that happened to a resource, or to the stack under its own name. time: ISO, by Heat's clock."""

    id: str
    resource: str
    status: str
    reason: str
    time: str = ""


class Heat:
    """Heat of one cloud.

    All calls raise CloudError if Heat refuses, CloudUnavailableError if the same call may succeed later; after
    the latter a change may have been made nevertheless: `find` tells.
    """

    def __init__(self, cloud: str) -> None:
        """Take the cloud of that name in clouds.yaml; CloudError if there is none."""
        connection = connect(cloud)
        self._cloud = cloud
        self._client = Client(
            "1",
            session=connection.session,
            region_name=connection.config.get_region_name("orchestration"),
            interface=connection.config.get_interface("orchestration"),
            endpoint_override=connection.config.get_endpoint("orchestration"),
        )

    def find(self, name_or_id: str) -> Stack | None:
        """Return a stack, None if there is none; a deleted one is found by id alone."""
        with translated(self._cloud, f"looking for the stack {name_or_id}"):
            try:
                found = self._stack(self._client.stacks.get(name_or_id, resolve_outputs=False))
            except heat.HTTPNotFound:
                return None
        # For a moment, one that is just deleted still has its name.
        return None if found.status == _GONE and found.name == name_or_id else found

    def ours(self, names: Sequence[str]) -> dict[str, Stack]:
        """Return by name those of the stacks that restores have made and that are not deleted.

        One call for each hundred names, whatever else there is in the project.
        """
        # Heat takes a single name as one of the tag where it is also asked for `tags`, and fails.
        lists = functools.partial(self._client.stacks.list, tags_any=_TAG)
        with translated(self._cloud, "listing the stacks of restores"):
            asked = (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))
            stacks = [self._stack(each) for some in asked for each in lists(filters={"name": some})]
            return {found.name: found for found in stacks if found.status != _GONE}

    def smaller(self, hot: Hot) -> Limits | None:
        """Return how large a stack may be, None if it may be as large as this one; changes nothing.

        hot: it may lack values yet.
        Raises StackRefusedError if that would not help.
        """
        words = self._limit_of(_stand_in(hot.resources, hot))
        if words is None:
            return None
        if sizes := _TOO_LONG.search(words):
            # The template, or the request, of which it is a part.
            found, most = map(int, sizes.groups())
            return Limits(hot.resources, min(hot.size - 1, hot.size * most // found))
        # Heat tells not how many there may be, but whether these are too many: some ten questions.
        most = bisect_left(
            range(1, hot.resources + 1), True, key=lambda count: bool(self._limit_of(_stand_in(count)))
        )
        if hot.resources == 1 or not 0 < most < hot.resources:
            # Heat says itself what to do about too many stacks.
            advice = "" if "per tenant" in words else "restore less at a time, or "
            raise StackRefusedError(
                "limits",
                f"Heat of cloud {self._cloud} takes no stack of {hot.resources} resources and {hot.size} bytes: "
                f"{discreet(self._cloud, words).rstrip('.')}",
                f"{advice}have the limit raised",
            )
        return Limits(most, hot.size)

    def _limit_of(self, request: Mapping[str, Any]) -> str | None:
        """Return which limit a stack would exceed, in Heat's words; None if it would exceed none."""
        with translated(self._cloud, "trying how large a stack may be"):
            try:
                self._client.stacks.preview(**request)
            except heat.HTTPBadRequest as error:
                match error.error["error"]:
                    # As far as Heat got: it counts before it looks for parameters.
                    case {"type": "UserParameterMissing"}:
                        return None
                    case {"type": "RequestLimitExceeded", "message": words}:
                        return str(words)
                raise
            except heat.HTTPForbidden as error:
                raise StackRefusedError(
                    "roles",
                    f"Heat of cloud {self._cloud} lets the user create no stack: {self._said(error)}",
                    "have an admin give the user the role that the cloud wants of stack owners, such as "
                    "heat_stack_owner or member (openstack role add)",
                ) from None
        return None

    def try_template(self, template: Mapping[str, Any], values: Mapping[str, str]) -> str | None:
        """Return why Heat would not take the template with these values, None if it would; changes nothing."""
        name = stack_name(f"room-{uuid.uuid4()}")
        with translated(self._cloud, "trying what Heat says of the template"):
            try:
                self._client.stacks.preview(stack_name=name, template=template, parameters=values)
            except heat.HTTPBadRequest as error:
                return self._said(error)
        return None

    def preview(self, restore_id: str, hot: Hot) -> None:
        """Have Heat check the template against the cloud; a stack that is there already is left to `create`."""
        name = stack_name(restore_id, hot.number)
        with translated(self._cloud, f"checking the stack {name}"):
            try:
                self._client.stacks.preview(stack_name=name, **_template(hot))
            except heat.HTTPConflict:
                return

    def create(self, restore_id: str, checkpoint_id: str, hot: Hot, *, minutes: int) -> Stack:
        """Begin to create the stack of a restore and return it; if it is there already, return it as it is.

        minutes: after which Heat gives up.
        What Heat made stays if it fails, so that `update` can go on from there.
        """
        name = stack_name(restore_id, hot.number)
        mark, *others = _tags(restore_id, checkpoint_id)
        with translated(self._cloud, f"creating the stack {name}"):
            try:
                created = self._client.stacks.create(
                    stack_name=name,
                    tags=",".join([mark, *others]),
                    timeout_mins=minutes,
                    disable_rollback=True,
                    **_template(hot),
                )
                # By id it is found even if somebody has deleted it already.
                found = created["stack"]["id"]
            except heat.HTTPConflict:
                self._require_mark(name, mark)
                found = name
            return self._stack(self._client.stacks.get(found, resolve_outputs=False))

    def has_values(self, stack_id: str, values: Mapping[str, str]) -> bool:
        """Say whether the stack was made with these values of its parameters."""
        with translated(self._cloud, f"reading the parameters of the stack {stack_id}"):
            there = self._client.stacks.get(stack_id, resolve_outputs=False).parameters
        return all(there.get(name) == value for name, value in values.items())

    def update(self, stack_id: str, hot: Hot, *, minutes: int) -> None:
        """Begin to make the stack as the template says; what is whole stays, and so do tags.

        minutes: as in `create`.
        """
        self._patch(stack_id, timeout_mins=minutes, disable_rollback=True, **_template(hot))

    def retain(self, stack_id: str) -> None:
        """Begin to mark everything in the stack to stay where it is when the stack is deleted."""
        template = self._read_template(stack_id)
        for resource in template["resources"].values():
            resource["deletion_policy"] = "retain"
        self._patch(stack_id, template=template)

    def retains(self, stack_id: str) -> bool:
        """Say whether everything in the stack is marked to stay."""
        resources = self._read_template(stack_id)["resources"].values()
        return all(resource.get("deletion_policy") == "retain" for resource in resources)

    def cancel(self, stack_id: str) -> None:
        """Have Heat begin nothing more of a creation or update, if one is going on; what was made stays."""
        with translated(self._cloud, f"cancelling the stack {stack_id}"):
            try:
                self._client.actions.cancel_without_rollback(stack_id)
            except heat.HTTPNotFound:
                return
            except heat.HTTPBadRequest as error:
                # So it says when neither is going on.
                if error.error["error"].get("type") != "NotSupported":
                    raise

    def delete(self, stack_id: str) -> None:
        """Begin to delete the stack and what it made, unless that is marked to stay; one that is gone is fine."""
        with translated(self._cloud, f"deleting the stack {stack_id}"):
            try:
                self._client.stacks.delete(stack_id)
            except heat.HTTPNotFound:
                return

    def resources(self, stack_id: str) -> list[Built]:
        """Return all resources of the stack; a deleted one has none."""
        with translated(self._cloud, f"listing the resources of the stack {stack_id}"):
            return [
                Built(
                    name=each.resource_name,
                    type=each.resource_type,
                    status=each.resource_status,
                    reason=discreet(self._cloud, each.resource_status_reason or ""),
                    physical_id=each.physical_resource_id or "",
                )
                for each in self._client.resources.list(stack_id)
            ]

    def events(self, stack_id: str, after: str = "") -> list[StackEvent]:
        """Return what happened to the stack, oldest first.

        after: id of the last event that is known; if Heat has purged it, all that it still has are returned.
        """
        with translated(self._cloud, f"reading the events of the stack {stack_id}"):
            return [
                StackEvent(
                    id=each.id,
                    resource=each.resource_name,
                    status=each.resource_status,
                    reason=discreet(self._cloud, each.resource_status_reason or ""),
                    time=getattr(each, "event_time", None) or "",
                )
                for each in self._client.events.list(stack_id, marker=after, sort_dir="asc")
            ]

    def outputs(self, stack_id: str) -> dict[str, str]:
        """Return the values of the stack's outputs by name, each as JSON."""
        with translated(self._cloud, f"reading the outputs of the stack {stack_id}"):
            outputs = self._client.stacks.get(stack_id).outputs
        return {each["output_key"]: json.dumps(each["output_value"]) for each in outputs}

    def _said(self, error: heat.HTTPException) -> str:
        answer = error.error.get("error") or {}
        return discreet(self._cloud, str(answer.get("message") or error.error.get("explanation") or error))

    def _require_mark(self, name: str, mark: str) -> None:
        """Return if the stack of that name has the tag; CloudUnavailableError if it is just being deleted."""
        try:
            there = self._client.stacks.get(name, resolve_outputs=False)
        except heat.HTTPNotFound:
            there = None
        if there is None or self._stack(there).deleted:
            raise CloudUnavailableError(f"cloud {self._cloud}: stack {name} is being deleted")
        if mark not in (there.tags or ()):
            raise CloudError(
                f"cloud {self._cloud} has a stack {name} that is not of this restore: rename or delete it"
            )

    def _read_template(self, stack_id: str) -> Any:
        with translated(self._cloud, f"reading the template of the stack {stack_id}"):
            return self._client.stacks.template(stack_id)

    def _patch(self, stack_id: str, **changes: Any) -> None:
        """Update the stack; what is not named stays as it is."""
        with translated(self._cloud, f"updating the stack {stack_id}"):
            try:
                self._client.stacks.update(stack_id, existing=True, **changes)
            except heat.HTTPConflict:
                raise CloudUnavailableError(f"cloud {self._cloud}: the stack {stack_id} is busy") from None

    def _stack(self, found: Any) -> Stack:
        """Return what heatclient found."""
        return Stack(
            id=found.id,
            name=found.stack_name,
            status=found.stack_status,
            reason=discreet(self._cloud, found.stack_status_reason or ""),
            updated=found.updated_time or found.creation_time,
        )


def _template(hot: Hot) -> dict[str, Any]:
    """Return the fields of a request that say what to make."""
    return {"template": hot.text, "parameters": dict(hot.values)}


def _tags(restore_id: str, checkpoint_id: str) -> list[str]:
    """Return the tags of a restore's stack; Heat takes no comma in them, and 80 characters."""
    checkpoint = re.sub(r"[^A-Za-z0-9_.:-]", "_", checkpoint_id)
    return [f"restore:{restore_id}", f"checkpoint:{checkpoint}"[:80], _TAG]


def _stand_in(resources: int, like: Hot | None = None) -> dict[str, Any]:
    """Return a request for a stack of so many resources, as large as the real one if that is given.

    It has a parameter that nobody gives: Heat looks for that right after it has looked at these numbers, and need
    not work out how the resources depend on each other, which takes it 20 s for 3,000.
    """
    things = "".join(f"  r{number}: {{type: OS::Heat::None}}\n" for number in range(resources))
    head = f"heat_template_version: '{HOT_VERSION}'\nparameters: {{absent: {{type: string}}}}\nresources:\n"
    request = {"stack_name": stack_name(f"room-{uuid.uuid4()}"), "template": f"{head}{things}"}
    if like is None:
        return request
    text = request["template"].ljust(len(like.text))
    # What is to be built yet has an id like everything else.
    values = dict.fromkeys((*like.values, *like.open_parameters, *like.borrowed), str(uuid.UUID(int=0)))
    real = {"template": like.text, "parameters": values}
    # In a request, what is not ASCII takes six bytes or more.
    rest = len(json.dumps(real)) + _BESIDE - len(json.dumps(text))
    return {**request, "template": text, "environment": {"parameter_defaults": {"rest": " " * rest}}}
