"""`restore-worker checkpoint list` and `show`, as a person types them."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
import yaml

from tests.support import banks, nodes
from tests.support.sample_banks import BANKS, SAMPLES, WEBAPP

JUNE = "11111111-0000-4000-8000-000000000006"
JULY = "11111111-0000-4000-8000-000000000007"
AUGUST = "11111111-0000-4000-8000-000000000008"


def write(bank, checkpoint_id, month, *, indices=True, **fields):
    created = datetime(2020, month, 1, 12, tzinfo=UTC)
    checkpoint = banks.BankCheckpoint(
        nodes=(nodes.volume("a-volume", "web\x1b[2J\ndata"),), id=checkpoint_id, created=created, **fields
    )
    banks.write(checkpoint, bank, indices=indices)


@pytest.fixture
def bank(tmp_path):
    """Give a bank of three checkpoints: two of the plan `nightly`, one of `weekly` that failed."""
    write(tmp_path / "karbor", JULY, 7, plan_id="plan-2", plan_name="weekly", status="error")
    write(tmp_path / "karbor", AUGUST, 8)
    write(tmp_path / "karbor", JUNE, 6)
    return tmp_path


@pytest.fixture
def ids(cli, bank):
    """Give a function that lists the ids of the bank's checkpoints."""

    def call(*options):
        done = cli("checkpoint", "list", "--bank", str(bank), "-f", "value", "-c", "ID", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return call


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], [AUGUST, JULY, JUNE]),
        (["--plan", "nightly"], [AUGUST, JUNE]),
        (["--plan", "plan-2"], [JULY]),
        (["--status", "available"], [AUGUST, JUNE]),
        (["--since", "2020-07-01T12:00"], [AUGUST, JULY]),
        (["--until", "2020-07-01"], [JULY, JUNE]),
        (["--since", "2020-06-02", "--until", "2020-07-31", "--plan", "nightly"], []),
    ],
)
def test_the_list_is_newest_first_and_of_what_was_asked_for(ids, options, found):
    assert ids(*options) == found


def test_the_list_has_plan_status_and_time(cli, bank):
    done = cli("checkpoint", "list", "--bank", str(bank), "-f", "json")
    assert json.loads(done.stdout)[1] == {
        "ID": JULY,
        "Plan": "weekly",
        "Status": "error",
        "Created": "2020-07-01T12:00:00Z",
    }
    assert yaml.safe_load(cli("checkpoint", "list", "--bank", str(bank), "-f", "yaml").stdout) == json.loads(
        done.stdout
    )


def test_where_the_indices_are_wrong_is_told_beside_the_list(cli, bank):
    unlisted = "11111111-0000-4000-8000-000000000009"
    write(bank / "karbor", unlisted, 9, indices=False)
    done = cli("checkpoint", "list", "--bank", str(bank), "-f", "value", "-c", "ID")
    assert done.returncode == 0
    assert done.stdout.split() == [unlisted, AUGUST, JULY, JUNE]
    assert unlisted in done.stderr


def test_a_time_that_is_none_is_wrong_usage(cli, bank):
    done = cli("checkpoint", "list", "--bank", str(bank), "--since", "yesterday")
    assert done.returncode == 2
    assert "'yesterday' is not a time: write 2020-03-05" in done.stderr


def test_the_environment_names_the_bank(cli, bank):
    assert JUNE in cli("checkpoint", "list", env={"RESTORE_BANK": str(bank)}).stdout


def test_without_a_bank_it_says_how_to_name_one(cli):
    done = cli("checkpoint", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "RESTORE_BANK" in done.stderr


def test_every_checkpoint_of_the_sample_banks_is_listed(cli):
    for bank in BANKS:
        done = cli("checkpoint", "list", "--bank", str(bank), "-f", "value", "-c", "ID", "-c", "Status")
        listed = [line.split() for line in done.stdout.splitlines()]
        expected = {sample.checkpoint: sample.expected["status"] for sample in SAMPLES if sample.bank == bank}
        assert dict(listed) == expected


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_sample_banks_show_what_they_hold(cli, sample):
    done = cli("checkpoint", "show", sample.checkpoint, "--bank", str(sample.bank), "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["id"] == sample.checkpoint
    assert {
        "nodes": len(shown["resources"]),
        "edges": sum(len(each["depends_on"]) for each in shown["resources"]),
        "roots": len(shown["roots"]),
        "types": Counter(each["type"] for each in shown["resources"]),
        "status": shown["status"],
    } == {name: sample.expected[name] for name in ("nodes", "edges", "roots", "types", "status")}


def test_people_see_names_where_programs_see_keys(cli):
    done = cli("checkpoint", "show", "latest:webapp-nightly", "--bank", str(WEBAPP))
    assert (
        "OS::Nova::Server db-1 (ece5fddb-6613-43aa-a105-110eadaa6681) needs OS::Cinder::Volume db-boot, "
        in done.stdout
    )
    assert "webapp-nightly (01019336-fa5a-4a50-8fd5-7be882c04611)" in done.stdout


def test_a_checkpoint_that_cannot_be_restored_can_be_shown(cli, bank):
    done = cli("checkpoint", "show", JULY, "--bank", str(bank), "-c", "status", "-f", "value")
    assert (done.returncode, done.stdout) == (0, "error\n")


def test_a_name_does_not_steer_the_terminal(cli, bank):
    done = cli("checkpoint", "show", JUNE, "--bank", str(bank))
    assert r"OS::Cinder::Volume web\x1b[2J\ndata (a-volume)" in done.stdout
    as_it_is = cli("checkpoint", "show", JUNE, "--bank", str(bank), "-f", "json", "-c", "resources")
    assert json.loads(as_it_is.stdout)["resources"][0]["name"] == "web\x1b[2J\ndata"


def test_an_unknown_checkpoint_is_answered_with_those_there_are(cli, bank):
    done = cli("checkpoint", "show", "latest:hourly", "--bank", str(bank))
    assert (done.returncode, done.stdout) == (1, "")
    assert AUGUST in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_column_is_wrong_usage(cli, bank):
    done = cli("checkpoint", "list", "--bank", str(bank), "-c", "ID", "-c", "Size")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no 'Size', only ID, Plan, Status, Created" in done.stderr
