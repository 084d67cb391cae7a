"""The ledger in memory: what ``ledger.lua`` must do, in plain Python, with a clock of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from restore_worker.cut import Limits
from restore_worker.earlier import Earlier, fingerprint, named_before, refuse_twice
from restore_worker.entries import (
    AttemptLimits,
    Claimed,
    Ended,
    Event,
    Held,
    Idle,
    NewRestore,
    News,
    Node,
    Priority,
    Settled,
    Taken,
)
from restore_worker.errors import LedgerError, StaleLeaseError
from restore_worker.hot import Hot
from restore_worker.ledger import SHARE
from restore_worker.states import (
    FINAL_RESTORE_STATES,
    ResourceState,
    RestoreState,
    may_follow,
)
from restore_worker.template import Fragment
from tests.support.stack_twin import FOLLOWED_RESTORE_STATES, StackTwin
from tests.support.twin_reader import Resource, Restore, Step, Turn, TwinReader, time_of

DAY = 86400
RECONCILING_SECONDS = 0.9
# What is to be taken up; after a resume somebody may still hold it.
OPEN = frozenset({ResourceState.READY, ResourceState.PLANNED})


class LedgerTwin(TwinReader):
    """The same doors as `restore_worker.ledger.Ledger`; ``clock`` gives seconds since 1970."""

    def __init__(
        self, clock: Callable[[], float], *, patience: float = 30.0, keep_days: float = 30.0, share: int = SHARE
    ) -> None:
        super().__init__(clock)
        self._share = share
        self._patience = patience
        self._keep_days = keep_days
        self.stacks = StackTwin(self._find, self._note)

    # The submitter's side

    def record(self, new: NewRestore, *, force: bool = False) -> str:
        if new.id in self._restores:
            return new.id
        if (named := self.recorded_before(new, force=force)) is not None:
            return named
        resources: list[Resource] = []
        for node, children, work in zip(new.nodes, new.children, new.work, strict=True):
            resource = Resource(node, work, [resources[child] for child in children])
            for child in resource.children:
                child.parents.append(resource)
            resources.append(resource)
        leaves = _ready_first(resources)
        now = self._now()
        restore = Restore(new, resources, leaves, now, now, new.identity, new.findings, limits=new.limits)
        self._restores[new.id] = restore
        if new.ttl:
            self._drills.add(new.id)
        self._note(restore, RestoreState.PENDING)
        self._look_at(restore)
        return new.id

    def recorded_before(self, new: NewRestore, *, force: bool = False) -> str | None:
        earlier = [self._seen_of(each) for each in self._restores.values() if self._find(each.new.id)]
        named = named_before(new, earlier)
        if named is None and not (force or new.ttl):
            refuse_twice(new, earlier)
        return named

    def resume(self, restore_id: str) -> int:
        restore = self._find(restore_id)
        if restore is None or restore.state not in {RestoreState.FAILED, RestoreState.CANCELLED}:
            return 0
        if restore.discarded:
            return 0
        self.stacks.ids.discard(restore_id)
        restore.leaving = False
        restore.epoch += 1
        for each in restore.resources:
            if each.state is ResourceState.DONE:
                continue
            if each.state is ResourceState.RUNNING:
                each.late = each.token
            elif each.state not in OPEN:
                each.late = each.until = None
            each.state, each.cause, each.attempts, each.reason = ResourceState.PLANNED, None, 0, ""
            each.token, each.ended, each.looks, each.told, each.sent = None, None, 0, None, 0.0
            each.since, each.drew = None, []
            self._due.pop((restore_id, each.node.index), None)
        restore.leaves = _ready_first(restore.resources)
        restore.turns.clear()
        self._enter(restore, RestoreState.PENDING)
        self._note(restore, RestoreState.PENDING, reason="resumed")
        return restore.epoch

    # The workers' side

    def begin(self, restore_id: str, epoch: int | None = None) -> list[Node] | None:
        restore = self._find(restore_id)
        if restore is None or restore.state not in {RestoreState.CHECKING, RestoreState.RESTORING}:
            return None
        if epoch not in {None, restore.epoch}:
            return None
        ready = [each for each in restore.leaves if each.state is ResourceState.READY]
        if restore.state is RestoreState.RESTORING:
            return [each.node for each in ready if each.sent]
        restore.turns.clear()
        self._enter(restore, RestoreState.RESTORING)
        self._note(restore, RestoreState.RESTORING)
        if restore.left:
            del self._due[restore_id, None]
        free, held = ([each for each in ready if bool(each.late) is late] for late in (False, True))
        for each in held:
            self._look_at(restore, each)
        return _nodes([*self._in_turn(restore, free), *held])

    def claim(
        self, restore_id: str, index: int, token: str, *, lease: float, limits: AttemptLimits, worker: str
    ) -> Claimed | Held | Settled | Idle:
        restore = self._find(restore_id)
        if restore is None:
            return Idle()
        resource = restore.resources[index]
        if resource.settled:
            return _settled(restore, _still_ready(restore, resource))
        if restore.state is not RestoreState.RESTORING or resource.state is ResourceState.PLANNED:
            return Idle()
        drawn = _still_sent(resource.drew)
        if resource.token != token:
            if resource.until is not None and resource.until > self._now():
                return Held(resource.until - self._now())
            drawn = self._take_up(restore, resource)
            resource.drew = drawn[: self._share]
            released = self._refuse(restore, resource, limits.of(resource.node.type))
            if released is not None:
                return _settled(restore, [*drawn, *released])
            self._take(restore, resource, token, lease, worker)
        waited = 0.0 if resource.since is None else self._now() - resource.since
        new, taken = restore.new, (resource.attempts, resource.node, resource.work)
        where = (new.checkpoint, new.bank, new.cloud, restore.identity)
        return Claimed(*taken, *where, restore.epoch, new.priority, waited, _nodes(drawn))

    def take(
        self, restore_id: str, step: RestoreState, token: str, *, lease: float, most_attempts: int, worker: str
    ) -> Taken | Held | Idle:
        restore = self._find(restore_id)
        if restore is None or restore.state is not step:
            return Idle()
        taken = restore.step
        if taken.token != token:
            if taken.until is not None and taken.until > self._now():
                return Held(taken.until - self._now())
            if taken.attempts >= most_attempts:
                reason = f"{step} was {_given_up(taken.attempts, taken.reason)}"
                self.move(restore_id, step, RestoreState.FAILED, reason)
                return Idle()
            taken.attempts += 1
            taken.token = token
            self._hold(restore, None, lease)
            if taken.attempts > 1:
                reason = f"{step}, attempt {taken.attempts}"
                self._note(restore, "repeated", reason=reason, worker=worker)
        return Taken(taken.attempts)

    def renew(self, restore_id: str, index: int | None, token: str, lease: float) -> bool:
        held = self._held(restore_id, index, token)
        if held is None:
            return False
        restore, resource = held
        if _is_late(resource):
            resource.until = self._now() + lease
        else:
            self._hold(restore, resource, lease)
        return True

    def wait(
        self,
        restore_id: str,
        index: int | None,
        token: str,
        seconds: float,
        reason: str,
        *,
        counts: bool,
        still: bool = False,
    ) -> bool:
        held = self._held(restore_id, index, token)
        if held is None:
            return False
        restore, resource = held
        if _is_late(resource):
            resource.late = resource.until = None
            return True
        waiting = resource or restore.step
        if not counts:
            waiting.attempts -= 1
        if counts or reason != waiting.reason:
            self._note(restore, ResourceState.WAITING, resource, reason=reason, seconds=seconds)
        if resource is not None:
            resource.state = ResourceState.WAITING
            resource.since = (resource.since or self._now()) if still else None
        waiting.token, waiting.reason = None, reason
        waiting.until = self._now() + seconds
        self._due[restore_id, index] = waiting.until + self._patience
        return True

    def settle(
        self,
        restore_id: str,
        index: int,
        token: str,
        state: ResourceState,
        reason: str = "",
        fragments: Mapping[str, Fragment] | None = None,
    ) -> Settled:
        restore = self._find(restore_id)
        if restore is None:
            raise StaleLeaseError
        resource = restore.resources[index]
        if resource.settled:
            return _settled(restore, _still_ready(restore, resource))
        if resource.token != token or restore.state is not RestoreState.RESTORING:
            raise StaleLeaseError
        fragments = fragments or {}
        for original_id in fragments:
            owner, _ = restore.fragments.get(original_id, (resource.node, None))
            if owner != resource.node:
                reason = f"{original_id} was put into the template already, by {_named(owner)}"
                return _settled(restore, self._finish(restore, resource, ResourceState.FAILED, reason))
        for original_id, fragment in fragments.items():
            restore.fragments[original_id] = resource.node, fragment
        return _settled(restore, self._finish(restore, resource, state, reason))

    def note_made(self, restore_id: str, index: int, token: str, key: str, physical_id: str) -> None:
        held = self._held(restore_id, index, token)
        if held is None:
            raise StaleLeaseError
        restore, resource = held[0], held[0].resources[index]
        if not physical_id:
            if restore.state is not RestoreState.RESTORING:
                raise StaleLeaseError
            return
        known = restore.made.pop((index, f"{key} {physical_id}"), None)
        if (index, key) not in restore.made and not known:
            self._note(restore, "made", resource, key=key, physical_id=physical_id)
        restore.made[index, key] = physical_id

    def note_late(self, restore_id: str, index: int, key: str, physical_id: str) -> None:
        restore = self._find(restore_id)
        if restore is None or restore.made.get((index, key)) == physical_id:
            return
        if (index, f"{key} {physical_id}") not in restore.made:
            self._note(restore, "made", restore.resources[index], key=key, physical_id=physical_id)
        restore.made[index, f"{key} {physical_id}"] = physical_id

    def note_moved(self, restore_id: str, index: int, token: str, size: int) -> None:
        held = self._held(restore_id, index, token)
        if held is None or held[0].state is not RestoreState.RESTORING:
            raise StaleLeaseError
        self._note(held[0], "moved", held[1], bytes=size)

    def note_read(self, restore_id: str, index: int, token: str, size: int) -> None:
        held = self._held(restore_id, index, token)
        if held is not None:
            held[0].resources[index].bytes = size

    def note_gone(self, restore_id: str, index: int, token: str, key: str) -> None:
        held = self._held(restore_id, index, token)
        if held is None:
            raise StaleLeaseError
        self._gone(held[0], index, key)

    def discarded(self, restore_id: str, index: int, keys: Iterable[str]) -> None:
        restore = self._find(restore_id)
        if restore is not None and restore.state is RestoreState.DISCARDING:
            for key in keys:
                self._gone(restore, index, key)

    def identify(self, restore_id: str, identity: str) -> str:
        restore = self._find(restore_id)
        if restore is None:
            return ""
        restore.identity = restore.identity or identity
        return restore.identity

    def add_findings(self, restore_id: str, findings: Iterable[Sequence[str]]) -> None:
        restore = self._find(restore_id)
        if restore is None:
            return
        known = json.loads(restore.findings)
        for finding in map(list, findings):
            known += [] if finding in known else [finding]
        restore.findings = json.dumps(known)

    def limit(self, restore_id: str, limits: Limits | None) -> None:
        restore = self._find(restore_id)
        if restore is not None:
            restore.limits = limits

    def move(
        self,
        restore_id: str,
        old: RestoreState,
        new: RestoreState,
        reason: str = "",
        hots: Sequence[Hot] = (),
        token: str = "",
    ) -> bool:
        if not may_follow(old, new):
            raise LedgerError(f"no restore goes from {old} to {new}")
        restore = self._find(restore_id)
        if restore is None or restore.state is not old or (new is RestoreState.ASSEMBLING and restore.left):
            return False
        if token and restore.step.token != token:
            return False
        if hots:
            restore.hots |= {hot.number: hot for hot in hots}
            restore.cut = tuple(tuple(hot.waits_for) for hot in hots) if len(hots) > 1 else ()
        restore.discarded |= new is RestoreState.DISCARDING
        restore.leaving |= new is RestoreState.DESTROYING
        self._enter(restore, new, reason)
        self._note(restore, new, reason=reason)
        given_up = old is RestoreState.CREATING and new in {RestoreState.CANCELLED, RestoreState.FAILED}
        if new in FOLLOWED_RESTORE_STATES or given_up:
            self.stacks.ids.add(restore_id)
        else:
            self.stacks.ids.discard(restore_id)
        if new in FINAL_RESTORE_STATES:
            self._tell(restore, new)
            restore.expires = self._now() + int(self._keep_days * DAY)
        return True

    # The reconciler's side

    def reconciling(self) -> bool:
        if self._reconciled is not None and self._now() - self._reconciled < RECONCILING_SECONDS:
            return False
        self._reconciled = self._now()
        return True

    def look(
        self, restore_id: str, index: int | None, oldest: Mapping[tuple[str, Priority], str] | None = None
    ) -> Sequence[Node] | RestoreState | Ended | None:
        place = restore_id, index
        if place not in self._due or self._due[place] > self._now():
            return None
        restore = self._find(restore_id)
        resource = None if index is None or restore is None else restore.resources[index]
        if restore is None or not _moves(restore, resource):
            del self._due[place]
            if restore is None or resource is not None or restore.state not in FINAL_RESTORE_STATES:
                return None
            self._due[place] = restore.expires + 1
            return Ended(restore.epoch)
        self._due[place] = self._now() + self._patience
        if resource is not None and _is_unsent(resource):
            drawn = self._heal(restore, restore.turns[resource.node.queue])
            if drawn is None:
                self._due[place] = self._now() + 8 * self._patience
            if drawn is None or drawn:
                return drawn
        if _is_heats(restore) if resource is None else _is_backlog(restore, resource, oldest or {}):
            return None
        looked_at = resource or restore.step
        looked_at.looks += 1
        if looked_at.looks == 3 and restore.stuck != restore.epoch:
            restore.stuck = restore.epoch
            self._tell(restore, "stuck")
        self._due[place] = self._now() + self._patience * 2 ** min(looked_at.looks - 1, 6)
        if resource is not None and resource.state is ResourceState.READY:
            resource.sent = self._now()
        state = resource.state if resource else restore.state
        self._note(restore, "resent", resource, reason=f"{state} for too long")
        return restore.state if resource is None else [resource.node]

    def take_news(self, seconds: float) -> list[News]:
        due = sorted((when, str(news), news) for news, when in self._news.items() if when <= self._now())[:20]
        for _, _, news in due:
            self._news[news] = self._now() + seconds
        return [news for _, _, news in due]

    def told(self, news: News) -> None:
        self._news.pop(news, None)

    def tell_later(self, news: News, receiver: str, seconds: float) -> None:
        self._news.pop(news, None)
        self._news[replace(news, receiver=receiver)] = self._now() + seconds

    def drill_is_over(self, restore_id: str) -> None:
        self._drills.discard(restore_id)

    # What happens inside

    def _seen_of(self, restore: Restore) -> Earlier:
        new, id_ = restore.new, restore.new.id
        running = any(each.state is ResourceState.RUNNING for each in restore.resources)
        stacks = any(each.log.id for each in restore.stacks.values())
        noted = bool(restore.made or stacks or restore.discarded or id_ in self.stacks.ids)
        made = restore.state not in {RestoreState.FAILED, RestoreState.CANCELLED} or noted or running
        cloud = new.cloud, restore.identity
        told = (fingerprint(new.nodes), new.key, made)
        return Earlier(id_, restore.state, new.checkpoint, *cloud, *told, drill=bool(new.ttl))

    def _refuse(self, restore: Restore, resource: Resource, most_attempts: int) -> list[Resource] | None:
        if resource.cause is not None:
            reason = f"needs {_named(resource.cause)}, which was not restored"
            return self._finish(restore, resource, ResourceState.SKIPPED, reason)
        if resource.attempts >= most_attempts:
            reason = _given_up(resource.attempts, resource.reason)
            return self._finish(restore, resource, ResourceState.FAILED, reason)
        return None

    def _take(self, restore: Restore, resource: Resource, token: str, lease: float, worker: str) -> None:
        resource.attempts += 1
        if resource.state is ResourceState.READY:
            resource.looks = 0
            resource.late = None
        if resource.state is ResourceState.RUNNING:
            resource.since = None
        resource.state, resource.token, resource.worker = ResourceState.RUNNING, token, worker
        if resource.started is None:
            resource.started = self._now()
        self._hold(restore, resource, lease)
        if resource.told != (resource.attempts, worker):
            resource.told = resource.attempts, worker
            self._note(restore, ResourceState.RUNNING, resource, attempt=resource.attempts, worker=worker)

    def _held(self, restore_id: str, index: int | None, token: str) -> tuple[Restore, Resource | None] | None:
        restore = self._find(restore_id)
        if restore is None:
            return None
        resource = None if index is None else restore.resources[index]
        holder = resource.late if _is_late(resource) else (resource or restore.step).token
        return (restore, resource) if holder == token else None

    def _hold(self, restore: Restore, resource: Resource | None, lease: float) -> None:
        until = (resource or restore.step).until = self._now() + lease
        self._due[restore.new.id, resource.node.index if resource else None] = until + 1

    def _look_at(self, restore: Restore, resource: Resource | None = None) -> None:
        if resource is None:
            restore.step = Step()
        else:
            resource.sent = self._now()
        self._due[restore.new.id, resource.node.index if resource else None] = self._now() + self._patience

    def _tell(self, restore: Restore, event: str) -> None:
        # As Lua writes a number.
        self._news[News(restore.new.id, str(event), f"{self._now():.14g}")] = self._now()

    def _enter(self, restore: Restore, state: RestoreState, reason: str = "") -> None:
        restore.state, restore.updated, restore.reason = state, self._now(), reason
        restore.entered += 1
        restore.expires = float("inf")
        self._look_at(restore)

    def _finish(self, restore: Restore, resource: Resource, state: ResourceState, reason: str) -> list[Resource]:
        resource.state, resource.reason, resource.ended = state, reason, self._now()
        resource.token = resource.until = resource.late = None
        self._due.pop((restore.new.id, resource.node.index), None)
        self._note(restore, state, resource, reason=reason)
        if state is ResourceState.FAILED:
            resource.cause = resource.node
        for parent in resource.parents:
            parent.cause = parent.cause or (None if state is ResourceState.DONE else resource.cause)
        released = [parent for parent in resource.parents if parent.released]
        for parent in released:
            parent.state = ResourceState.READY
        if not restore.left:
            self._look_at(restore)
        return self._in_turn(restore, released)

    def _in_turn(self, restore: Restore, ready: list[Resource]) -> list[Resource]:
        now: list[Resource] = []
        queues = list(dict.fromkeys(each.node.queue for each in ready))
        for each in sorted(ready, key=lambda each: queues.index(each.node.queue)):
            turn = restore.turns[each.node.queue]
            if len(turn.sent) >= self._share or turn.line:
                turn.line.append(each)
                self._due[restore.new.id, each.node.index] = self._now() + 8 * self._patience
            else:
                turn.sent.append(each)
                now.append(each)
                self._look_at(restore, each)
        return now

    def _take_up(self, restore: Restore, resource: Resource) -> list[Resource]:
        turn = restore.turns[resource.node.queue]
        if resource not in turn.sent:
            return []
        turn.sent.remove(resource)
        return self._draw(restore, turn) if len(turn.sent) <= self._share / 2 else []

    def _heal(self, restore: Restore, turn: Turn) -> list[Node] | None:
        """Forget whom an earlier version took up without a word; what is to be sent now, None if others see to it."""
        in_queue = _still_sent(turn.sent)
        if len(in_queue) > self._share / 2:
            return None
        turn.sent = in_queue
        return _nodes(self._draw(restore, turn))

    def _draw(self, restore: Restore, turn: Turn) -> list[Resource]:
        drawn: list[Resource] = []
        taken: list[Resource] = []
        while turn.line and len(turn.sent) < self._share:
            each = turn.line.pop(0)
            if _is_unsent(each):
                turn.sent.append(each)
                drawn.append(each)
                self._look_at(restore, each)
            elif not each.sent and each.state is not ResourceState.PLANNED:
                # Taken up by a message of an earlier epoch: the chord of this one counts its own.
                taken.append(each)
                each.sent = self._now()
        return drawn + taken

    def _gone(self, restore: Restore, index: int, key: str) -> None:
        if restore.made.pop((index, key), None) is not None:
            self._note(restore, "gone", restore.resources[index], key=key)

    def _note(
        self, restore: Restore, name: str, resource: Resource | None = None, /, **details: str | float
    ) -> None:
        place = f"{len(restore.events) + 1}-0"
        index = resource.node.index if resource else None
        told = {key: str(value) for key, value in details.items()}
        restore.events.append(Event(place, time_of(self._now()), str(name), index, told))


def _ready_first(resources: list[Resource]) -> list[Resource]:
    """Make ready what waits for nothing, at the beginning of an epoch; return it."""
    leaves = [each for each in resources if each.state is ResourceState.PLANNED and each.released]
    for each in leaves:
        each.state = ResourceState.READY
    return leaves


def _is_late(resource: Resource | None) -> TypeGuard[Resource]:
    """Say whether only somebody of the time before a resume can hold it."""
    return resource is not None and resource.state in OPEN


def _moves(restore: Restore, resource: Resource | None) -> bool:
    """Say whether a message may be due: nobody else will send the next one."""
    if restore.state in FINAL_RESTORE_STATES:
        return False
    if resource is None:
        return restore.state is not RestoreState.RESTORING or not restore.left
    open_now = not resource.settled and resource.state is not ResourceState.PLANNED
    return open_now and restore.state is RestoreState.RESTORING


def _is_unsent(resource: Resource) -> bool:
    return resource.state is ResourceState.READY and not resource.sent


def _is_backlog(restore: Restore, resource: Resource, oldest: Mapping[tuple[str, Priority], str]) -> bool:
    """Say whether its message may still be in its queue."""
    first = oldest.get((resource.node.queue, restore.new.priority))
    return resource.state is ResourceState.READY and first is not None and resource.sent >= float(first)


def _given_up(attempts: int, reason: str) -> str:
    return f"given up after {attempts} attempts: {reason or 'the worker that held it vanished each time'}"


def _is_heats(restore: Restore) -> bool:
    """Say whether it is for the poller to find out what is next."""
    asked = restore.state is not RestoreState.CREATING or restore.stacks[0].asked == restore.entered
    return restore.state in FOLLOWED_RESTORE_STATES and asked


def _still_sent(resources: Iterable[Resource]) -> list[Resource]:
    return [each for each in resources if each.state is ResourceState.READY and each.sent]


def _still_ready(restore: Restore, resource: Resource) -> list[Resource]:
    if restore.state is not RestoreState.RESTORING:
        return []
    return _still_sent([*resource.drew, *resource.parents])


def _settled(restore: Restore, ready: Iterable[Resource]) -> Settled:
    return Settled(_nodes(ready), restore.epoch, restore.new.priority)


def _nodes(resources: Iterable[Resource]) -> list[Node]:
    return [each.node for each in resources]


def _named(node: Node) -> str:
    return f"{node.type} {node.name} ({node.id})" if node.name else f"{node.type} ({node.id})"
