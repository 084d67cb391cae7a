"""One run: a restore, what is killed meanwhile, and whether it held what is promised.

`python -m tests.chaos.run SEED NUMBER FOLDER` leaves `result.json` in the folder, which is made for it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import redis

from restore_worker import restore
from restore_worker.entries import RestoreRecord
from restore_worker.errors import LedgerError
from restore_worker.hot import assemble
from restore_worker.ledger import Ledger
from restore_worker.states import FINAL_RESTORE_STATES, RestoreState
from tests.chaos import faults, graphs, world
from tests.chaos.checks import Checks, drained, on_the_way
from tests.chaos.machines import Machines
from tests.support import banks
from tests.support.processes import wait_until
from tests.support.stub_identity import write_clouds

LEASE = 5
PLUGIN = Path(__file__).with_name("plugin")
# A restore takes some five seconds; each of its faults may cost a lease, a look for what is overdue, and the visibility
# timeout, 20 s in all, and no run has more than five that do not overlap.
DEADLINE = 120
# The visibility timeout, its look once a second, and a copy that waits for a lease of five seconds and one more; twice,
# since a message may come back to a worker that is killed with it, and ten seconds if it was killed while it looked.
DRAIN = 2 * (10 + 1 + 6) + 10
# A worker takes two seconds to start, more beside another run.
START = 60


@dataclass
class Result:
    """How a run ended. problems: what did not hold, as pairs of its class and a sentence.

    stall: the longest one in seconds; stalled: between which events.
    """

    seed: int
    number: int
    kind: str
    size: int = 0
    kills: int = 0
    seconds: float = 0.0
    stall: float = 0.0
    stalled: str = ""
    failed_first: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Run:
    """What one run is made of. absences: when Redis, all workers or all beats were away, on `time.time`."""

    plan: faults.Plan
    graph: graphs.Graph
    folder: Path
    world: world.World
    machines: Machines
    random: Random
    result: Result
    absences: list[tuple[float, float]] = field(default_factory=list)
    poisoned: str = ""
    _blows: int = 0
    _beyond: float = 0.0

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.machines.url, decode_responses=True, socket_timeout=10)

    def go(self) -> None:
        """Restore, and check."""
        bank = self.folder / "bank"
        banks.write(self.graph.checkpoint(), bank / "karbor")
        # The same with and without a cloud, which need not answer; the stub of Heat takes a stack of any size.
        rendering = restore.plan("latest", bank=bank)
        planned = next(iter(assemble(rendering.fragments, rendering.plan.description)), None)
        self._start()
        submitted = restore.submit("latest", bank=bank, cloud="stub")
        (self.folder / "restore").write_text(submitted.id)
        begun = time.monotonic()
        ledger = Ledger(self.client)
        record = self._watch(ledger, submitted, begun)
        self.result.seconds = time.monotonic() - begun
        checks = Checks(self, ledger, submitted.id, planned)
        if record is None or record.state not in FINAL_RESTORE_STATES:
            state = record.state if record else "not to be read"
            self.result.problems.append(("lost", f"after {DEADLINE} s the restore is still {state}"))
        elif record.state is not RestoreState.COMPLETE:
            self.result.problems.append(("failed", f"{record.state}: {record.reason}"))
        else:
            checks.effects()
            checks.template()
        try:
            wait_until(lambda: self._tended() and drained(self.client), "that all messages are dealt with", DRAIN)
        except AssertionError:
            checks.tell("leaked", f"messages that nobody deals with: {on_the_way(self.client)}")
        checks.leftovers()
        checks.stall(self.absences)

    def _start(self) -> None:
        machines = self.machines
        for _ in range(self.plan.beats):
            machines.add_beat()
        machines.redis.tend()
        wait_until(lambda: machines.redis_answers, "Redis answers", START)
        for _ in range(self.plan.workers):
            machines.add_worker(self.random.randint(1, 2))
        machines.tend()
        wait_until(lambda: all(each.works for each in machines.all), "all is started", START)

    def _tended(self) -> bool:
        """Start what died, note what is away; whether Redis is there."""
        machines = self.machines
        machines.tend()
        there = machines.redis_answers
        machines.note_log_size()
        working = (machines.redis.works or any(each.works for each in machines.workers)) and (
            machines.redis.works if self.plan.embedded else any(each.works for each in machines.beats)
        )
        if not (there and working):
            now = time.time()
            if self.absences and now - self.absences[-1][1] < 0.5:
                self.absences[-1] = (self.absences[-1][0], now)
            else:
                self.absences.append((now, now))
        return there

    def _watch(self, ledger: Ledger, submitted: restore.Restore, begun: float) -> RestoreRecord | None:
        """Have things happen until the restore has ended; how it stands then."""
        record = None
        while time.monotonic() - begun < DEADLINE:
            if self._tended():
                with suppress(LedgerError):
                    record = ledger.get(submitted.id)
            if record is not None:
                if record.state in FINAL_RESTORE_STATES and not self._healed(record, submitted):
                    return record
                self._strike(self._progress(record))
            time.sleep(0.05)
        return record

    def _progress(self, record: RestoreRecord) -> float:
        if record.left:
            return 1 - record.left / record.size
        self._beyond = self._beyond or time.monotonic()
        return 1 + time.monotonic() - self._beyond

    def _healed(self, record: RestoreRecord, submitted: restore.Restore) -> bool:
        """If it failed as this run's poison must make it fail, take the cause away and have it go on."""
        if not self.poisoned or record.state is not RestoreState.FAILED or self.result.failed_first:
            return False
        expected = {
            "fails": f"thing {self.poisoned[1:]} ({self.poisoned}): told to fail",
            "deadly": f"({self.poisoned}): given up after 2 attempts: the worker that held it vanished each time",
        }[self.plan.poison]
        if expected not in record.reason:
            self.result.problems.append(("failed", f"not as it had to ({expected}): {record.reason}"))
            return False
        self.result.failed_first = True
        self.world.stumbles.clear()
        submitted.resume()
        return True

    def _strike(self, progress: float) -> None:
        """Do what is to happen by now."""
        while self._blows < len(self.plan.blows) and self.plan.blows[self._blows].progress <= progress:
            blow = self.plan.blows[self._blows]
            self._blows += 1
            self._hit(blow)

    def _hit(self, blow: faults.Blow) -> None:
        match blow.what:
            case "child":
                victim = self.machines.kill_child(self.random)
            case "worker" | "stop" | "beat":
                victim = self.machines.kill_one(blow.what, blow.back, self.random)
            case _:
                victim = self.machines.kill_redis(blow.what, blow.back)
        if victim:
            with (self.folder / "kills").open("a") as kills:
                kills.write(f"{time.time():.3f} {victim} {blow}\n")


