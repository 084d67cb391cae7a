"""Measure everything, and print one table."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from benchmarks import makespan, planning, scaling, stage, throughput, traffic, watching
from benchmarks.table import markdown


def main() -> None:
    """Print where this runs, then the figures; it takes some minutes."""
    with stage.deployment() as client:
        versions = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "taskflow"))
        print(
            f"{stage.CORES} cores (load {os.getloadavg()[0]:.1f}), Python {platform.python_version()}, "
            f"Valkey {client.info('server')['valkey_version']}, {versions}\n"
        )
        rows = [*planning.measure(), *throughput.measure(client), *makespan.measure(), *traffic.measure(client)]
        rows += [*scaling.measure(client), *watching.measure()]
        print(markdown(rows))


if __name__ == "__main__":
    main()
