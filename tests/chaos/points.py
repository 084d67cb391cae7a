"""Points at which a process of the run kills itself: installed in every worker by tests/chaos/deployment.py.

CHAOS_POINTS is JSON, a list of [point, passage, victim]; CHAOS_FOLDER has a file a point, with a byte a passage, so that
the n-th passage of all processes is known to one of them. Nothing of this is in the product.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kombu.transport import virtual

from restore_worker import canvas
from restore_worker.context import RestoreContext
from restore_worker.entries import QUEUE, TRANSFER_QUEUE, Claimed
from restore_worker.ledger import Ledger
from restore_worker.stack import Heat
from restore_worker.stack_ledger import StackLedger

# Whether the passage of a call counts, from its arguments (without self) and, after it, its result.
Condition = Callable[[tuple[Any, ...], Any], bool]
_FAN = 8


def always(_arguments: tuple[Any, ...], _result: Any) -> bool:
    return True


def to(*states: str) -> Condition:
    """Return what is true of a move to one of the states."""
    return lambda arguments, result: str(arguments[2]) in states and result is not False


BEFORE, AFTER = "before", "after"
# By name: whose method, its name, whether before or after it, and under which condition.
POINTS: dict[str, tuple[type, str, str, Condition]] = {
    "a message popped, not yet noted as taken": (
        virtual.Transport,
        "_deliver",
        BEFORE,
        lambda arguments, _: arguments[1] in {QUEUE, TRANSFER_QUEUE},
    ),
    "after the chord's size, before the first is sent": (Ledger, "begin", AFTER, always),
    "after a claim": (Ledger, "claim", AFTER, lambda _, result: isinstance(result, Claimed)),
    "after the plugin, before its resource is settled": (Ledger, "settle", BEFORE, always),
    "after a resource is settled, before what it released is sent": (
        Ledger,
        "settle",
        AFTER,
        lambda _, result: len(result.released) > 0,
    ),
    "before the move to assembling": (Ledger, "move", BEFORE, to("assembling")),
    "after the move to assembling": (Ledger, "move", AFTER, to("assembling")),
    "before the template is written": (Ledger, "move", BEFORE, to("creating")),
    "after the template is written": (Ledger, "move", AFTER, to("creating")),
    "before Heat is asked": (Heat, "create", BEFORE, always),
    "after Heat is asked, before the ledger knows": (Heat, "create", AFTER, always),
    "after the ledger knows the stack": (StackLedger, "asked", AFTER, always),
    "before the end is written": (Ledger, "move", BEFORE, to("complete")),
    "after the end is written": (Ledger, "move", AFTER, to("complete")),
}
# Those that no method's beginning or end is.
IN_BETWEEN = (
    "after the chord's size is declared",
    "in the middle of a fan-out",
    "after a thing is built, before that is noted",
)


def install(chosen: list[tuple[str, int, str]], folder: Path) -> None:
    """Have processes killed at the passages that were chosen."""
    for number, (point, passage, victim) in enumerate(chosen):
        kill = functools.partial(_pass, folder / f"point{number}", point, passage, victim)
        if point == IN_BETWEEN[0]:
            _wrap(canvas, "declare", AFTER, always, kill)
        elif point == IN_BETWEEN[1]:
            _in_fan_outs(kill, folder / f"point{number}", passage)
        elif point == IN_BETWEEN[2]:
            _in_once(kill)
        else:
            owner, name, when, condition = POINTS[point]
            _wrap(owner, name, when, condition, kill)


def _wrap(owner: Any, name: str, when: str, condition: Condition, kill: Callable[[], None]) -> None:
    function = getattr(owner, name)
    skipped = 1 if isinstance(owner, type) else 0

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if when == BEFORE and condition(arguments[skipped:], None):
            kill()
        result = function(*arguments, **named)
        if when == AFTER and condition(arguments[skipped:], result):
            kill()
        return result

    setattr(owner, name, wrapped)


def _in_fan_outs(kill: Callable[[], None], file: Path, passage: int) -> None:
    """Send a few messages of a wide fan-out in one go, as far as a batch came, then be killed."""
    send = canvas.send_resources

    def send_resources(app: Any, restore_id: str, epoch: int, nodes: Any, priority: Any) -> None:
        nodes = list(nodes)
        if len(nodes) >= _FAN and not (file.exists() and file.stat().st_size >= passage):
            part = len(nodes) * (1 + passage % 3) // 4
            send(app, restore_id, epoch, nodes[:part], priority)
            kill()
            send(app, restore_id, epoch, nodes[part:], priority)
        else:
            send(app, restore_id, epoch, nodes, priority)

    canvas.send_resources = send_resources


def _in_once(kill: Callable[[], None]) -> None:
    once = RestoreContext.once

    def mortal(self: RestoreContext, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> Any:
        def create_and_die() -> str:
            physical_id = create()
            kill()
            return physical_id

        return once(self, key, create_and_die, find)

    RestoreContext.once = mortal  # type: ignore[method-assign]


def _pass(file: Path, point: str, passage: int, victim: str) -> None:
    with file.open("ab") as passages:
        fcntl.flock(passages, fcntl.LOCK_EX)
        passages.write(b".")
        passages.flush()
        if passages.tell() != passage:
            return
    with (file.parent / "kills").open("a") as kills:
        kills.write(f"{time.time():.3f} {victim} {point}\n")
    if victim == "process":
        os.kill(os.getpid(), signal.SIGKILL)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if "CHAOS_POINTS" in os.environ:
    install(json.loads(os.environ["CHAOS_POINTS"]), Path(os.environ["CHAOS_FOLDER"]))
