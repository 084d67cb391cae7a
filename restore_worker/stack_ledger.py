"""What the ledger knows of restores' stacks; the key map is in `restore_worker.ledger`."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import redis
from redis.exceptions import RedisError

from restore_worker import facts
from restore_worker.entries import Built, StackLog
from restore_worker.ledger_reader import FOLLOWED, keys_of, translated
from restore_worker.states import RestoreState

_POLLING = "restores:polling"


class Begun(NamedTuple):
    """How far a step of a stack is.

    before: what the stack was like before the step, "" if there was none.
    asked: whether Heat was asked to do it.
    finished: whether it was a creation that is complete, with outputs that were noted.
    """

    before: str
    asked: bool
    finished: bool = False


class StackChange(NamedTuple):
    """Something that happened to a stack, or to one of its resources. time: Heat's, "" if it does not say."""

    name: str
    status: str
    reason: str
    time: str = ""


class StackLedger:
    """The stacks of all restores of one Redis.

    What is written belongs to a state of the restore: once that has another, nothing is written.
    number: which of a restore's stacks is meant, as of `restore_worker.hot.Hot`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        source = importlib.resources.files("restore_worker").joinpath("stack_ledger.lua").read_text()
        self._script = client.register_script(source)

    def get(self, restore_id: str, number: int = 0) -> StackLog:
        """Return what is known of a stack of a restore."""
        own = f"{number}." if number else ""
        names = [f"{own}{name}" for name in ("id", "status", "reason", "seen", "outputs")]
        with translated():
            values = cast("list[str | None]", self._client.hmget(keys_of(restore_id)["stack"], names))
        stack_id, status, reason, seen, outputs = (value or "" for value in values)
        return StackLog(stack_id, status, reason, seen, json.loads(outputs or "{}"))

    def any(self, restore_id: str) -> bool:
        """Say whether there is a stack, as far as it was noted."""
        with translated():
            fields = cast("list[str]", self._client.hkeys(keys_of(restore_id)["stack"]))
        return any(field.rpartition(".")[2] == "id" for field in fields)

    def built(self, restore_id: str, number: int | None = None) -> list[Built]:
        """Return the resources of a stack by name; of all stacks of the restore, if it is not said of which."""
        with translated():
            found = cast("dict[str, str]", self._client.hgetall(keys_of(restore_id)["built"]))
        own = f"{number}" if number else ""
        split = ((*place.rpartition("/")[::2], text) for place, text in found.items())
        return sorted(
            Built(name, *json.loads(text)) for where, name, text in split if number is None or where == own
        )

    def followed(self) -> list[str]:
        """Return the ids of the restores whose stack Heat works on."""
        with translated():
            return sorted(cast("set[str]", self._client.smembers(FOLLOWED)))

    @contextmanager
    def polling(self, seconds: float) -> Iterator[bool]:
        """Hold the lock of the one who polls; False if somebody else has it.

        seconds: after which one that died, or takes so long, is replaced.
        """
        with translated():
            lock = self._client.lock(_POLLING, timeout=seconds, blocking=False)
            held = lock.acquire()
        try:
            yield held
        finally:
            # One that took too long has lost it already.
            with suppress(RedisError):
                if held:
                    lock.release()

    def begin(
        self, restore_id: str, state: RestoreState, mark: str, *, keep: bool, number: int = 0
    ) -> Begun | None:
        """Begin a state's step, or return how far it is; None if the restore has another state by now.

        mark: what the stack is like now, "" if there is none.
        keep: whether the step begins with that, if it has not begun yet.
        """
        answer = self._run(restore_id, "begin", state, mark, int(keep), number=number)
        return None if answer is None else Begun(answer[0], *map(bool, answer[1:]))

    def asked(self, restore_id: str, state: RestoreState, stack_id: str, *, number: int = 0) -> bool:
        """Note that Heat was asked for the step that was begun; False if the restore has gone on since.

        It may even have come back to the state: cancelled and resumed.
        """
        return bool(self._run(restore_id, "asked", state, stack_id, number=number))

    def rest(self, restore_id: str, state: RestoreState, total: int, finished: int) -> bool:
        """Note that Heat was asked for all stacks of several that can be made now.

        finished: how many of so many in all were; False if more are by now.
        """
        answer = self._run(restore_id, "rest", state, total, finished)
        return answer is None or bool(answer)

    def observe(
        self,
        restore_id: str,
        state: RestoreState,
        log: StackLog,
        changes: Iterable[StackChange],
        built: Iterable[Built],
        *,
        seen_before: str,
        number: int = 0,
    ) -> bool:
        """Note what the stack is like now; False, and nothing noted, if somebody else has seen more.

        log: with the id, the status, its reason and the last event seen.
        changes: since ``seen_before``, oldest first.
        built: resources that are as they were not before.
        """
        news = {"built": {each.name: json.dumps(each[1:]) for each in built}, "events": list(changes)}
        status = (seen_before, log.seen, log.status, log.reason)
        return bool(self._run(restore_id, "observe", state, log.id, *status, json.dumps(news), number=number))

    def finish(self, restore_id: str, state: RestoreState, outputs: Mapping[str, str], *, number: int = 0) -> None:
        """Note the outputs of a complete stack."""
        self._run(restore_id, "finish", state, json.dumps(dict(outputs)), number=number)

    def tell(self, restore_id: str, state: RestoreState, reason: str) -> None:
        """Note what the step waits for, as news unless it has been told."""
        self._run(restore_id, "tell", state, reason)

    def gone(self, restore_id: str, state: RestoreState, *, keep: bool, number: int = 0) -> None:
        """Note that the stack is gone; keep: what it built is not."""
        self._run(restore_id, "gone", state, int(keep), number=number)

    def unfollow(self, restore_id: str, state: RestoreState | None) -> None:
        """Note that nobody needs to look at the stacks any more; state: None if the restore has expired."""
        self._run(restore_id, "unfollow", state)

    def _run(
        self, restore_id: str, verb: str, state: RestoreState | None, *arguments: str | int, number: int = 0
    ) -> Any:
        keys = keys_of(restore_id)
        with translated():
            events, *answer = self._script(
                keys=[*(keys[name] for name in ("record", "stack", "built", "events")), FOLLOWED],
                args=[verb, state.value if state else "", restore_id, number, *arguments],
            )
        facts.tell(restore_id, events)
        return answer[0] if answer else None
