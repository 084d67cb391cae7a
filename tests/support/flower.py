"""A Flower of its own, and what it shows."""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Program, free_port, wait_until

_SECONDS = 30


@dataclass
class Flower:
    """Flower as everybody sees it who may reach it."""

    program: Program
    url: str

    def read(self, path: str, data: bytes | None = None) -> str:
        """Return a page; an HTTP error is raised."""
        with urllib.request.urlopen(self.url + urllib.parse.quote(path, "/?=&"), data, _SECONDS) as answer:
            text: str = answer.read().decode()
            return text

    def tasks(self) -> list[str]:
        """Return the ids of the tasks that it knows."""
        return list(json.loads(self.read("/api/tasks?limit=1000")))

    def worker(self) -> tuple[str, dict[str, Any]]:
        """Return the only worker's name and all that Flower learns by asking it."""

        def asked() -> Any:
            # Each question has a second to be answered, which a busy machine may miss.
            workers = json.loads(self.read("/api/workers?refresh=1"))
            return next(
                (each for each in workers.items() if {"conf", "stats", "active_queues"} <= each[1].keys()), None
            )

        name, told = wait_until(asked, "the worker's answers to Flower")
        return name, told

    def table(self) -> str:
        """Return what fills the page of tasks, whole."""
        asked = {
            "draw": "1",
            "start": "0",
            "length": "1000",
            "search[value]": "",
            "order[0][column]": "0",
            "order[0][dir]": "asc",
            "columns[0][data]": "name",
        }
        return self.read("/tasks/datatable", urllib.parse.urlencode(asked).encode())


@contextmanager
def flower(log: Path, env: Mapping[str, str] | None = None) -> Iterator[Flower]:
    """Run Flower with its API open to everybody, until the end of the block."""
    port = free_port()
    program = Program(
        [
            *(sys.executable, "-m", "celery", "-A", "restore_worker.app", "flower"),
            *("--address=127.0.0.1", f"--port={port}", "--persistent=False"),
        ],
        log,
        {"FLOWER_UNAUTHENTICATED_API": "true", **(env or {})},
    )
    try:
        program.wait_for("Visit me at")
        yield Flower(program, f"http://127.0.0.1:{port}")
    finally:
        program.kill()
