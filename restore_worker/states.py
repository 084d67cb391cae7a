"""The states of a restore and of its resources, and which may follow which, as data."""

from __future__ import annotations

import enum


class RestoreState(enum.StrEnum):
    """Where a restore stands."""

    # Written down; no worker has taken it up yet.
    PENDING = "pending"
    # A worker looks whether bank and target are as the submitter saw them; nothing is built.
    CHECKING = "checking"
    # Resources are restored, children first.
    RESTORING = "restoring"
    # Fragments become the template.
    ASSEMBLING = "assembling"
    # Heat builds the stack.
    CREATING = "creating"
    COMPLETE = "complete"
    FAILED = "failed"
    # Stopped by its user.
    CANCELLED = "cancelled"
    # Its stack is being deleted.
    DESTROYING = "destroying"
    # What was built beside the stack is being deleted.
    DISCARDING = "discarding"
    # All that it made is deleted.
    DESTROYED = "destroyed"
    # Its stack is told to leave everything where it is, and then deleted.
    FORGETTING = "forgetting"
    # The application lives on without its stack.
    FORGOTTEN = "forgotten"


class ResourceState(enum.StrEnum):
    """Where one resource of a restore stands."""

    # Waits for what it depends on.
    PLANNED = "planned"
    # All it depends on is there: its task is on the way to a worker.
    READY = "ready"
    # A worker holds it.
    RUNNING = "running"
    # Something is being built elsewhere; no worker is held meanwhile.
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    # Something that it depends on failed.
    SKIPPED = "skipped"


RESTORE_TRANSITIONS: frozenset[tuple[RestoreState, RestoreState]] = frozenset(
    {
        # preflight was taken up
        (RestoreState.PENDING, RestoreState.CHECKING),
        # all checks passed
        (RestoreState.CHECKING, RestoreState.RESTORING),
        # a check failed
        (RestoreState.CHECKING, RestoreState.FAILED),
        # nothing planned is left
        (RestoreState.RESTORING, RestoreState.ASSEMBLING),
        # the template is stored and a stack is wanted
        (RestoreState.ASSEMBLING, RestoreState.CREATING),
        # no stack is wanted, or there is nothing for Heat to build
        (RestoreState.ASSEMBLING, RestoreState.COMPLETE),
        # a resource failed, or the fragments make no template
        (RestoreState.ASSEMBLING, RestoreState.FAILED),
        (RestoreState.CREATING, RestoreState.COMPLETE),
        (RestoreState.CREATING, RestoreState.FAILED),
        # cancel
        (RestoreState.PENDING, RestoreState.CANCELLED),
        (RestoreState.CHECKING, RestoreState.CANCELLED),
        (RestoreState.RESTORING, RestoreState.CANCELLED),
        (RestoreState.ASSEMBLING, RestoreState.CANCELLED),
        (RestoreState.CREATING, RestoreState.CANCELLED),
        # resume
        (RestoreState.FAILED, RestoreState.PENDING),
        (RestoreState.CANCELLED, RestoreState.PENDING),
        # destroy
        (RestoreState.COMPLETE, RestoreState.DESTROYING),
        (RestoreState.FAILED, RestoreState.DESTROYING),
        (RestoreState.CANCELLED, RestoreState.DESTROYING),
        # there is no stack (any more)
        (RestoreState.DESTROYING, RestoreState.DISCARDING),
        (RestoreState.DISCARDING, RestoreState.DESTROYED),
        # something could not be deleted
        (RestoreState.DESTROYING, RestoreState.FAILED),
        (RestoreState.DISCARDING, RestoreState.FAILED),
        # forget
        (RestoreState.COMPLETE, RestoreState.FORGETTING),
        (RestoreState.FORGETTING, RestoreState.FORGOTTEN),
        # the stack would not let go: the application is as it was
        (RestoreState.FORGETTING, RestoreState.COMPLETE),
    }
)

# Nothing happens in these any more unless a user asks for it.
FINAL_RESTORE_STATES = frozenset(
    {
        RestoreState.COMPLETE,
        RestoreState.FAILED,
        RestoreState.CANCELLED,
        RestoreState.DESTROYED,
        RestoreState.FORGOTTEN,
    }
)

RESOURCE_TRANSITIONS: frozenset[tuple[ResourceState, ResourceState]] = frozenset(
    {
        # its last child was settled
        (ResourceState.PLANNED, ResourceState.READY),
        # claimed by a worker
        (ResourceState.READY, ResourceState.RUNNING),
        # claimed again: what it waits for may be there, or the worker that held it is gone
        (ResourceState.WAITING, ResourceState.RUNNING),
        (ResourceState.RUNNING, ResourceState.RUNNING),
        # the plugin asked to be called again later, or a fault may pass
        (ResourceState.RUNNING, ResourceState.WAITING),
        # settled
        (ResourceState.RUNNING, ResourceState.DONE),
        (ResourceState.RUNNING, ResourceState.FAILED),
        # a child of it was not restored
        (ResourceState.READY, ResourceState.SKIPPED),
        # tried too often: the workers that held it vanished each time
        (ResourceState.READY, ResourceState.FAILED),
        (ResourceState.WAITING, ResourceState.FAILED),
        # resume
        (ResourceState.FAILED, ResourceState.PLANNED),
        (ResourceState.SKIPPED, ResourceState.PLANNED),
        (ResourceState.READY, ResourceState.PLANNED),
        (ResourceState.RUNNING, ResourceState.PLANNED),
        (ResourceState.WAITING, ResourceState.PLANNED),
    }
)

# Settled in this epoch: counted, and never run again in it.
SETTLED_RESOURCE_STATES = frozenset({ResourceState.DONE, ResourceState.FAILED, ResourceState.SKIPPED})


def may_follow(old: RestoreState, new: RestoreState) -> bool:
    """Say whether a restore may go from ``old`` to ``new``."""
    return (old, new) in RESTORE_TRANSITIONS
