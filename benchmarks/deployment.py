"""What machines that are not here would reach: threads, cores and one Redis, simulated with measured costs."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy

# What a resource asks of Redis is asked in two visits: the claim before it works, and all else after.
_VISITS = 2
SIZE = 20_000


@dataclass(frozen=True, slots=True)
class Costs:
    """What a resource costs: seconds of processor time in a worker, and in Redis."""

    worker: float
    redis: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """Workers on machines, and a Redis on one of its own, or on that of the workers if there is but one.

    threads: of each worker. cores: of each machine.
    network: seconds that all questions of a resource are on their way.
    """

    workers: int
    threads: int
    cores: int
    machines: int = 1
    network: float = 0.0


def tasks_per_second(deployment: Deployment, costs: Costs, waits: float) -> float:
    """Return what comes of resources that need nobody, and of which each waits so many seconds for something."""
    draw, world = random.Random(0), simpy.Environment()
    machines = [simpy.Resource(world, deployment.cores) for _ in range(deployment.machines)]
    redis = simpy.Resource(world)
    redis_machine = machines[0] if deployment.machines == 1 else simpy.Resource(world)
    left = iter(range(SIZE))

    def visit(
        process: simpy.Resource, machine: simpy.Resource, seconds: float
    ) -> Generator[simpy.Event, Any, None]:
        # Of a process, one thread computes at a time.
        with process.request() as turn, machine.request() as core:
            yield turn
            yield core
            yield world.timeout(draw.expovariate(1 / (seconds / _VISITS)))

    def thread(worker: simpy.Resource, machine: simpy.Resource) -> Generator[simpy.Event, Any, None]:
        for _ in left:
            for pause in (waits, 0.0):
                yield from visit(worker, machine, costs.worker)
                yield world.timeout(deployment.network / _VISITS)
                yield from visit(redis, redis_machine, costs.redis)
                yield world.timeout(pause)

    for number in range(deployment.workers):
        worker = simpy.Resource(world)
        for _ in range(deployment.threads):
            world.process(thread(worker, machines[number % deployment.machines]))
    world.run()
    return SIZE / world.now
