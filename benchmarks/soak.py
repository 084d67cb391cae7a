"""What restores leave: `python -m benchmarks.soak` runs a thousand of them, and waits until they have expired."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks.table import Row, markdown
from tests.support.endings import CHILDREN, Endings, short_lives
from tests.support.footprint import Footprint, footprints, stored
from tests.support.processes import redis_server, start_worker, wait_until
from tests.support.steps import Steps, installed

RESTORES = 1000
BATCH = 100
# Celery itself keeps for so long that a chord is done.
KEEP_SECONDS = 300
PROCESSES = 2
# After so many batches a process has imported and cached what it ever will.
WARM = 2


def main() -> None:
    """Print the figures; it takes about ten minutes."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        redis_server() as url,
        redis.Redis.from_url(url, decode_responses=True) as client,
        installed(Path(scratch, "log")),
        short_lives(client, KEEP_SECONDS),
    ):
        os.environ["RESTORE_REDIS_URL"] = url
        options = ["--beat", "--include=tests.support.short_lives"]
        log = Path(scratch, "worker.log")
        program = start_worker(log, pool="prefork", concurrency=PROCESSES, options=options)
        try:
            print(markdown(_measure(client, Endings(Steps(Path(scratch))), program.process.pid)))
        finally:
            program.kill()


def _measure(client: redis.Redis, endings: Endings, pid: int) -> Iterator[Row]:
    before = stored(client)
    foreign = set(client.scan_iter())
    ended: Counter[str] = Counter()
    samples: list[dict[int, Footprint]] = []
    for _ in range(RESTORES // BATCH):
        ended.update({str(state): count for state, count in endings.run(BATCH).items()})
        samples.append(footprints(pid))
    peak = stored(client)
    wait_until(
        lambda: set(client.scan_iter()) - foreign <= {"restores:reconciled"}, "all is gone", 3 * KEEP_SECONDS
    )
    after = stored(client)
    told = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
    yield Row(f"keys in Redis before {RESTORES} restores ({told})", str(before.keys))
    yield Row("... when all have ended", str(peak.keys))
    yield Row("... when all have expired", str(after.keys), "1 more")
    for name, store in (("before", before), ("when all have ended", peak), ("when all have expired", after)):
        yield Row(f"memory of Redis {name}", f"{store.memory / 2**20:.2f} MiB")
    tasks = BATCH * (len(CHILDREN) + 2)
    for place, process in enumerate(samples[0]):
        taken = [sample[process] for sample in samples]
        name = f"process {place + 1} of the worker"
        sizes = " ".join(f"{each.resident / 2**20:.0f}" for each in taken)
        yield Row(f"{name}: resident MiB after each {tasks} tasks", sizes, f"flat after {WARM * tasks}")
        yield Row(f"{name}: its share of it", " ".join(f"{each.proportional / 2**20:.0f}" for each in taken))
        yield Row(f"{name}: open files", " ".join(str(each.files) for each in taken), "flat")


if __name__ == "__main__":
    main()
