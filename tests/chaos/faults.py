"""What goes wrong in a run: drawn from its seed, by the kind of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos.points import IN_BETWEEN, POINTS


@dataclass(frozen=True, order=True)
class Blow:
    """Something that is killed at a moment.

    progress: the part of the resources that are settled by then; beyond 1, the restore is so many seconds further.
    what: child, worker, beat, redis, up; stop: a worker that is asked to end; power: Redis, and it forgets a second.
    back: seconds until it is started again.
    """

    progress: float
    what: str
    back: float = 0.0


@dataclass
class Plan:
    """All that a run does otherwise than a peaceful one.

    points: point, passage and victim (process or group).
    long: how many resources take longer than a lease; flaky: how many need a second attempt.
    poison: how one resource ends, each time: deadly or fails; "" for none.
    trouble: probability that Heat is unwilling.
    """

    kind: str
    appendfsync: str = "everysec"
    embedded: bool = False
    workers: int = 3
    beats: int = 1
    points: list[tuple[str, int, str]] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    long: int = 0
    flaky: int = 0
    poison: str = ""
    trouble: float = 0.02


def moments(random: Random, most: float = 1.0, count: tuple[int, int] = (2, 4)) -> list[float]:
    """Return when: parts of the way, some of them in what comes after the last resource."""
    return sorted(random.uniform(0.0, most) for _ in range(random.randint(*count)))


def _children(random: Random, plan: Plan) -> None:
    plan.blows += [Blow(at, "child") for at in moments(random, 1.2, (4, 8))]


def _workers(random: Random, plan: Plan) -> None:
    plan.workers = random.randint(2, 4)
    plan.blows += [Blow(at, "worker", random.uniform(0, 2)) for at in moments(random, 1.3)]


def _stopped(random: Random, plan: Plan) -> None:
    plan.workers = random.randint(2, 4)
    plan.blows += [
        Blow(at, random.choice(["stop", "worker"]), random.uniform(0, 2)) for at in moments(random, 1.2)
    ]


def _beats(random: Random, plan: Plan) -> None:
    plan.beats = random.randint(1, 2)
    plan.blows += [Blow(at, "beat", random.choice([0, 1, 6])) for at in moments(random, 2.0)]
    plan.blows += [Blow(at, "worker", 0.5) for at in moments(random, 1.0, (1, 1))]


def _redis(random: Random, plan: Plan) -> None:
    plan.blows += [Blow(at, "redis", random.choice([0, 0.5, 2])) for at in moments(random, 1.5, (1, 3))]


def _redis_always(random: Random, plan: Plan) -> None:
    plan.appendfsync = "always"
    _redis(random, plan)


def _power(random: Random, plan: Plan) -> None:
    # Later than a second after it was submitted: else there may be no restore.
    plan.blows += [
        Blow(random.uniform(0.15, 1.5), "power", random.choice([0, 1])) for _ in range(random.randint(1, 2))
    ]


def _embedded(random: Random, plan: Plan) -> None:
    plan.embedded, plan.workers = True, random.randint(1, 2)
    # `up` brings a beat of its own.
    plan.beats = 0
    whats = random.choice([["redis"], ["redis", "up"], ["up"], ["redis", "redis"]])
    plan.blows += [Blow(random.uniform(0, 1.3), what) for what in whats]


def _long(random: Random, plan: Plan) -> None:
    plan.long = random.randint(1, 3)
    plan.blows += [Blow(at, random.choice(["child", "worker"]), 0.5) for at in moments(random, 1.0)]


def _flaky(random: Random, plan: Plan) -> None:
    plan.flaky = random.randint(3, 12)
    plan.blows += [Blow(at, "child") for at in moments(random, 1.0)]


def _heat(random: Random, plan: Plan) -> None:
    plan.trouble = random.uniform(0.2, 0.5)
    plan.blows += [Blow(at, "worker", 0.5) for at in moments(random, 2.0, (1, 2))]


def _deadly(random: Random, plan: Plan) -> None:
    plan.poison, plan.workers = "deadly", 2


def _fails(random: Random, plan: Plan) -> None:
    plan.poison = "fails"
    plan.blows += [Blow(at, "child") for at in moments(random, 1.0)]


def _mixed(random: Random, plan: Plan) -> None:
    plan.appendfsync = random.choice(["everysec", "always"])
    plan.workers, plan.beats = random.randint(2, 4), random.randint(1, 2)
    plan.flaky, plan.long, plan.trouble = random.randint(0, 5), random.randint(0, 1), random.uniform(0, 0.3)
    plan.points.append(_point(random, random.choice([*POINTS, *IN_BETWEEN])))
    whats = ["child", "child", "worker", "stop", "beat", "redis"]
    plan.blows += [Blow(at, random.choice(whats), random.uniform(0, 1.5)) for at in moments(random, 1.5, (3, 5))]


# The point that is passed once for each resource that is built directly.
OF_BUILT = "after a thing is built, before that is noted"
# Passages of a point that a restore has for each of its resources, and only once or twice.
_OFTEN = {
    "a message popped, not yet noted as taken": 80,
    "after a claim": 80,
    "after the plugin, before its resource is settled": 80,
    "after a resource is settled, before what it released is sent": 10,
    OF_BUILT: 30,
}


def _point(random: Random, name: str) -> tuple[str, int, str]:
    # The consumer of a worker is its main process: nothing but the whole of it has popped a message.
    victim = "group" if name.startswith("a message popped") else random.choice(["process", "group"])
    return name, random.randint(1, _OFTEN.get(name, 1)), victim


def _at(name: str) -> Callable[[Random, Plan], None]:
    def point(random: Random, plan: Plan) -> None:
        times = random.randint(1, 3) if name in _OFTEN else 1
        plan.points += {
            passage: (name, passage, victim)
            for name, passage, victim in (_point(random, name) for _ in range(times))
        }.values()

    return point


KINDS: dict[str, Callable[[Random, Plan], None]] = {
    "worker's children killed": _children,
    "workers killed": _workers,
    "workers come and go": _stopped,
    "beat killed, two beats, none": _beats,
    "Redis killed (fsync every second)": _redis,
    "Redis killed (fsync always)": _redis_always,
    "Redis killed, its last second lost": _power,
    "`up` or its Valkey killed": _embedded,
    "killed amid what outlasts a lease": _long,
    "flaky resources": _flaky,
    "unwilling Heat": _heat,
    "a resource that kills its worker": _deadly,
    "a resource that fails": _fails,
    "several at once": _mixed,
    **{
        f"killed {name}" if not name.startswith("a message") else f"killed with {name}": _at(name)
        for name in (*POINTS, *IN_BETWEEN)
    },
}


def draw(random: Random, kind: str) -> Plan:
    """Return what a run of a kind does."""
    plan = Plan(kind)
    KINDS[kind](random, plan)
    plan.blows.sort()
    return plan
