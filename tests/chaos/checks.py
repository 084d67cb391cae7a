"""What is promised of a restore, looked at after its end from outside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from restore_worker.entries import QUEUE, RECONCILE_QUEUE, TRANSFER_QUEUE, Priority, list_of, stack_name
from restore_worker.hot import Hot
from restore_worker.ledger import Ledger
from restore_worker.states import ResourceState

if TYPE_CHECKING:
    from tests.chaos.run import Run

_LISTS = [list_of(queue, priority) for queue in (QUEUE, TRANSFER_QUEUE) for priority in Priority]
# What Redis says of a key that does not expire.
_FOR_EVER = -1
# Two leases of five seconds are aimed at: that of whoever died, and until what was lost is looked for. Five more, since a
# busy machine takes as long as it likes to start a task.
LONGEST_STALL = 15.0


def drained(client: redis.Redis) -> bool:
    """Return whether no message of a restore is on its way, nor with a worker."""
    try:
        return not client.exists(*_LISTS, "unacked", "unacked_index")
    except RedisError:
        return False


def on_the_way(client: redis.Redis) -> str:
    """Return what is in the queues, and with workers, for people."""
    queued = {each: client.llen(each) for each in _LISTS}
    return f"{queued}, with workers: {client.hgetall('unacked')}"[:2000]


@dataclass
class Checks:
    """The checks of one run, which write into its result what does not hold."""

    run: Run
    ledger: Ledger
    restore_id: str
    planned: Hot | None

    def tell(self, what: str, sentence: str) -> None:
        self.run.result.problems.append((what, sentence))

    def effects(self) -> None:
        """Each resource took effect once, and the ledger knows of it."""
        world, direct = self.run.world, set(self.run.graph.direct)
        for (restore_id, resource), built in world.effects.items():
            if restore_id != self.restore_id or resource not in direct:
                self.tell("doubled", f"{resource} of {restore_id} was built, and was not to be")
            if len(built) > 1:
                self.tell("doubled", f"{resource} was built {len(built)} times")
        for resource in direct - {resource for _, resource in world.effects}:
            self.tell("lost", f"{resource} was never built")
        there = {each for built in world.effects.values() for each in built}
        known = {each for made in self.ledger.all_made(self.restore_id).values() for each in made.values()}
        if there != known:
            self.tell(
                "lost",
                f"the ledger does not know {sorted(there - known)}, and {sorted(known - there)} is not there",
            )
        states = Counter(each.state for each in self.ledger.resources(self.restore_id))
        if set(states) != {ResourceState.DONE}:
            self.tell("lost", f"resources are {dict(states)}")
        done = Counter(each.index for each in self.ledger.events(self.restore_id) if each.name == "done")
        if set(done.values()) != {1}:
            self.tell(
                "doubled", f"resources that were done more than once: {[i for i, n in done.items() if n > 1]}"
            )

    def template(self) -> None:
        """The template is that of a peaceful rendering, with the values of what was built, and one stack has it."""
        hot, world, heat = self.ledger.template(self.restore_id), self.run.world, self.run.world.heat
        if hot is None or self.planned is None or hot.text != self.planned.text:
            self.tell("lost", "the template is not the one that was planned")
            return
        built = sorted(each for made in world.effects.values() for each in made)
        if sorted(hot.values.values()) != built:
            self.tell("lost", "the template's values are not what was built")
        name = stack_name(self.restore_id)
        if heat.created != {name: 1}:
            self.tell("doubled" if heat.created[name] > 1 else "lost", f"stacks created: {dict(heat.created)}")
            return
        if (heat.stacks[0].template, heat.stacks[0].parameters) != (hot.text, dict(hot.values)):
            self.tell("lost", "the stack was made of another template")
        if self.ledger.stacks.get(self.restore_id).id != heat.stacks[0].id:
            self.tell("lost", "the ledger does not know the stack")

    def leftovers(self) -> None:
        """Nothing stays in Redis but what is known of the restore, bindings of queues, and what ends by itself."""
        client = self.run.client
        # The restore itself is looked at once more, when it has expired.
        due = set(client.zrange("restores:due", 0, -1)) - {f"{self.restore_id}/"}
        if due:
            self.tell("leaked", f"restores:due still has {due}")
        for key in sorted(client.scan_iter(count=1000)):
            if why := self._leaked(key, client.ttl(key)):
                self.tell("leaked", f"{key}: {why}")
        if strange := [*self.run.world.strange, *self.run.world.heat.strange]:
            self.tell("broken", f"requests that the stubs do not know: {strange[:5]}")

    def _leaked(self, key: str, ttl: Any) -> str:
        if key.startswith(f"restore:{{{self.restore_id}}}:"):
            return "does not expire" if ttl == _FOR_EVER else ""
        # Beat goes on, and so do its messages.
        of_all = {"restores", "restores:due", "restores:reconciled", RECONCILE_QUEUE, "unacked", "unacked_index"}
        # Its next pass tells of the end.
        of_all |= {"restores:news"}
        if key in of_all or key.startswith("_kombu.binding"):
            return ""
        if key.startswith("celery-taskset-meta-") and not key.endswith(".c"):
            return f"a chord that nobody needs, for {ttl} s"
        return "nobody's, and does not expire" if ttl == _FOR_EVER else ""

    def stall(self, absences: list[tuple[float, float]]) -> None:
        """Note the longest time without any event, while Redis, a worker and a beat were there."""
        result = self.run.result
        events = [
            (each.time.timestamp(), f"{each.name} {each.index}") for each in self.ledger.events(self.restore_id)
        ]
        (first, _), (last, _) = events[0], events[-1]
        # While the stub creates a stack, Heat is at work; that it is done is an event, too.
        others = [(at, "something in the world") for at in self.run.world.times() if first < at < last]
        for (before, earlier), (after, later) in pairwise(sorted([*events, *others])):
            away = sum(max(0.0, min(after, gone[1]) - max(before, gone[0])) for gone in absences)
            if after - before - away > result.stall:
                result.stall, result.stalled = after - before - away, f"from {earlier} to {later}"
        if result.stall > LONGEST_STALL:
            self.tell("stalled", f"nothing happened for {result.stall:.1f} s, {result.stalled}")
