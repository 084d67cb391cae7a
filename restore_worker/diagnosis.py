"""What is found of one thing that restores need, and how to find it within a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from restore_worker.errors import RestoreError


class Health(StrEnum):
    """How something is."""

    OK = "ok"
    # It works, but may cost something later.
    WARNING = "warning"
    WRONG = "wrong"
    # Nobody named it, or what stands in the way of a look is wrong itself.
    UNKNOWN = "unknown"


class Diagnosis(NamedTuple):
    """What was found of one thing; mend: "" if there is nothing to do."""

    subject: str
    health: Health
    found: str
    mend: str = ""


Check = Callable[[], Iterable[Diagnosis]]


def within(seconds: float, checks: Mapping[str, Check]) -> list[Diagnosis]:
    """Run all checks at the same time; what one has not found out by then is wrong, under its name."""
    found: dict[str, list[Diagnosis]] = {name: [] for name in checks}
    # Nobody waits for a thread that hangs, not even the end of the process.
    threads = {
        name: threading.Thread(target=_run, args=(name, check, found[name]), daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            late = Diagnosis(name, Health.WRONG, f"no answer within {seconds:g} s", "see to what does not answer")
            found[name] = [*found[name], late]
    return [each for name in checks for each in found[name]]


def _run(name: str, check: Check, found: list[Diagnosis]) -> None:
    try:
        # One by one: what was found before it hangs is told.
        for each in check():
            found.append(each)  # noqa: PERF402 - see above
    except RestoreError as error:
        found.append(Diagnosis(name, Health.WRONG, str(error), "as it says"))
    except Exception as error:  # noqa: BLE001 - it must not keep the others from being told
        # Only its class: what its words quote may be a secret.
        found.append(Diagnosis(name, Health.WRONG, f"unforeseen: {type(error).__name__}", "report it"))