def kind_of(number: int) -> str:
    """Return what kind of faults a run has."""
    kinds = list(faults.KINDS)
    return kinds[(number - 1) % len(kinds)]


def run(seed: int, number: int, folder: Path) -> Result:
    """Make a run in a new folder."""
    random = Random(f"{seed}.{number}")
    plan = faults.draw(random, kind_of(number))
    graph = graphs.draw(random, random.randint(100, 300))
    result = Result(seed, number, plan.kind, len(graph.things))
    with world.served(random) as served:
        served.trouble = plan.trouble
        ids = [f"t{index}" for index, thing in enumerate(graph.things) if thing["kind"] == "direct"]
        # A small graph passes some points less often than was drawn.
        plan.points = [
            (name, min(passage, len(ids)) if name == faults.OF_BUILT else passage, victim)
            for name, passage, victim in plan.points
        ]
        for each in random.sample(ids, min(plan.flaky, len(ids))):
            served.stumbles[each] = ["flaky"]
        for each in random.sample(ids, min(plan.long, len(ids))):
            # One that outlasts the visibility timeout is delivered twice.
            graph.things[int(each[1:])]["seconds"] = random.choice([6, 7, 12])
        clouds = write_clouds(folder / "clouds.yaml", stub=served.identity.entry())
        env = {
            "CELERY_CONFIG_MODULE": "tests.chaos.deployment",
            "CHAOS_FOLDER": str(folder),
            "CHAOS_POINTS": json.dumps(plan.points),
            "CHAOS_WORLD": served.identity.url,
            "OS_CLIENT_CONFIG_FILE": str(clouds),
            "PYTHONPATH": os.pathsep.join((str(PLUGIN), os.environ.get("PYTHONPATH", ""))),
            "RESTORE_HOME": str(folder / "home"),
            "RESTORE_LEASE_SECONDS": str(LEASE),
            # What is killed by accident must not be given up.
            "RESTORE_MAX_ATTEMPTS": "2" if plan.poison == "deadly" else "20",
        }
        poisoned = random.choice(ids) if plan.poison else ""
        if poisoned:
            served.stumbles[poisoned] = [plan.poison]
        machines = Machines(folder, env)
        if plan.embedded:
            machines.use_embedded(folder / "home", 2)
        else:
            machines.use_redis(plan.appendfsync)
        os.environ.update(machines.env)
        one = Run(plan, graph, folder, served, machines, random, result, poisoned=poisoned)
        (folder / "plan").write_text(
            f"seed {seed}, run {number}, {result.size} resources\n{plan}\npoison: {poisoned}\n"
        )
        try:
            one.go()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs go on
            traceback.print_exc()
            result.problems.append(("broken", repr(error)))
        finally:
            machines.end()
        kills = folder / "kills"
        result.kills = served.deaths + (len(kills.read_text().splitlines()) if kills.exists() else 0)
        if not result.kills and (plan.points or plan.blows):
            result.problems.append(("broken", "nothing was killed"))
    return result


def main(arguments: list[str]) -> None:
    """Make the run that the command line names."""
    seed, number, folder = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    sys.path.insert(0, str(PLUGIN))
    found: dict[str, Any] = dataclasses.asdict(run(seed, number, folder))
    (folder / "result.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
