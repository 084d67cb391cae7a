"""What is too large for one stack becomes several, and all that can be asked of a restore holds for all of them."""

from __future__ import annotations

import re

import pytest

from restore_worker.states import RestoreState
from tests.cloud import removal
from tests.cloud.restoring import reach
from tests.cloud.small import PARAMETERS

# Heat's limits are lowered for all.
pytestmark = pytest.mark.disturbs

MOST = {"max_resources_per_stack": 8}


def test_as_many_stacks_are_made_as_the_tenant_may_have_and_the_rest_later_and_all_are_let_go(
    worker, restoring, demo, cloud, cli, tmp_path
) -> None:
    small = restoring.small(servers=4)
    bank = restoring.bank(small)
    given = [f"--parameter={of}.{name}={value}" for of, each in PARAMETERS.items() for name, value in each.items()]
    existing = len(list(demo.orchestration.stacks()))
    with cloud.configured("heat", {"DEFAULT": {**MOST, "max_stacks_per_tenant": existing + 1}}):
        worker(options=["--beat"])
        folder = tmp_path / "templates"
        words = ("plan", small.checkpoint.id, f"--bank={bank}", "--cloud=demo", f"--output={folder}", *given)
        shown = cli(*words, seconds=120).stdout
        told = re.search(r"Too large for one stack: cut into (\d):", shown)
        assert told
        count = int(told[1])
        names = [f"stack-{number}.yaml" for number in range(1, count + 1)]
        assert {*names, "README.md"} <= {each.name for each in folder.iterdir()}
        submitted = restoring.restore(small.checkpoint.id, bank=bank, parameters=PARAMETERS)
        reach(submitted, RestoreState.FAILED, 300)
        assert "maximum stacks per tenant" in submitted.status.reason
    with cloud.configured("heat", {"DEFAULT": MOST}):
        submitted.resume()
        reach(submitted, RestoreState.COMPLETE, 300)
        assert len(submitted.status.cut) == count > 1
        assert {each.status for each in submitted.stacks.values()} <= {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
        servers = {each.id for each in submitted.belongings if each.type == "OS::Nova::Server"}
        assert len(servers) == 4
        submitted.forget()
        reach(submitted, RestoreState.FORGOTTEN, 300)
    assert [restoring.stack(submitted, number) for number in range(1, count + 1)] == [None] * count
    assert {demo.compute.get_server(each).status for each in servers} == {"ACTIVE"}
    removal.remove(demo, small.checkpoint.plan_name)
