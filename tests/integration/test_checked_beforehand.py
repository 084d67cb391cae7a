"""What the caller sees of the target before anything is written: everything at once, by its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from restore_worker import cloud, restore
from restore_worker.errors import CloudError, RefusedError
from restore_worker.ledger_reader import keys_of
from restore_worker.plan import Finding, Severity
from restore_worker.states import RestoreState
from tests.support.steps import TYPE, Steps
from tests.support.stub_identity import Answer, StubIdentity, stub_identity, write_clouds

LACKING = {0: {"lacks": "moon"}, 1: {"tells": "its sun is green"}, 2: {"lacks": "star"}}
MOON = Finding(Severity.ERROR, TYPE, "s0", "step 0", "thing", "the target has no moon", "make a moon")
STAR = Finding(Severity.ERROR, TYPE, "s2", "step 2", "thing", "the target has no star", "make a star")
GREEN = Finding(Severity.WARNING, TYPE, "s1", "step 1", "thing", "its sun is green")


@pytest.fixture
def site(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubIdentity]:
    """Have a cloud to log in to, under the name target."""
    with stub_identity() as stub:
        clouds = write_clouds(tmp_path / "clouds.yaml", target=stub.entry())
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        monkeypatch.setattr(cloud, "_connections", {})
        yield stub


@pytest.fixture
def bank(steps: Steps) -> Path:
    """Give a bank with a checkpoint that the target lacks something for."""
    return steps.write([[], [], [0]], LACKING)


@pytest.mark.usefixtures("site")
def test_a_plan_lists_all_that_the_target_lacks(bank: Path) -> None:
    rendering = restore.plan("latest", bank=bank, cloud="target")
    assert rendering.problems == (MOON, STAR)
    assert rendering.findings == (GREEN,)
    assert restore.plan("latest", bank=bank).problems == ()


@pytest.mark.usefixtures("site")
def test_the_command_line_tells_programs_the_fields_and_people_a_sentence(bank: Path, cli) -> None:
    words = ("plan", "latest", "--bank", str(bank), "--cloud", "target")
    told = cli(*words, "-f", "json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["problems"] == [MOON._asdict(), STAR._asdict()]
    assert f"{TYPE} 'step 0' (s0), thing: the target has no moon: make a moon" in cli(*words).stdout


def test_submit_refuses_with_all_of_it_and_writes_nothing(site: StubIdentity, bank: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        restore.submit("latest", bank=bank, cloud="target")
    assert refused.value.problems == (str(MOON), str(STAR))
    assert restore.list_restores() == []
    assert site.asked("POST") == ["POST /orchestration/stacks/preview"]


@pytest.mark.usefixtures("site")
def test_unchecked_leaves_it_to_the_workers(bank: Path, cli) -> None:
    assert restore.submit("latest", bank=bank, cloud="target", check=False).status.state is RestoreState.PENDING
    told = cli("submit", "latest", "--bank", str(bank), "--cloud", "target", "--unchecked", "--force")
    assert told.returncode == 0, told.stderr


@pytest.mark.usefixtures("site")
def test_what_is_wrong_with_the_checkpoint_and_the_target_is_told_together(steps: Steps) -> None:
    bank = steps.write([[], []], {0: {"lacks": "moon"}, 1: {"seconds": "long"}})
    with pytest.raises(RefusedError) as refused:
        restore.submit("latest", bank=bank, cloud="target")
    of_bank, of_target = refused.value.problems
    assert "(s1), metadata.seconds: " in of_bank
    assert of_target == str(MOON)


@pytest.mark.usefixtures("site")
def test_what_the_target_tells_is_kept_with_the_restore(steps: Steps, redis_url: str) -> None:
    made = restore.submit("latest", bank=steps.write([[], []], {1: LACKING[1]}), cloud="target")
    assert made.findings == [GREEN]
    # As an earlier version wrote it down.
    record = keys_of(made.id)["record"]
    with redis.Redis.from_url(redis_url) as client:
        client.hset(record, "findings", json.dumps([[TYPE, "s1", "step 1", "thing", "its sun is green"]]))
    assert made.findings == [GREEN]


def test_a_target_that_does_not_answer_is_left_to_the_workers(site: StubIdentity, bank: Path) -> None:
    site.answers["POST /orchestration/stacks/preview"] = [Answer(503)]
    assert restore.submit("latest", bank=bank, cloud="target").status.state is RestoreState.PENDING
    with pytest.raises(CloudError, match="cannot answer now"):
        restore.plan("latest", bank=bank, cloud="target")


@pytest.mark.parametrize(
    ("status", "kind", "words", "field", "mend"),
    [
        (403, "Forbidden", "You are not authorized.", "roles", "have an admin give the user the role"),
        (400, "RequestLimitExceeded", "JSON body size exceeds 1.", "limits", "restore less at a time, or have"),
        (400, "RequestLimitExceeded", "You have reached the maximum stacks per tenant, 1.", "limits", "have the"),
    ],
)
def test_what_keeps_heat_from_taking_any_stack_is_told(
    site: StubIdentity, steps: Steps, status: int, kind: str, words: str, field: str, mend: str
) -> None:
    refusal = {"error": {"type": kind, "message": words}, "code": status}
    site.answers["POST /orchestration/stacks/preview"] = [Answer(status, refusal)]
    [told] = restore.plan("latest", bank=steps.write([[]]), cloud="target").problems
    assert told[:5] == (Severity.ERROR, "OS::Heat::Stack", "", "", field)
    assert words.rstrip(".") in told.found
    assert told.mend.startswith(mend)


def test_what_heat_has_against_a_resource_is_told_of_that_resource(site: StubIdentity, steps: Steps) -> None:
    lacking = {"error": {"type": "UserParameterMissing", "message": "absent"}, "code": 400}
    words = "Property error: : resources.value_s0.properties.value: : It is too long."
    refusal = {"error": {"type": "StackValidationFailed", "message": words}, "code": 400}
    site.answers["POST /orchestration/stacks/preview"] = [
        Answer(400, lacking),
        Answer(400, refusal),
        Answer(body={"stack": {}}),
    ]
    [told] = restore.plan("latest", bank=steps.write([[], []]), cloud="target").problems
    assert told == Finding(Severity.ERROR, "OS::Heat::Value", "s0", "", "value", "Heat refuses it: It is too long")


@pytest.mark.usefixtures("site")
def test_a_key_that_is_given_again_is_not_in_its_own_way(steps: Steps) -> None:
    first = restore.submit("latest", bank=steps.write([[]]), cloud="target", idempotency_key="nightly")
    lacking = steps.write([[]], {0: {"lacks": "moon"}})
    again = restore.submit("latest", bank=lacking, cloud="target", idempotency_key="nightly")
    assert again.id == first.id
