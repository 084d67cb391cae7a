"""Fuzz by coverage: ``python -m tests.fuzz SECONDS [TARGET ...]``, each target so long; exit code 1 if one broke.

What is found, and what led further, is kept in ``.fuzz/TARGET``, which the next run begins with.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["restore_worker", "restore_openstack"], enable_loader_override=False):
    from restore_worker.registry import installed
    from tests.fuzz.targets import TARGETS, seeds

    # Plugins are imported only when somebody asks for them.
    installed()

from tests.fuzz.mutation import mutated
from tests.support.processes import ROOT

_KEPT = ROOT / ".fuzz"


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which then ends."""
    folder = _KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    prefix = 1 if name == "metadata" else 0

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        other = mutated(data, random, prefix) if random.random() < 0.7 else atheris.Mutate(data, most)
        return bytes(other[:most])

    options = (
        f"-max_total_time={seconds}",
        "-max_len=65536",
        "-timeout=30",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    )
    artifacts = f"-artifact_prefix={folder}/broke-"
    atheris.Setup([sys.argv[0], str(folder), artifacts, *options], TARGETS[name], custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    """Fuzz one target after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("seconds", type=int)
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *TARGETS], help=", ".join(TARGETS))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        fuzz(arguments.targets[0], arguments.seconds)
    broke = []
    for name in arguments.targets or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", str(arguments.seconds), name, "--here"]
        if subprocess.run(command, cwd=Path.cwd(), check=False).returncode:
            broke.append(name)
    sys.stdout.write(f"broke: {', '.join(broke)}; see {_KEPT}\n" if broke else "nothing broke\n")
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
