"""How Redis, the workers and beat are: the checks of `restore-worker doctor` that go through Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from restore_worker import __version__
from restore_worker.attendance import QUIET_SECONDS, Attendant, attendants
from restore_worker.diagnosis import Diagnosis, Health
from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE
from restore_worker.errors import LedgerError, LedgerUnavailableError, RestoreError
from restore_worker.settings import Settings

if TYPE_CHECKING:
    import redis

    from restore_worker.ledger import Ledger
    from restore_worker.redis_state import RedisState

# Seconds that Redis may take for an answer, and workers for theirs: if some seem to be missing, they get more.
_REDIS_SECONDS = 5.0
_WORKER_SECONDS = (1.0, 4.0)
# From here on a difference of clocks is told. After five seconds, workers throw away what beat sends.
_CLOCK_SECONDS = 2.0
# The part of its memory from which on Redis is short of it.
_FULL = 0.9
_QUEUES = (QUEUE, TRANSFER_QUEUE, RECONCILE_QUEUE)


def check_redis(current: Settings) -> Iterator[Diagnosis]:
    """Look at Redis, then through it at all who work with it."""
    from restore_worker.ledger import connect
    from restore_worker.redis_client import open_client
    from restore_worker.redis_state import clock_ahead, look

    try:
        address = current.redis_address()
        client = open_client(address, retries=0, seconds=_REDIS_SECONDS)
        state, ahead = look(client), clock_ahead(client)
    except RestoreError as error:
        yield Diagnosis("redis", Health.WRONG, *_mended(error))
        yield from _unseen()
        return
    if unfit := state.unfit():
        yield Diagnosis("redis", Health.WRONG, f"{address}: {unfit.what}", unfit.mend)
        yield from _unseen()
        return
    yield Diagnosis("redis", Health.OK, f"{state.name} answers at {address}")
    yield _eviction(state)
    yield _persistence(state)
    yield _memory(state)
    yield _clock(ahead)
    yield from _crew(connect(current, retries=0), client)


def _mended(error: RestoreError) -> tuple[str, str]:
    """Return what stands in the way, and what to do about it."""
    if isinstance(error, LedgerUnavailableError):
        return str(error), "start it, or correct RESTORE_REDIS_URL"
    if isinstance(error, LedgerError):
        return str(error), "correct the login in RESTORE_REDIS_URL, or what the user may do in Redis"
    # None is named, and the message says how to.
    found, _, mend = str(error).partition(": ")
    return found, mend


def _unseen() -> Iterator[Diagnosis]:
    for subject in ("workers", "beat"):
        yield Diagnosis(subject, Health.UNKNOWN, "cannot be seen without Redis")


def _eviction(state: RedisState) -> Diagnosis:
    if complaint := state.evicts():
        return Diagnosis("eviction", Health.WRONG, *complaint)
    if state.policy is None:
        return Diagnosis("eviction", Health.UNKNOWN, "Redis does not tell its maxmemory-policy")
    return Diagnosis("eviction", Health.OK, f"maxmemory-policy is {state.policy}")


def _persistence(state: RedisState) -> Diagnosis:
    if complaint := state.forgets():
        return Diagnosis("persistence", Health.WARNING, *complaint)
    if not state.aof and state.snapshots is None:
        return Diagnosis("persistence", Health.UNKNOWN, "Redis does not tell whether it keeps what it has")
    return Diagnosis(
        "persistence", Health.OK, "AOF" if state.aof else "snapshots, and what came after the last is lost"
    )


def _memory(state: RedisState) -> Diagnosis:
    if state.used is None or state.limit is None:
        return Diagnosis("memory", Health.UNKNOWN, "Redis does not tell what it uses")
    used = f"{state.used / 2**20:.1f} MiB are used"
    if not state.limit:
        return Diagnosis("memory", Health.OK, f"{used}, and there is no limit")
    found = f"{used} of {state.limit / 2**20:.1f} MiB"
    if state.used < _FULL * state.limit:
        return Diagnosis("memory", Health.OK, found)
    health = Health.WARNING if state.used < state.limit else Health.WRONG
    return Diagnosis(
        "memory", health, found, "redis-cli CONFIG SET maxmemory, with room for more, or lower RESTORE_KEEP_DAYS"
    )


def _clock(ahead: float) -> Diagnosis:
    if abs(ahead) < _CLOCK_SECONDS:
        return Diagnosis("clock", Health.OK, f"{abs(ahead):.1f} s from that of Redis")
    found = f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Redis"
    return Diagnosis("clock", Health.WARNING, found, "set the clocks of all machines by NTP")


def _crew(ledger: Ledger, client: redis.Redis) -> Iterator[Diagnosis]:
    """Look at the workers, the queues and beat."""
    from restore_worker.redis_state import waiting

    backlog = {queue: waiting(client, queue) for queue in _QUEUES}
    crew = _asked()
    if not crew:
        found = f"none answers, and {_tasks(sum(backlog.values()))}"
        yield Diagnosis("workers", Health.WRONG, found, "restore-worker worker, here or on other machines")
        yield Diagnosis("beat", Health.UNKNOWN, "cannot be seen without workers")
        return
    yield _versions(crew)
    attended = Counter(queue for each in crew.values() for queue in each.queues)
    for queue, tasks in backlog.items():
        if attended[queue]:
            found = f"{_counted(attended[queue], 'worker')}, and {_tasks(tasks)}"
            yield Diagnosis(f"queue {queue}", Health.OK, found)
        else:
            found = f"no worker takes from it, and {_tasks(tasks)}"
            yield Diagnosis(f"queue {queue}", Health.WRONG, found, f"restore-worker worker --queues {queue}")
    if attended[RECONCILE_QUEUE]:
        yield _beat(ledger)
    else:
        yield Diagnosis("beat", Health.UNKNOWN, f"cannot be seen without a worker on queue {RECONCILE_QUEUE}")


def _asked() -> dict[str, Attendant]:
    """Return the workers that answer; who is slow has a second chance if some queue seems to have nobody."""
    crew: dict[str, Attendant] = {}
    for seconds in _WORKER_SECONDS:
        crew |= attendants(seconds)
        if all(any(queue in each.queues for each in crew.values()) for queue in _QUEUES):
            break
    return crew


def _versions(crew: dict[str, Attendant]) -> Diagnosis:
    others = {name: each.version or "older" for name, each in sorted(crew.items()) if each.version != __version__}
    if not others:
        return Diagnosis("workers", Health.OK, f"{_counted(len(crew), 'worker')}, restore-worker {__version__}")
    listed = ", ".join(f"{name} is {version}" for name, version in others.items())
    mend = "install the same version everywhere, and start the workers again"
    return Diagnosis("workers", Health.WARNING, f"this is restore-worker {__version__}, but {listed}", mend)


def _beat(ledger: Ledger) -> Diagnosis:
    """Wait for what beat sends every few seconds to be done once more; workers do it also when they start."""
    begun = time.monotonic()
    while time.monotonic() < begun + QUIET_SECONDS:
        time.sleep(0.3)
        silent = ledger.unreconciled_seconds()
        if silent is not None and silent < time.monotonic() - begun:
            return Diagnosis("beat", Health.OK, "at work")
    found = "none has run yet" if silent is None else f"silent for {silent:.0f} s"
    return Diagnosis("beat", Health.WRONG, found, "celery -A restore_worker.app beat, once in all")


def _tasks(number: int) -> str:
    return f"{_counted(number, 'task')} {'waits' if number == 1 else 'wait'}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
