"""The checks before a restore: all that is wrong is told at once, and who may be wrong himself does not decide."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from restore_worker import cloud, preflight, worker
from restore_worker.entries import AttemptLimits
from restore_worker.errors import CloudError, OtherCloudError, RefusedError
from restore_worker.states import RestoreState
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import new_restore

INDEX = b"the index"


class _Work(BaseModel):
    index: int


class Plugin:
    """Tells what the test wants to hear."""

    Work = _Work

    def __init__(self, tell):
        self.tell = tell

    def data(self, _work):
        return None

    def check(self, _resource, work, target, report):
        self.tell(work.index, target, report)


class Checked:
    """A restore of so many resources, its bank, and what was asked."""

    def __init__(self, monkeypatch, size: int = 3) -> None:
        self.ledger = LedgerTwin(lambda: 1_800_000_000.0)
        digest = hashlib.sha256(INDEX).hexdigest()
        new = replace(new_restore([[]] * size, "restore-1"), digest=digest, wants_stack=False)
        self.ledger.record(new)
        self.ledger.move("restore-1", RestoreState.PENDING, RestoreState.CHECKING)
        self.index = INDEX
        self.asked: list[int] = []
        self.tell = lambda *_: None
        plugin = Plugin(self._tell)
        bank = SimpleNamespace(read=lambda _: SimpleNamespace(data=self.index))
        monkeypatch.setattr(worker, "bank_of", lambda _: bank)
        monkeypatch.setattr(worker, "name", lambda: "worker 7 on host")
        monkeypatch.setattr(preflight, "installed", lambda: {"Type::0": plugin, "Type::1": plugin})
        monkeypatch.setattr(preflight, "same_cloud", lambda *_: None)
        monkeypatch.setattr(cloud, "check_credentials", lambda _: None)

    def _tell(self, index, target, report):
        self.asked.append(index)
        self.tell(index, target, report)

    def check(self) -> None:
        preflight.check(self.ledger, self.ledger.get("restore-1"))

    def refusal(self) -> RefusedError:
        with pytest.raises(RefusedError) as refused:
            self.check()
        return refused.value


@pytest.fixture
def checked(monkeypatch):
    return Checked(monkeypatch)


def test_a_bank_that_is_another_than_the_submitters_is_refused_before_anything_is_asked(checked):
    checked.index = b"another index"
    assert str(checked.refusal()) == (
        "the bank file:///bank, as this worker (worker 7 on host) sees it, has another "
        "checkpoints/checkpoint-1/index.json than the submitter saw: give both the same bank"
    )
    assert checked.asked == []


def test_a_worker_that_means_another_cloud_leaves_it_to_others(checked, monkeypatch):
    def differs(name, identity):
        raise OtherCloudError

    monkeypatch.setattr(preflight, "same_cloud", differs)
    with pytest.raises(OtherCloudError):
        checked.check()
    assert checked.asked == []


def test_credentials_that_are_no_good_for_stacks_are_refused_before_resources_are_checked(checked, monkeypatch):
    def refuse(name):
        raise CloudError(f"cloud {name}: restricted")

    monkeypatch.setattr(cloud, "check_credentials", refuse)
    assert str(checked.refusal()) == "cloud target: restricted"
    assert checked.asked == []


def test_everything_is_told_at_once_and_what_are_too_many_words_is_counted(monkeypatch):
    checked = Checked(monkeypatch, size=60)
    checked.tell = lambda index, _, report: report.problem("flavor", f"no flavor {index}", "make one")
    refused = checked.refusal()
    assert len(refused.problems) == 60
    lines = str(refused).splitlines()
    assert "id-0" in lines[0]
    assert "no flavor 0" in lines[0]
    assert (len(lines), lines[-1]) == (51, "  and 10 more")


def test_what_keeps_all_resources_from_being_checked_is_told_once(checked):
    def absent(index, target, report):
        raise CloudError("there is no Cinder")

    checked.tell = absent
    assert checked.refusal().problems == ("there is no Cinder",)
    assert checked.asked == [0, 1, 2]


def test_a_question_is_asked_once_for_all_resources_and_findings_are_kept(checked):
    questions = []

    def ask():
        questions.append("flavors")
        return {"m1.tiny"}

    def tell(index, target, report):
        assert target.look("flavors", ask) == {"m1.tiny"}
        report.finding("zone", f"finding {index}")

    checked.tell = tell
    checked.check()
    assert questions == ["flavors"]
    assert all(f"finding {index}" in checked.ledger.findings("restore-1") for index in range(3))


def test_what_is_restored_already_is_not_checked_again(checked):
    checked.ledger.begin("restore-1")
    claim = checked.ledger.claim("restore-1", 1, "token", lease=60, limits=AttemptLimits(3), worker="w")
    assert claim.node.index == 1
    checked.ledger.settle("restore-1", 1, "token", preflight.ResourceState.DONE, "", {})
    checked.check()
    assert checked.asked == [0, 2]
