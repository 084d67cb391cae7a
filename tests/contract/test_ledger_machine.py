"""A real server and the twin, given the same random calls, answer the same and end in the same state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from restore_worker.cut import Limits
from restore_worker.entries import QUEUE, TRANSFER_QUEUE, AttemptLimits, Built, Claimed, Held, Priority, StackLog
from restore_worker.errors import LedgerError
from restore_worker.hot import Borrowed, Hot
from restore_worker.ledger import Ledger
from restore_worker.stack_ledger import StackChange
from restore_worker.states import (
    FINAL_RESTORE_STATES,
    RESOURCE_TRANSITIONS,
    RESTORE_TRANSITIONS,
    ResourceState,
    RestoreState,
)
from restore_worker.template import HeatParameter, HeatResource
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import DEAD, LONG, AnyLedger, new_restore, told

MOST = 12
# Time stands still: leases and waits are over at once or not at all, and what was sent is overdue at once.
SPANS = st.sampled_from([LONG, DEAD])
STEPS = (RestoreState.CHECKING, RestoreState.ASSEMBLING, RestoreState.CREATING, RestoreState.DISCARDING)
TOKENS = st.sampled_from(["one", "two", "three"])
OUTCOMES = st.sampled_from([ResourceState.DONE, ResourceState.FAILED])
# Few ids, so that resources clash.
FRAGMENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e", "f"]),
    st.sampled_from([HeatResource("Type::A", {"name": "a"}), HeatParameter("physical", "Type::B")]),
    min_size=1,
    max_size=1,
)
# One stack, or of several the first two.
NUMBERS = st.sampled_from([0, 0, 1, 2])
ALONE = Hot("text", {"p": "1"}, (), 2)
SEVERAL = (
    Hot("one", {}, (), 1, number=1),
    Hot("two", {}, ("p_b",), 1, number=2, waits_for=(1,), borrowed={"p_a": Borrowed(1, "a")}),
)
GRAPHS = st.integers(4, MOST).flatmap(
    lambda size: st.tuples(
        *(st.sets(st.integers(0, index - 1), max_size=3) if index else st.just(()) for index in range(size))
    )
)


class SameCalls(RuleBasedStateMachine):
    """One restore, worked on by several workers that may die, repeat themselves and come too late."""

    client: redis.Redis

    @initialize(children=GRAPHS)
    def submit(self, children: tuple[set[int], ...]) -> None:
        self.client.delete("restores", "restores:due", "restores:followed")
        self.ledgers: tuple[AnyLedger, AnyLedger] = (
            Ledger(self.client, patience=0, share=2),
            LedgerTwin(lambda: 1_800_000_000.0, patience=0, share=2),
        )
        new = new_restore([sorted(each) for each in children])
        self.tokens: dict[int, str] = {}
        self.id, self.size = new.id, len(children)
        for ledger in self.ledgers:
            ledger.record(new)
        self.before = self.states
        self.go_on()

    def both(self, call: Callable[[AnyLedger], Any]) -> Any:
        """Return the answer if it is the same of both."""
        server, twin = (self.answer(ledger, call) for ledger in self.ledgers)
        assert server == twin
        self.check_step()
        return twin

    def check_step(self) -> None:
        """See that what one call changed is in the tables."""
        (old, olds), (new, news) = self.before, self.states
        assert old is new or (old, new) in RESTORE_TRANSITIONS
        resumed = new is RestoreState.PENDING and old is not new
        for was, now in zip(olds, news, strict=True):
            # Resuming plans anew, and what is planned and needs nothing is ready.
            by_resume = (
                resumed and now is ResourceState.READY and (was, ResourceState.PLANNED) in RESOURCE_TRANSITIONS
            )
            assert was is now or (was, now) in RESOURCE_TRANSITIONS or by_resume, (was, now)
        self.before = new, news

    @staticmethod
    def answer(ledger: AnyLedger, call: Callable[[AnyLedger], Any]) -> Any:
        try:
            answer = call(ledger)
        except LedgerError as error:
            return repr(error)
        match answer:
            case Held(seconds):
                return Held(round(seconds, -2))
            case Claimed(waited=waited):
                return replace(answer, waited=round(waited, -2))
        return answer

    @property
    def twin(self) -> AnyLedger:
        return self.ledgers[1]

    @property
    def state(self) -> RestoreState:
        return self.twin.get(self.id).state

    @property
    def states(self) -> tuple[RestoreState, list[ResourceState]]:
        return self.state, [each.state for each in self.twin.resources(self.id)]

    def places(self, *states: ResourceState) -> st.SearchStrategy[int]:
        """Draw the resources in some of these states first, and any if there are none."""
        wanted = [each.node.index for each in self.twin.resources(self.id) if each.state in states]
        return st.sampled_from(wanted or range(self.size))

    @rule(epoch=st.sampled_from([None, None, 1, 2]))
    def go_on(self, epoch: int | None = None) -> None:
        self.both(lambda ledger: ledger.move(self.id, RestoreState.PENDING, RestoreState.CHECKING))
        self.both(lambda ledger: ledger.begin(self.id, epoch))

    @rule(data=st.data(), token=TOKENS, outcome=OUTCOMES, fragments=FRAGMENTS)
    def restore_one(self, data: Any, token: str, outcome: ResourceState, fragments: dict[str, Any]) -> None:
        index = data.draw(self.places(ResourceState.READY))
        self.claim(index, token, LONG)
        self.settle(index, token, outcome, fragments)

    @rule(data=st.data(), token=TOKENS, lease=SPANS)
    def take(self, data: Any, token: str, lease: float) -> None:
        busy = (ResourceState.READY, ResourceState.RUNNING, ResourceState.WAITING)
        self.claim(data.draw(self.places(*busy)), token, lease)

    def held(self, data: Any) -> tuple[int, str]:
        """Draw a resource, most likely one in work, and a token, most likely the one that took it last."""
        index = data.draw(self.places(ResourceState.RUNNING))
        return index, data.draw(st.sampled_from([self.tokens.get(index, "one")] * 3 + ["two"]))

    def claim(self, index: int, token: str, lease: float) -> None:
        claim = self.both(
            lambda ledger: ledger.claim(self.id, index, token, lease=lease, limits=AttemptLimits(2), worker=token)
        )
        if isinstance(claim, Claimed):
            self.tokens[index] = token

    @rule(data=st.data(), outcome=OUTCOMES, fragments=FRAGMENTS)
    def settle_some(self, data: Any, outcome: ResourceState, fragments: dict[str, Any]) -> None:
        self.settle(*self.held(data), outcome, fragments)

    def settle(self, index: int, token: str, outcome: ResourceState, fragments: dict[str, Any]) -> None:
        given = fragments if outcome is ResourceState.DONE else None
        self.both(lambda ledger: ledger.settle(self.id, index, token, outcome, "reason", given))

    @rule(data=st.data(), lease=SPANS)
    def renew_or_die(self, data: Any, lease: float) -> None:
        index, token = self.held(data)
        self.both(lambda ledger: ledger.renew(self.id, index, token, lease))

    @rule(data=st.data(), seconds=SPANS, counts=st.booleans(), still=st.booleans())
    def wait(self, data: Any, seconds: float, counts: bool, still: bool) -> None:
        index, token = self.held(data)
        self.both(lambda ledger: ledger.wait(self.id, index, token, seconds, "soon", counts=counts, still=still))

    @rule(data=st.data(), physical_id=st.sampled_from(["", "x", "y"]))
    def build(self, data: Any, physical_id: str) -> None:
        index, token = self.held(data)
        self.both(lambda ledger: ledger.note_made(self.id, index, token, "volume", physical_id))
        self.both(lambda ledger: ledger.made(self.id, index, "volume"))
        if physical_id:
            late = data.draw(st.sampled_from(["x", "y", "z"]))
            self.both(lambda ledger: ledger.note_late(self.id, index, "volume", late))

    @rule(data=st.data())
    def clear_away(self, data: Any) -> None:
        index, token = self.held(data)
        self.both(lambda ledger: ledger.note_gone(self.id, index, token, "volume"))
        self.both(lambda ledger: ledger.discarded(self.id, index, ["volume"]))

    @rule(
        data=st.data(),
        mark=st.sampled_from(["", "one", "two"]),
        keep=st.booleans(),
        asks=st.booleans(),
        number=NUMBERS,
    )
    def ask_heat(self, data: Any, mark: str, keep: bool, asks: bool, number: int) -> None:
        state = data.draw(self.likely_state())
        begun = self.both(lambda ledger: ledger.stacks.begin(self.id, state, mark, keep=keep, number=number))
        if begun and asks:
            self.both(lambda ledger: ledger.stacks.asked(self.id, state, f"stack {mark}", number=number))

    @rule(data=st.data(), finished=st.integers(0, 2))
    def ask_no_more(self, data: Any, finished: int) -> None:
        state = data.draw(self.likely_state())
        self.both(lambda ledger: ledger.stacks.rest(self.id, state, 2, finished))

    @rule(limits=st.none() | st.builds(Limits))
    def limit(self, limits: Limits | None) -> None:
        self.both(lambda ledger: ledger.limit(self.id, limits))

    @rule(data=st.data(), seen=st.sampled_from(["", "1", "2"]), name=st.sampled_from(["a", "b"]), number=NUMBERS)
    def look_at_heat(self, data: Any, seen: str, name: str, number: int) -> None:
        state = data.draw(self.likely_state())
        before = data.draw(st.sampled_from([self.twin.stacks.get(self.id, number).seen] * 3 + ["1"]))
        log, built = StackLog("stack", f"STATUS_{seen}", "", seen), Built(name, "Type::A", seen, "", "physical")
        changes = [StackChange(name, seen, "reason")]
        self.both(
            lambda ledger: ledger.stacks.observe(
                self.id, state, log, changes, [built], seen_before=before, number=number
            )
        )
        self.both(lambda ledger: ledger.stacks.tell(self.id, state, f"after {seen}"))

    @rule(data=st.data(), keep=st.booleans(), ends=st.sampled_from(["finish", "gone", "unfollow"]), number=NUMBERS)
    def leave_heat(self, data: Any, keep: bool, ends: str, number: int) -> None:
        state = data.draw(self.likely_state())
        if ends == "finish":
            self.both(lambda ledger: ledger.stacks.finish(self.id, state, {"a": "1"}, number=number))
        elif ends == "gone":
            self.both(lambda ledger: ledger.stacks.gone(self.id, state, keep=keep, number=number))
        else:
            self.both(lambda ledger: ledger.stacks.unfollow(self.id, state))

    def likely_state(self) -> st.SearchStrategy[RestoreState]:
        return st.sampled_from([self.state] * 3 + [RestoreState.CREATING])

    @rule(data=st.data())
    def move(self, data: Any) -> None:
        # Resuming is another door; begin is the one from checking to restoring.
        others = {RestoreState.PENDING, RestoreState.RESTORING}
        pairs = sorted(each for each in RESTORE_TRANSITIONS if each[1] not in others)
        likely = [each for each in pairs if each[0] is self.state]
        old, new = data.draw(st.sampled_from(likely * 4 + pairs))
        hots = data.draw(st.sampled_from([(), (ALONE,), SEVERAL]))
        self.both(lambda ledger: ledger.move(self.id, old, new, "reason", hots))
        self.both(lambda ledger: [ledger.template(self.id, number) for number in range(3)])

    @precondition(lambda self: self.state in FINAL_RESTORE_STATES)
    @rule(at_once=st.booleans())
    def resume(self, at_once: bool) -> None:
        self.both(lambda ledger: ledger.resume(self.id))
        if at_once:
            self.go_on()

    @rule(data=st.data(), token=TOKENS, lease=SPANS)
    def take_step(self, data: Any, token: str, lease: float) -> None:
        step = data.draw(st.sampled_from([self.state, *STEPS]).filter(lambda each: each in STEPS))
        self.both(lambda ledger: ledger.take(self.id, step, token, lease=lease, most_attempts=2, worker=token))

    @rule(token=TOKENS, seconds=SPANS, counts=st.booleans(), gives_up=st.booleans())
    def end_step(self, token: str, seconds: float, counts: bool, gives_up: bool) -> None:
        if gives_up and (self.state, RestoreState.FAILED) in RESTORE_TRANSITIONS:
            state = self.state
            self.both(lambda ledger: ledger.move(self.id, state, RestoreState.FAILED, "reason", token=token))
        else:
            self.both(lambda ledger: ledger.renew(self.id, None, token, seconds))
            self.both(lambda ledger: ledger.wait(self.id, None, token, seconds, "busy", counts=counts))

    @rule(
        data=st.data(),
        busy=st.dictionaries(
            st.tuples(st.sampled_from([QUEUE, TRANSFER_QUEUE]), st.sampled_from(Priority)),
            st.sampled_from(["0", "9e9"]),
        ),
    )
    def look(self, data: Any, busy: dict[tuple[str, Priority], str]) -> None:
        overdue = self.overdue(self.twin)
        assert self.overdue(self.ledgers[0]) == overdue
        if overdue:
            index = data.draw(st.sampled_from(sorted(overdue, key=str)))
            self.both(lambda ledger: ledger.look(self.id, index, busy))

    def overdue(self, ledger: AnyLedger) -> set[int | None]:
        return {index for _, index in ledger.overdue()}

    @invariant()
    def they_agree(self) -> None:
        self.both(lambda ledger: replace(ledger.get(self.id), created=None, updated=None))
        times = ("until", "started", "ended")
        self.both(
            lambda ledger: [
                replace(each, **{name: getattr(each, name) is not None for name in times})
                for each in ledger.resources(self.id)
            ]
        )

    @invariant()
    def they_agree_on_the_stack(self) -> None:
        self.both(lambda ledger: (ledger.stacks.any(self.id), ledger.stacks.built(self.id)))
        for number in range(3):
            self.both(
                lambda ledger: (ledger.stacks.get(self.id, number), ledger.stacks.built(self.id, number))  # noqa: B023 - asked at once
            )
        self.both(lambda ledger: (ledger.stacks.followed(), ledger.all_made(self.id)))

    @invariant()
    def they_agree_on_what_is_to_be_told(self) -> None:
        self.both(lambda ledger: {each.event for each in ledger.news() if each.restore_id == self.id})

    def teardown(self) -> None:
        if hasattr(self, "id"):
            self.both(lambda ledger: told(ledger, self.id))
            self.both(lambda ledger: ledger.fragments(self.id))
            self.both(self.overdue)


def test_the_server_does_what_the_twin_does(redis_url: str) -> None:
    SameCalls.client = redis.Redis.from_url(redis_url, decode_responses=True)
    choices = settings(max_examples=100, stateful_step_count=60)
    run_state_machine_as_test(SameCalls, settings=choices)
