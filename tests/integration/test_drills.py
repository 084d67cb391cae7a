"""Drills come to their end by themselves: real workers, real Redis, and Heat as a stub that takes its time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from restore_worker import cloud, restore
from restore_worker.errors import RefusedError, RestoreError
from restore_worker.restore import Restore
from restore_worker.states import RestoreState
from tests.support.processes import Program, wait_until
from tests.support.steps import BRITTLE, TYPE, Steps
from tests.support.stub_heat import StubHeat
from tests.support.stub_identity import StubIdentity, stub_identity, write_clouds

# Starting a worker alone takes seconds on a busy machine.
SECONDS = 90
TTL = timedelta(seconds=2)
GRAPH = [[], [0]]


@pytest.fixture
def site(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubIdentity]:
    """Have a cloud with Heat, for workers whose leases are short."""
    with stub_identity() as stub:
        stub.heat = StubHeat(Random(1))
        clouds = write_clouds(tmp_path / "clouds.yaml", target=stub.entry())
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        monkeypatch.setenv("RESTORE_LEASE_SECONDS", "2")
        monkeypatch.setattr(cloud, "_connections", {})
        yield stub


@pytest.fixture
def start(worker: Callable[..., Program]) -> Callable[[], Program]:
    """Give what starts a worker with beat."""
    return lambda: worker(options=["--beat"])


def drill(steps: Steps, ttl: timedelta = TTL, **choices: object) -> Restore:
    """Submit a drill; ids of projects are of no matter here."""
    bank = choices.pop("bank", None) or steps.write(GRAPH)
    return restore.submit("latest", bank=bank, cloud="target", ttl=ttl, allow_projects=[""], **choices)  # type: ignore[arg-type]


def reach(submitted: Restore, state: RestoreState) -> None:
    wait_until(lambda: submitted.status.state is state, f"{state}, not {submitted.status}", SECONDS)


def named(submitted: Restore) -> list[str]:
    return [each.name for each in restore.get(submitted.id).watch() if each is not None and each.index is None]


def test_a_drill_is_deleted_after_its_time_and_the_living_one_is_not(
    steps: Steps, site: StubIdentity, start, cli
) -> None:
    bank = steps.write(GRAPH, {0: {"ends": "streams", "chunks": 3}})
    start()
    living = restore.submit("latest", bank=bank, cloud="target", allow_projects=[""])
    reach(living, RestoreState.COMPLETE)
    submitted = drill(steps, bank=bank)
    reach(submitted, RestoreState.DESTROYED)
    events = {each.name: each for each in restore.get(submitted.id).watch() if each is not None}
    assert events["destroying"].time - events["complete"].time >= TTL
    assert events["destroying"].details["reason"] == "the time of the drill is over"
    assert living.status.state is RestoreState.COMPLETE
    assert site.heat is not None
    assert [each.name for each in site.heat.stacks if not each.deleted] == [f"restore-{living.id}"]
    reported(cli, submitted, (events["complete"].time - submitted.status.created).total_seconds())


def reported(cli, submitted: Restore, seconds: float) -> None:
    """See that the report tells what was measured, though all is deleted."""
    measured = json.loads(cli("report", submitted.id, "-f", "json").stdout)
    assert measured["seconds"] == pytest.approx(seconds, abs=0.01)
    assert (measured["state"], measured["ttl"], measured["bytes"]) == ("destroyed", TTL.seconds, 15)
    assert [each["bytes"] for each in measured["resources"]] == [15, None]
    assert measured["critical_path"] == ["s0", "s1"]
    phases = [each["state"] for each in measured["phases"]]
    assert phases == ["pending", "checking", "restoring", "assembling", "creating", "destroying", "discarding"]
    text = cli("report", submitted.id).stdout
    assert f"Recovery: {measured['seconds']:.1f} s from its submission to its end" in text
    assert "Resources (2, 15 bytes from the bank), the slowest first:" in text
    assert "Each of these had to wait for the one before:" in text


def test_the_worker_that_destroys_it_is_killed(steps: Steps, site: StubIdentity, start) -> None:
    assert site.heat is not None
    site.heat.deletes = 4.0
    first = start()
    submitted = drill(steps)
    reach(submitted, RestoreState.DESTROYING)
    first.kill()
    start()
    reach(submitted, RestoreState.DESTROYED)
    assert named(submitted).count("destroying") == 1


def test_its_time_passes_while_no_worker_is_there(steps: Steps, site: StubIdentity, start) -> None:
    assert site.heat is not None
    first = start()
    submitted = drill(steps)
    reach(submitted, RestoreState.COMPLETE)
    first.kill()
    wait_until(lambda: time.time() > submitted.status.updated.timestamp() + TTL.seconds, "its time is over")
    assert submitted.status.state is RestoreState.COMPLETE
    # Two that look at the same time.
    start()
    start()
    reach(submitted, RestoreState.DESTROYED)
    assert named(submitted).count("destroying") == 1


def test_one_that_heat_does_not_delete_is_deleted_again(steps: Steps, site: StubIdentity, start) -> None:
    assert site.heat is not None
    site.heat.fails = 1
    start()
    submitted = drill(steps)
    reach(submitted, RestoreState.DESTROYED)
    assert named(submitted).count("destroying") == 2
    assert "failed" in named(submitted)


def test_one_that_fails_is_deleted_too_and_may_be_resumed_before(
    steps: Steps, site: StubIdentity, start, obstacle: Path
) -> None:
    assert site.heat is not None
    bank = steps.write(GRAPH, {1: {"ends": "failed", "obstacle": str(obstacle)}})
    start()
    # A plan fails where a worker does.
    submitted = drill(steps, timedelta(minutes=5), bank=bank, check=False)
    reach(submitted, RestoreState.FAILED)
    assert submitted.status.deleted_at == submitted.status.updated + timedelta(minutes=5)
    obstacle.unlink()
    submitted.resume()
    reach(submitted, RestoreState.COMPLETE)
    with pytest.raises(RestoreError, match="it is a drill"):
        submitted.forget()
    # By hand, before its time.
    submitted.destroy()
    reach(submitted, RestoreState.DESTROYED)


@pytest.mark.usefixtures("site")
def test_types_that_cannot_be_kept_apart_are_refused(steps: Steps, cli) -> None:
    bank = steps.write(GRAPH, {1: {"type": BRITTLE}})
    with pytest.raises(RefusedError) as refused:
        drill(steps, bank=bank)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{BRITTLE}: its plugin cannot keep a copy apart from what lives")
    planned = cli("plan", "latest", "--bank", str(bank), "--isolated")
    assert (planned.returncode, problem in planned.stdout) == (1, True)
    assert restore.plan("latest", bank=bank, isolated=True, resources=[TYPE]).problems == ()
    assert restore.list_restores() == []


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"ttl": timedelta(0)}, "1 second to 7 days"),
        ({"ttl": timedelta(days=8)}, "1 second to 7 days"),
        ({"ttl": timedelta(hours=1), "create_stack": False}, "name one, or set OS_CLOUD"),
        ({"ttl": timedelta(hours=1), "cloud": ""}, "name one, or set OS_CLOUD"),
    ],
)
def test_what_makes_no_drill_is_refused(steps: Steps, choices: dict[str, object], told: str) -> None:
    with pytest.raises(RestoreError, match=told):
        restore.submit("latest", bank=steps.write(GRAPH), **{"cloud": "target", **choices})  # type: ignore[arg-type]


@pytest.mark.usefixtures("site")
def test_a_drill_that_would_be_forgotten_before_its_end_is_refused(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_KEEP_DAYS", "1")
    with pytest.raises(RestoreError, match="RESTORE_KEEP_DAYS is 1"):
        drill(steps, timedelta(days=1))


@pytest.mark.usefixtures("site")
def test_a_drill_on_the_command_line(steps: Steps, cli) -> None:
    arguments = ("drill", "latest", "--bank", str(steps.write(GRAPH)), "--cloud", "target", "--allow-project", "")
    made = cli(*arguments, "--ttl", "90m")
    assert made.returncode == 0, made.stderr
    restore_id = made.stdout.strip()
    assert restore.get(restore_id).status.ttl == 5400
    shown = cli("show", restore_id, "-c", "drill", "-f", "value")
    assert shown.stdout.strip() == "{'ttl_seconds': 5400, 'deleted_at': None}"
    assert "drill, deleted 1:30:00 after its end" in cli("list").stdout
    for text in ("90", "0m", "2w", "-1h", "1.5h"):
        refused = cli(*arguments, f"--ttl={text}")
        assert (refused.returncode, f"{text!r} is no time such as 90m, 2h or 1d" in refused.stderr) == (2, True)
