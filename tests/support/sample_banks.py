"""The sample banks that Karbor itself wrote, with what they are known to hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import ROOT

WEBAPP = ROOT / "examples" / "webapp"
BANKS = (WEBAPP, *sorted(path for path in (ROOT / "tests" / "banks").iterdir() if path.is_dir()))


def damaged_webapp(directory: Path) -> Path:
    """Copy a bank into the directory, an image of which has other bytes than were saved; return where it is."""
    bank = directory / "bank"
    shutil.copytree(WEBAPP, bank)
    for chunk in bank.glob("karbor/checkpoints/*/resource-data/fa764c51-*/data_2"):
        chunk.write_bytes(bytes(chunk.stat().st_size))
    return bank


class Sample(NamedTuple):
    """A checkpoint; expected: nodes, edges, roots, types and status of its resource graph."""

    bank: Path
    checkpoint: str
    expected: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.bank.name}-{self.checkpoint[:8]}"


SAMPLES = tuple(
    Sample(bank, checkpoint, expected)
    for bank in BANKS
    for checkpoint, expected in json.loads((bank / "expected.json").read_text()).items()
)
