"""What more workers do: measured on this machine, and simulated for more machines than there are."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks import stage
from benchmarks.deployment import Costs, Deployment, tasks_per_second
from benchmarks.graphs import waiting_graph
from benchmarks.table import Row
from restore_worker.states import RestoreState

WORKERS = (1, 2, 4, 8)
THREADS = 8
# What a resource waits for somebody else; a short time, since few machines have to be kept busy by it.
WAITS = 0.1
# For each worker, so that all of them work for some seconds.
SIZE = 400
REPEATS = 3
# A data centre: machines, workers on them, cores of each, and seconds that Redis is away, there and back.
_MACHINES, _WORKERS, _CORES, _AWAY = 20, 100, 4, 0.0003
# How often a resource asks Redis: see the benchmark of traffic.
_QUESTIONS = 13
# What real resources wait.
_REALLY = 5.0


def measure(client: redis.Redis) -> Iterator[Row]:
    """Measure, then simulate the same and more with the costs that were measured."""
    measured = {number: _measure(client, number) for number in WORKERS}
    for number, (seen, costs) in measured.items():
        simulated = tasks_per_second(Deployment(number, THREADS, stage.CORES), costs, WAITS)
        could = number * THREADS / WAITS
        yield Row(
            f"workers of {THREADS} threads, resources that wait {WAITS:g} s: {number}",
            f"{seen:.0f} tasks/s, {seen / could:.0%} of what waits; simulated {simulated:.0f}",
        )
    # Of those that had time to spare.
    costs = measured[2][1]
    yield Row(
        "... a resource costs",
        f"{costs.worker * 1000:.2f} ms of a worker's processor, {costs.redis * 1000:.2f} ms of Redis'",
    )
    for waits in (WAITS, 1.0, _REALLY):
        far = Deployment(_WORKERS, THREADS, _CORES, _MACHINES, _AWAY * _QUESTIONS)
        reached = tasks_per_second(far, costs, waits)
        yield Row(
            f"simulated: {_WORKERS} workers on {_MACHINES} machines, resources that wait {waits:g} s",
            f"{reached:.0f} tasks/s, Redis {reached * costs.redis:.0%} busy",
        )


def _measure(client: redis.Redis, number: int) -> tuple[float, Costs]:
    """Return tasks per second of so many workers, and what each cost; medians."""
    size = SIZE * number
    with stage.workers("threads", THREADS, number) as programs, tempfile.TemporaryDirectory() as scratch:
        bank = waiting_graph(size, WAITS).save(Path(scratch))
        pids = [each.process.pid for each in programs]
        runs = []
        for _ in range(1 + REPEATS):
            before = sum(map(_cpu, pids)), _redis_cpu(client)
            seconds = stage.seconds(stage.run(bank), RestoreState.RESTORING, RestoreState.ASSEMBLING)
            used = sum(map(_cpu, pids)) - before[0], _redis_cpu(client) - before[1]
            runs.append((size / seconds, used[0] / size, used[1] / size))
    rate, worker, redis_ = (statistics.median(each) for each in zip(*runs[1:], strict=True))
    return rate, Costs(worker, redis_)


def _cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, as proc_pid_stat(5) tells them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _redis_cpu(client: redis.Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_sys"] + used["used_cpu_user"])
