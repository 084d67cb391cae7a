"""The ledger: all that is known of restores, in Redis. Nobody else talks to Redis about restores.

Key map; all keys of one restore share a hash tag, and expire together some days after the restore has ended:

===============================  ======  ==========================================================
restore:{ID}:record              hash    checkpoint, bank, cloud, state, reason, times, counts; hot: the template;
                                         of several, hot.NUMBER each, and cut: what each waits for
restore:{ID}:progress            hash    INDEX.FIELD: state, needs, cause, attempts, token, late, until, sent, ...;
                                         without INDEX, of the restore's own step;
                                         QUEUE.FIELD: sent, what is in a queue; what stands in line for it
restore:{ID}:parents             hash    INDEX -> indices of what depends on it, comma-separated
restore:{ID}:nodes               hash    INDEX -> JSON [type, id, name, queue]
restore:{ID}:work                hash    INDEX -> JSON of what the plugin's restore() works from
restore:{ID}:fragments           hash    original id -> JSON of the fragment
restore:{ID}:owners              hash    original id -> INDEX of the resource that put the fragment
restore:{ID}:made                hash    INDEX/KEY -> physical id of what was built directly;
                                         "INDEX/KEY ID" -> the same of what was built once too often
restore:{ID}:events              stream  event, resource (INDEX or ""), and what belongs to the event
restore:{ID}:stack               hash    id, status, reason, outputs, last event seen, what Heat was asked;
                                         of several, NUMBER.FIELD each
restore:{ID}:built               hash    name in the template -> JSON [type, status, reason, physical id];
                                         of several stacks, NUMBER/NAME
restores                         zset    ID -> created, seconds since 1970
restores:due                     zset    ID/INDEX or ID/ -> when to look whether it still moves, or is still kept
restores:followed                set     ids of restores whose stack Heat works on
restores:drills                  set     ids of drills that may not be deleted yet
restores:news                    zset    ID/EVENT/SECONDS -> when to tell of it, both in seconds since 1970;
                                         ID/EVENT/SECONDS/RECEIVER where the others know already
restores:reconciled              string  when the reconciler last ran, seconds since 1970
restores:reconciling             string  there while another one need not run; ends by itself
restores:polling                 string  lock of the one who polls; ends by itself
===============================  ======  ==========================================================

INDEX is a resource's place in the plan, NUMBER that of a stack, from 1, where there are several. Everything that a
task changes is one run of ``ledger.lua``, or of ``stack_ledger.lua`` through `restore_worker.stack_ledger`; what
only reads is in `restore_worker.ledger_reader`.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import redis

from restore_worker import facts
from restore_worker.cut import Limits
from restore_worker.entries import (
    AttemptLimits,
    Claimed,
    Ended,
    Held,
    Idle,
    NewRestore,
    News,
    Node,
    Outcome,
    Priority,
    Settled,
    Taken,
)
from restore_worker.errors import LedgerError, StaleLeaseError
from restore_worker.hot import Hot
from restore_worker.ledger_reader import (
    DRILLS,
    DUE,
    FOLLOWED,
    NEWS,
    RECONCILED,
    RESTORES,
    LedgerReader,
    hot_field,
    keys_of,
    member_of,
    news_of,
    node_of,
    nodes_of,
    priority_of,
    translated,
)
from restore_worker.recording import record, recorded_before
from restore_worker.redis_client import open_client
from restore_worker.settings import Settings
from restore_worker.stack_ledger import StackLedger
from restore_worker.states import RestoreState, may_follow
from restore_worker.template import Fragment, dump_fragment

# Several beats are as good as one: no two passes within so long.
_RECONCILING = "restores:reconciling"
_RECONCILING_MILLISECONDS = 900
# Whatever becomes ready of a restore waits for so many of each other one, and workers need not wait for the next.
SHARE = 32
# News that one pass tells, at most.
_NEWS = 20


class Ledger(LedgerReader):
    """All restores of one Redis.

    client: decodes responses.
    patience: seconds that something sent may take before the reconciler looks at it.
    keep_days: how long a restore stays after its end.
    share: how many resources of one restore are in a queue at most.
    """

    def __init__(
        self, client: redis.Redis, *, patience: float = 30.0, keep_days: float = 30.0, share: int = SHARE
    ) -> None:
        super().__init__(client)
        self._patience = patience
        self._share = share
        self._keep_days = keep_days
        source = importlib.resources.files("restore_worker").joinpath("ledger.lua").read_text()
        self._script = client.register_script(source)
        self.stacks = StackLedger(client)

    # The submitter's side

    def record(self, new: NewRestore, *, force: bool = False) -> str:
        """Write a restore down, as pending, in one transaction; return its id.

        If its key names a restore already, nothing is written, and that one's id is returned.
        force: although the same is restored to the same cloud already.
        Raises DuplicateRestoreError otherwise, or if the key was given to another request.
        """
        return record(self._client, self, self.stacks, new, patience=self._patience, force=force)

    def recorded_before(self, new: NewRestore, *, force: bool = False) -> str | None:
        """Return the id of the restore that `record` would find for the key, None if it would write the new one.

        Raises as `record` does. Somebody else may submit the same meanwhile: `record` decides.
        """
        return recorded_before(self._client, self, self.stacks, new, force=force)

    def resume(self, restore_id: str) -> int:
        """Open a new epoch over what is not done; return its number, 0 if the restore is not stopped.

        Who holds a resource then may still `renew` it, note what it makes, and `wait`, which lets it go; until
        then nobody else gets it.
        """
        return int(self._run(restore_id, "resume"))

    # The workers' side

    def begin(self, restore_id: str, epoch: int | None = None) -> Sequence[Node] | None:
        """Go from checking to restoring; return what can start at once, None if the restore is stopped.

        epoch: None also if the restore is in another one by now: that has checks of its own.
        """
        state, nodes = self._run(restore_id, "begin", *(() if epoch is None else (epoch,)))
        return nodes_of(nodes) if state == "restoring" else None

    def claim(
        self, restore_id: str, index: int, token: str, *, lease: float, limits: AttemptLimits, worker: str
    ) -> Claimed | Held | Settled | Idle:
        """Take a resource for ``lease`` seconds under a token of the caller's making."""
        by_type = json.dumps(dict(limits.by_type))
        match self._run(restore_id, "claim", index, token, lease, limits.most, worker, by_type):
            case ["claimed", attempts, node, work, *where, epoch, waited, drawn, priority]:
                checkpoint, bank, cloud, identity = where
                how = (int(epoch), priority_of(priority), float(waited), nodes_of(drawn))
                return Claimed(int(attempts), node_of(index, node), work, checkpoint, bank, cloud, identity, *how)
            case ["held", seconds]:
                return Held(float(seconds))
            case ["settled", released, epoch, priority]:
                return Settled(nodes_of(released), int(epoch), priority_of(priority))
        return Idle()

    def take(
        self, restore_id: str, step: RestoreState, token: str, *, lease: float, most_attempts: int, worker: str
    ) -> Taken | Held | Idle:
        """Take the step that belongs to a state of the restore, as `claim` takes a resource.

        Idle if the restore has another state; also if it has failed now, since the step was tried too often.
        """
        match self._run(restore_id, "take", step.value, token, lease, most_attempts, worker, self._keep_days):
            case ["taken", attempts]:
                return Taken(int(attempts))
            case ["held", seconds]:
                return Held(float(seconds))
        return Idle()

    def renew(self, restore_id: str, index: int | None, token: str, lease: float) -> bool:
        """Hold a resource, or the restore's step, for more seconds; False if it is not the token's any more."""
        return bool(self._run(restore_id, "renew", _place(index), token, lease))

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
        """Let a resource, or the restore's step, go for some seconds; False if it is not the token's any more.

        counts: whether this attempt is one of those that are limited.
        still: whether it only found that there is nothing to do yet; `claim` tells how long that has gone on.
        """
        arguments = (token, seconds, reason, int(counts), int(still))
        return bool(self._run(restore_id, "wait", _place(index), *arguments))

    def settle(
        self,
        restore_id: str,
        index: int,
        token: str,
        state: Outcome,
        reason: str = "",
        fragments: Mapping[str, Fragment] | None = None,
    ) -> Settled:
        """End a resource as done (with its fragments) or failed (with the reason); return what it released.

        A fragment under an original id that another resource has already put makes the outcome failed.
        Raises StaleLeaseError if the token does not hold the resource; nothing is written then.
        """
        flat: list[str] = []
        for original_id, fragment in (fragments or {}).items():
            flat += [original_id, dump_fragment(fragment)]
        match self._run(restore_id, "settle", index, token, state.value, reason, *flat):
            case ["settled", released, epoch, priority]:
                return Settled(nodes_of(released), int(epoch), priority_of(priority))
        raise StaleLeaseError

    def note_made(self, restore_id: str, index: int, token: str, key: str, physical_id: str) -> None:
        """Note what was built directly; StaleLeaseError if the token does not hold the resource.

        physical_id: "" notes nothing; StaleLeaseError also if the restore was stopped.
        """
        if not self._run(restore_id, "note_made", index, token, key, physical_id):
            raise StaleLeaseError

    def note_late(self, restore_id: str, index: int, key: str, physical_id: str) -> None:
        """Note what was built by one who has lost the resource, beside what others build under that key."""
        self._run(restore_id, "note_late", index, key, physical_id)

    def note_moved(self, restore_id: str, index: int, token: str, size: int) -> None:
        """Tell how many bytes were read for a resource so far.

        StaleLeaseError if the token does not hold the resource, or the restore was stopped.
        """
        if not self._run(restore_id, "note_moved", index, token, size):
            raise StaleLeaseError

    def note_read(self, restore_id: str, index: int, token: str, size: int) -> None:
        """Note how many bytes were read for a resource, to the last one; nothing if it is not the token's."""
        self._run(restore_id, "note_read", index, token, size)

    def note_gone(self, restore_id: str, index: int, token: str, key: str) -> None:
        """Note that what was built directly is deleted; raises as `note_made` does."""
        if not self._run(restore_id, "note_gone", index, token, key):
            raise StaleLeaseError

    def discarded(self, restore_id: str, index: int, keys: Iterable[str]) -> None:
        """Note that all that was built directly for a resource is deleted."""
        for key in keys:
            self._run(restore_id, "discarded", index, key)

    def identify(self, restore_id: str, identity: str) -> str:
        """Return which cloud the restore builds on: what the first who knew it said."""
        return str(self._run(restore_id, "identify", identity))

    def limit(self, restore_id: str, limits: Limits | None) -> None:
        """Note how large one stack may be, before the templates are made; None if all goes into one."""
        self._run(restore_id, "limit", "" if limits is None else json.dumps(limits))

    def add_findings(self, restore_id: str, findings: Iterable[Sequence[str]]) -> None:
        """Note more of what comes back differently, each once."""
        known = [tuple(each) for each in json.loads(self.findings(restore_id))]
        merged = dict.fromkeys((*known, *map(tuple, findings)))
        self._run(restore_id, "find", json.dumps(list(merged)))

    def move(
        self,
        restore_id: str,
        old: RestoreState,
        new: RestoreState,
        reason: str = "",
        hots: Sequence[Hot] = (),
        token: str = "",
    ) -> bool:
        """Take a restore from one state to the next, with its templates if there are any; False if it was not so.

        token: of the one who has taken the restore's step; without it, whoever may have it.
        To assembling it goes only when nothing is left to restore. LedgerError if no restore may ever go so.
        """
        if not may_follow(old, new):
            raise LedgerError(f"no restore goes from {old} to {new}")
        fields = {hot_field(each.number): json.dumps(dataclasses.asdict(each)) for each in hots}
        if hots:
            fields["cut"] = json.dumps([each.waits_for for each in hots] if len(hots) > 1 else [])
        stored = json.dumps(fields) if fields else ""
        return bool(self._run(restore_id, "move", old.value, new.value, reason, self._keep_days, stored, token))

    # The reconciler's side

    def reconciling(self) -> bool:
        """Note that the reconciler runs; False if another one, of a second beat, did so just now."""
        with translated():
            if not self._client.set(_RECONCILING, 1, nx=True, px=_RECONCILING_MILLISECONDS):
                return False
            self._client.set(RECONCILED, self._now())
        return True

    def look(
        self, restore_id: str, index: int | None, oldest: Mapping[tuple[str, Priority], str] | None = None
    ) -> Sequence[Node] | RestoreState | Ended | None:
        """Return what is to be sent again: resources, or the step of a restore in this state; None for nothing.

        A restore that has ended is to be cleared away. One that has expired is forgotten here.
        oldest: by queue and priority, when the oldest message that waits there was sent, as `sent` has it; what
            was sent later waits there, too, and is not lost.
        """
        first = {f"{queue}/{priority}": when for (queue, priority), when in (oldest or {}).items()}
        status, answer = self._run(restore_id, "look", _place(index), json.dumps(first))
        if status == "resources":
            return nodes_of(answer)
        if status == "ended":
            return Ended(int(answer))
        return RestoreState(status) if status in tuple(RestoreState) else None

    def take_news(self, seconds: float) -> Sequence[News]:
        """Return what is to be told now, the oldest first, and have it told again after so long unless it was."""
        with translated(), self._client.pipeline(transaction=True) as transaction:
            transaction.watch(NEWS)  # type: ignore[no-untyped-call]  # redis has few types
            now = self._now()
            due = cast(
                "list[str]", self._client.zrange(NEWS, "-inf", cast("Any", now), byscore=True, num=_NEWS, offset=0)
            )
            transaction.multi()
            if due:
                transaction.zadd(NEWS, dict.fromkeys(due, now + seconds), xx=True)
            try:
                transaction.execute()
            except redis.WatchError:
                # There was more news, or another one tells of this.
                return ()
        return [news_of(each) for each in due]

    def told(self, news: News) -> None:
        """Note that all have heard of it."""
        with translated():
            self._client.zrem(NEWS, member_of(news))

    def tell_later(self, news: News, receiver: str, seconds: float) -> None:
        """Have one of the receivers, who are all unless news says so, told again after some seconds."""
        again = member_of(dataclasses.replace(news, receiver=receiver))
        with translated(), self._client.pipeline(transaction=True) as transaction:
            transaction.zrem(NEWS, member_of(news))
            transaction.zadd(NEWS, {again: self._now() + seconds})
            transaction.execute()

    def drill_is_over(self, restore_id: str) -> None:
        """Note that nobody needs to look at a drill any more."""
        with translated():
            self._client.srem(DRILLS, restore_id)

    def _run(self, restore_id: str, verb: str, *arguments: str | float) -> Any:
        keys = [*keys_of(restore_id).values(), DUE, FOLLOWED, RESTORES, NEWS]
        with translated():
            given = [verb, restore_id, self._patience, self._share, *arguments]
            events, *answer = self._script(keys=keys, args=given)
        facts.tell(restore_id, events)
        return answer[0] if answer else None


def connect(settings: Settings, *, retries: int = 15) -> Ledger:
    """Return the ledger in the Redis of the settings.

    retries: as of `restore_worker.redis_client.open_client`.
    """
    client = open_client(settings.redis_address(), retries=retries)
    return Ledger(client, patience=settings.lease_seconds, keep_days=settings.keep_days)


def _place(index: int | None) -> str | int:
    """Return where in ``progress`` something stands: a resource, or the restore's own step."""
    return "" if index is None else index
