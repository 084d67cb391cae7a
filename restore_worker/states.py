"""The states of restores and resources, which may follow which, and what users may ask for in them, as data."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


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
        # its stack would leave everything where it is: nothing was deleted, the application is as it was
        (RestoreState.DESTROYING, RestoreState.COMPLETE),
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


class Verb(enum.StrEnum):
    """What a user may ask of a restore."""

    RESUME = "resume"
    CANCEL = "cancel"
    DESTROY = "destroy"
    FORGET = "forget"


class Obstacle(enum.StrEnum):
    """What else than its state may stand in a verb's way; the end of a sentence that tells it."""

    DISCARDED = "something that it made is deleted already, so destroy it, and submit the checkpoint again"
    NO_CLOUD = "it never came to a cloud, so there is nothing to destroy"
    NO_STACK = "it has no stack, so there is nothing to forget"
    DRILL = "it is a drill, which is deleted after its time: submit the checkpoint for an application that stays"


@dataclass(frozen=True, slots=True)
class Goes:
    """The restore goes to another state."""

    to: RestoreState
    unless: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class Already:
    """It is so, or on its way there: nothing happens, and whoever asks once more is not told that it failed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing happens. why: the end of a sentence that tells it, and what to do instead."""

    why: str


Answer = Goes | Already | Refused

_UNDER_WAY = (
    RestoreState.PENDING,
    RestoreState.CHECKING,
    RestoreState.RESTORING,
    RestoreState.ASSEMBLING,
    RestoreState.CREATING,
)
_STOPPED = (RestoreState.FAILED, RestoreState.CANCELLED)
_BEING_DELETED = (RestoreState.DESTROYING, RestoreState.DISCARDING)


def _in(states: Iterable[RestoreState], answer: Answer) -> dict[RestoreState, Answer]:
    return dict.fromkeys(states, answer)


# What each verb means in each state.
VERBS: Mapping[Verb, Mapping[RestoreState, Answer]] = {
    Verb.RESUME: {
        **_in((*_UNDER_WAY, RestoreState.COMPLETE), Already()),
        **_in(_STOPPED, Goes(RestoreState.PENDING, unless=(Obstacle.DISCARDED,))),
        **_in(_BEING_DELETED, Refused("it is being deleted, so submit the checkpoint again once that is done")),
        RestoreState.DESTROYED: Refused("all that it made is deleted, so submit the checkpoint again"),
        RestoreState.FORGETTING: Refused("all is restored, and its stack is being let go"),
        RestoreState.FORGOTTEN: Refused("all is restored, and the application lives on without it"),
    },
    Verb.CANCEL: {
        **_in(_UNDER_WAY, Goes(RestoreState.CANCELLED)),
        RestoreState.CANCELLED: Already(),
        RestoreState.COMPLETE: Refused("it came to its end before, so destroy it if what it made shall go"),
        RestoreState.FAILED: Refused("it came to its end before, so resume it, or destroy it"),
        **_in(_BEING_DELETED, Refused("a deletion is not stopped, so wait for its end")),
        RestoreState.DESTROYED: Refused("all that it made is deleted, so there is nothing to cancel"),
        RestoreState.FORGETTING: Refused("letting a stack go is not stopped, so wait for its end"),
        RestoreState.FORGOTTEN: Refused("the application lives on without it, so there is nothing to cancel"),
    },
    Verb.DESTROY: {
        **_in(_UNDER_WAY, Refused("cancel it before it is destroyed")),
        **_in((RestoreState.COMPLETE, *_STOPPED), Goes(RestoreState.DESTROYING, unless=(Obstacle.NO_CLOUD,))),
        **_in((*_BEING_DELETED, RestoreState.DESTROYED), Already()),
        RestoreState.FORGETTING: Refused("its stack is being let go, and what it built will stay"),
        RestoreState.FORGOTTEN: Refused(
            "what it built is no stack any more, so delete it like anything else on that cloud"
        ),
    },
    Verb.FORGET: {
        **_in(_UNDER_WAY, Refused("only a complete one is forgotten, so wait for its end")),
        RestoreState.COMPLETE: Goes(RestoreState.FORGETTING, unless=(Obstacle.DRILL, Obstacle.NO_STACK)),
        **_in(_STOPPED, Refused("only a complete one is forgotten, so resume it, or destroy it")),
        **_in(_BEING_DELETED, Refused("it is being deleted, so nothing of it will stay")),
        RestoreState.DESTROYED: Refused("all that it made is deleted, so there is nothing to forget"),
        **_in((RestoreState.FORGETTING, RestoreState.FORGOTTEN), Already()),
    },
}
