"""Whose checkpoint may be restored to which project: what submit refuses, and what it lets through for workers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from restore_worker import cloud, preflight, restore, worker
from restore_worker.bank import open_bank
from restore_worker.errors import CloudError, CloudUnavailableError, NotOwnedError, RefusedError
from restore_worker.sitemap import ProjectSection, SiteMap
from restore_worker.states import RestoreState
from restore_worker.submitted import caller_ledger
from tests.support import banks, nodes
from tests.support.banks import BankCheckpoint
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import new_restore
from tests.support.stub_identity import PROJECT, StubIdentity, stub_identity, write_clouds

OURS, THEIRS = PROJECT, "f" * 32
ID = BankCheckpoint.__dataclass_fields__["id"].default
pytestmark = pytest.mark.usefixtures("redis_url")


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, StubIdentity]]:
    """Have a target of our project, and a source of theirs."""
    with stub_identity() as target, stub_identity() as source:
        source.project = THEIRS
        clouds = write_clouds(tmp_path / "clouds.yaml", target=target.entry(), source=source.entry())
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        monkeypatch.setattr(cloud, "_connections", {})
        yield {"target": target, "source": source}


@pytest.fixture
def bank(tmp_path: Path):
    """Give what writes a bank with a checkpoint of a project."""

    def write(project: str) -> Path:
        node = nodes.project(project or "none")
        banks.write(BankCheckpoint(nodes=(node,), project_id=project), tmp_path / "bank" / "karbor")
        return tmp_path / "bank"

    return write


def refused(bank: Path, **choices: object) -> str:
    with pytest.raises(NotOwnedError) as refusal:
        restore.submit("latest", bank=bank, cloud="target", **choices)  # type: ignore[arg-type]  # as a test gives them
    assert restore.list_restores() == []
    return str(refusal.value)


def dashed(project: str) -> str:
    return "-".join((project[:8], project[8:12], project[12:16], project[16:20], project[20:])).upper()


@pytest.mark.parametrize("form", [str, dashed], ids=["keystone", "uuid"])
def test_a_checkpoint_of_the_targets_project_needs_nothing(sites, bank, form) -> None:
    made = restore.submit("latest", bank=bank(form(OURS)), cloud="target")
    assert made.status.identity.startswith(f"project {OURS} of ")
    assert made.status.allow_projects == ()


def test_one_of_another_project_is_refused_with_the_ways_out(sites, bank) -> None:
    told = refused(bank(THEIRS))
    assert told == (
        f"checkpoint {ID} is of project {THEIRS}, but cloud target is project {OURS}: submit it to a cloud in "
        "clouds.yaml that is the checkpoint's project, prove access to that project with --source-cloud NAME (a cloud "
        f"in clouds.yaml that logs in to it), or say with --allow-project {THEIRS} that it may be restored there"
    )


def test_a_plan_tells_of_it_unless_it_may_be_restored(sites, bank) -> None:
    theirs = bank(THEIRS)

    def told(**choices: object) -> list[tuple[str, str, str]]:
        found = restore.plan("latest", bank=theirs, cloud="target", **choices).findings  # type: ignore[arg-type]  # as a test gives them
        return [(each.severity, each.found, each.mend) for each in found if each.field == "project_id"]

    [(severity, found, mend)] = told()
    assert severity == "warning"
    assert found == f"checkpoint {ID} is of project {THEIRS}, but cloud target is project {OURS}"
    assert f"--allow-project {THEIRS}" in mend
    assert told(source_cloud="source") == []
    assert told(site_map=SiteMap(project=ProjectSection(map={THEIRS: OURS}))) == []


@pytest.mark.parametrize("form", [str, dashed], ids=["keystone", "uuid"])
def test_who_logs_in_to_its_project_may(sites, bank, form) -> None:
    made = restore.submit("latest", bank=bank(form(THEIRS)), cloud="target", source_cloud="source")
    assert made.status.allow_projects == (THEIRS,)


def test_a_login_to_a_third_project_is_no_proof(sites, bank) -> None:
    sites["source"].project = "e" * 32
    told = refused(bank(THEIRS), source_cloud="source")
    assert f"is of project {THEIRS}, but source cloud source is project {'e' * 32} of http" in told


def test_a_source_that_is_away_or_unknown_proves_nothing(sites, bank, tmp_path, monkeypatch) -> None:
    away = sites["source"].entry(auth={"auth_url": "http://127.0.0.1:1/v3"})
    clouds = write_clouds(tmp_path / "others.yaml", target=sites["target"].entry(), source=away)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    monkeypatch.setattr("restore_worker.session._PATIENCE", 0.1)
    folder = bank(THEIRS)
    with pytest.raises(CloudUnavailableError, match="cloud source does not answer"):
        restore.submit("latest", bank=folder, cloud="target", source_cloud="source")
    with pytest.raises(CloudError, match=r"no cloud 'tarmac', it names source, target"):
        restore.submit("latest", bank=folder, cloud="target", source_cloud="tarmac")
    assert restore.list_restores() == []


@pytest.mark.parametrize("allowed", [[THEIRS], ["e" * 32, dashed(THEIRS)], THEIRS], ids=str)
def test_what_the_operator_allows_may(sites, bank, allowed) -> None:
    folder = bank(THEIRS)
    assert "--allow-project" in refused(folder, allow_projects=["e" * 32])
    assert restore.submit("latest", bank=folder, cloud="target", allow_projects=allowed).status.allow_projects


@pytest.mark.parametrize("form", [str, dashed], ids=["keystone", "uuid"])
def test_a_site_map_allows_one_project_for_one_project_of_the_target(sites, bank, tmp_path, form) -> None:
    folder, file = bank(THEIRS), tmp_path / "site.yaml"
    file.write_text(f"project: {{map: {{{form(THEIRS)}: {form(OURS)}}}}}\n")
    elsewhere = SiteMap(project=ProjectSection(map={THEIRS: "e" * 32, "e" * 32: OURS}))
    assert "--allow-project" in refused(folder, site_map=elsewhere)
    made = restore.submit("latest", bank=folder, cloud="target", site_map=file)
    assert made.status.allow_projects == (form(THEIRS),)


def test_one_that_names_no_project_is_nobodys(sites, bank) -> None:
    folder = bank("")
    told = refused(folder)
    assert "is of no project (index.json names none), but cloud target is" in told
    assert "--allow-project ''" in told
    restore.submit("latest", bank=folder, cloud="target", allow_projects=[""])


def test_a_rendering_is_nobodys_either(sites, bank) -> None:
    assert restore.submit("latest", bank=bank(THEIRS)).status.allow_projects is None


def test_on_the_command_line(sites, bank, cli) -> None:
    arguments = ("submit", "latest", "--bank", str(bank(THEIRS)), "--cloud", "target")
    done = cli(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"--allow-project {THEIRS} that it may be restored there\n" in done.stderr
    allowed = cli(*arguments, "--allow-project", "e" * 32, "--allow-project", THEIRS)
    assert allowed.returncode == 0, allowed.stderr
    proven = cli(*arguments, "--source-cloud", "source", "--force")
    assert proven.returncode == 0, proven.stderr


# In the worker


def test_what_was_allowed_travels_when_the_target_is_away(sites, bank, tmp_path, monkeypatch) -> None:
    """Nobody could compare at submit: the worker does."""
    folder = bank(THEIRS)
    away = write_clouds(
        tmp_path / "away.yaml",
        target=sites["target"].entry(auth={"auth_url": "http://127.0.0.1:1/v3"}),
        source=sites["source"].entry(),
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(away))
    monkeypatch.setattr("restore_worker.session._PATIENCE", 0.1)
    unproven = restore.submit("latest", bank=folder, cloud="target")
    proven = restore.submit("latest", bank=folder, cloud="target", source_cloud="source", force=True)
    assert (unproven.status.identity, unproven.status.allow_projects) == ("", ())
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setattr(cloud, "_connections", {})
    ledger = caller_ledger()
    preflight.check(ledger, proven.status)
    with pytest.raises(RefusedError, match=f"is of project {THEIRS}, but cloud target is project {OURS}"):
        preflight.check(ledger, unproven.status)
    # It is known now, and still refused.
    with pytest.raises(RefusedError, match=f"--allow-project {THEIRS}"):
        preflight.check(ledger, unproven.status)


def test_a_restore_that_an_earlier_version_submitted_goes_on(sites, bank, monkeypatch) -> None:
    folder = bank(THEIRS)
    digest = hashlib.sha256(next(folder.rglob("index.json")).read_bytes()).hexdigest()
    ledger = LedgerTwin(lambda: 1_800_000_000.0)
    new = new_restore([()], cloud="target", identity="", wants_stack=False, digest=digest, checkpoint=ID)
    project = replace(new.nodes[0], type="OS::Keystone::Project")
    ledger.record(replace(new, nodes=[project], work=["{}"]))
    ledger.move(new.id, RestoreState.PENDING, RestoreState.CHECKING)
    monkeypatch.setattr(worker, "bank_of", lambda _: open_bank(str(folder)))
    preflight.check(ledger, ledger.get(new.id))  # type: ignore[arg-type]  # the twin has the same doors
