"""Faults that would bring back a wrong application each turn a test red: the tests see what they are there for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import ROOT

SOURCES = ("restore_worker", "plugins", "tests", "examples", "pyproject.toml")


class Fault(NamedTuple):
    """What to write instead of what, where; and the test that sees it, with the beginning of the line that fails."""

    file: str
    sound: str
    faulty: str
    test: str
    line: str


FAULTS = {
    "a rule of a security group is dropped": Fault(
        "plugins/restore_openstack/security_group.py",
        "rules = [_inside(draft, group_id, rule) for rule in inside]",
        "rules = [_inside(draft, group_id, rule) for rule in inside[:-1]]",
        "tests/unit/test_security_groups.py::test_a_group_comes_back_with_all_its_rules",
        'assert restored.properties("web") == {',
    ),
    "servers get each other's ports": Fault(
        "plugins/restore_openstack/topology.py",
        "for server_id, ports in by_server.items()}",
        "for server_id, ports in zip(by_server, reversed(by_server.values()))}",
        "tests/unit/test_whole_applications.py::test_every_server_gets_its_own_ports[karbor]",
        "assert {name.removeprefix(",
    ),
    "a fragment is lost": Fault(
        "restore_worker/ledger.lua",
        "for i = FIRST_FRAGMENT, #ARGV, 2 do\n    redis.call('HSET', FRAGMENTS",
        "for i = FIRST_FRAGMENT + 2, #ARGV, 2 do\n    redis.call('HSET', FRAGMENTS",
        "tests/contract/test_ledger.py::test_a_parent_is_released_by_the_last_of_its_children[server]",
        "assert ledger.fragments(restore_id) == {",
    ),
    "checksums are not compared": Fault(
        "restore_worker/bank/chunks.py",
        "if digest.hexdigest() != checksum:",
        "if False:",
        "tests/unit/test_chunks.py::test_bytes_with_another_checksum_never_pass",
        "with saved(chunks) as bank, pytest.raises(DamagedDataError",
    ),
    "the template is assembled too early": Fault(
        "restore_worker/ledger.lua",
        "if state ~= from or (to == 'assembling' and left ~= '0') then return 0 end",
        "if state ~= from then return 0 end",
        "tests/contract/test_ledger_states.py::test_nothing_is_assembled_as_long_as_something_is_left[server]",
        "assert not ledger.move(restore_id, RestoreState.RESTORING, RestoreState.ASSEMBLING)",
    ),
}


@pytest.fixture
def copy(tmp_path):
    """Give a copy of all sources."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def plant(fault: Fault, root: Path) -> None:
    path = root / fault.file
    text = path.read_text()
    times = text.count(fault.sound)
    assert times == 1, f"{fault.file} has {fault.sound!r} {times} times: the fault must be planted anew"
    path.write_text(text.replace(fault.sound, fault.faulty))


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a copy's modules, wherever the project is installed from."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=inherited | {"PYTHONPATH": f"{root}:{root / 'plugins'}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_copy_passes(copy):
    program = "import restore_worker, restore_openstack, tests\n"
    program += "print(*(each.__path__[0] for each in (restore_worker, restore_openstack, tests)), sep='\\n')"
    used = run(copy, "-c", program).stdout.splitlines()
    assert used == [str(copy / name) for name in ("restore_worker", "plugins/restore_openstack", "tests")]
    done = run(copy, "-m", "pytest", *(fault.test for fault in FAULTS.values()))
    assert done.returncode == 0, done.stdout
    assert f"collected = passed = {len(FAULTS)}\n" in done.stdout


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault, copy):
    plant(fault, copy)
    done = run(copy, "-m", "pytest", fault.test)
    assert done.returncode == 1, done.stdout
    assert re.findall(r"^(FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE) == [("FAILED", fault.test)]
    failing = re.findall(r"^> +(.*)", done.stdout, re.MULTILINE)
    assert any(line.startswith(fault.line) for line in failing), done.stdout
