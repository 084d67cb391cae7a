"""One attempt at one resource: its plugin's restore(), and what that came to."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from restore_worker import worker
from restore_worker.building import Builder
from restore_worker.cloud import translated
from restore_worker.context import RestoreContext
from restore_worker.entries import AttemptLimits, Claimed, Outcome
from restore_worker.errors import OtherCloudError, RestoreError, Retriable, StaleLeaseError
from restore_worker.plugin import StillBuilding
from restore_worker.registry import installed
from restore_worker.resource import Resource, ResourceKey
from restore_worker.states import ResourceState
from restore_worker.template import Fragment, HeatTemplate

logger = logging.getLogger(__name__)

# A message that waits for its time waits in a worker's memory: not for long, in seconds. What is to wait for
# longer finds, when it comes, that it is too early.
LONGEST_COUNTDOWN = 55.0
# Nobody is waited for longer than so many seconds without being asked again.
_LONGEST_PAUSE = 900.0
_OTHERS_TURN = 5.0


@dataclass(frozen=True, slots=True)
class End:
    """The resource is restored, or never will be."""

    state: Outcome
    reason: str = ""
    fragments: Mapping[str, Fragment] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """The attempt is to be made again. counts: it is one of those that are limited."""

    seconds: float
    reason: str
    counts: bool


def attempt(claim: Claimed, restore_id: str, token: str) -> End | Pause:
    """Call the plugin of a claimed resource; StaleLeaseError if another worker has it meanwhile."""
    try:
        return End(ResourceState.DONE, fragments=_fragments(claim, restore_id, token))
    except StaleLeaseError:
        raise
    except OtherCloudError as error:
        # It says nothing of the resource, and the next one to try may be another worker.
        return _still(claim, _OTHERS_TURN, str(error))
    except StillBuilding as signal:
        return _still(claim, min(signal.after, _LONGEST_PAUSE), signal.reason)
    except RestoreError as error:
        return _after(error, claim)
    except Exception as error:
        logger.exception("its plugin broke", extra={"fact": "plugin.broke"})
        return End(ResourceState.FAILED, f"its plugin broke: {error!r}")


def _still(claim: Claimed, seconds: float, reason: str) -> End | Pause:
    """Wait without counting the attempt, but not for ever."""
    minutes = worker.current_settings().stack_minutes
    if claim.waited >= minutes * 60:
        return End(ResourceState.FAILED, f"given up after {minutes} minutes: {reason}")
    return Pause(seconds, reason, counts=False)


def _after(error: RestoreError, claim: Claimed) -> End | Pause:
    if not isinstance(error, Retriable):
        return End(ResourceState.FAILED, str(error))
    if claim.attempts >= limits().of(claim.node.type):
        return End(ResourceState.FAILED, f"given up after {claim.attempts} attempts: {error}")
    return Pause(delay(claim.attempts, error), str(error), counts=True)


def limits() -> AttemptLimits:
    """Return how often resources are tried: as the settings say, and the plugins that say otherwise."""
    return AttemptLimits(worker.current_settings().max_attempts, installed().limits)


def delay(attempts: int, error: Retriable, longest: float = LONGEST_COUNTDOWN) -> float:
    """Return seconds until the next attempt: exponential, with jitter, and not before the other side wants it.

    longest: seconds, unless the other side wants more.
    """
    own = min(2.0 ** min(attempts, 6), longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return max(own, min(error.after, _LONGEST_PAUSE))


def _fragments(claim: Claimed, restore_id: str, token: str) -> dict[str, Fragment]:
    node = claim.node
    plugin = installed()[node.type]
    builder = Builder(restore_id, node.index, token, claim.cloud, claim.identity) if claim.cloud else None
    work = plugin.Work.model_validate_json(claim.work)
    resource = Resource(ResourceKey(node.type, node.id), node.name)
    bank = worker.bank_of(claim.bank)
    context = RestoreContext(restore_id, claim.checkpoint, resource, bank, plugin.data(work), builder)
    template = HeatTemplate(functools.partial(_fragment, restore_id))
    if context.rendering:
        context.verify_data()
    with translated(claim.cloud):
        plugin.restore(resource, work, template, context)
    return template.fragments


def _fragment(restore_id: str, original_id: str) -> Fragment | None:
    with worker.attempts().undisturbed():
        return worker.current_ledger().fragment(restore_id, original_id)
