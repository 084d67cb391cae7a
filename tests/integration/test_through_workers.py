"""Whole restores by real worker processes: each resource once, children first, and the template that `plan` makes."""

from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from restore_worker import restore
from restore_worker.errors import RefusedError
from restore_worker.export import write_hots
from restore_worker.states import RestoreState
from tests.support.judge import judge
from tests.support.sample_banks import SAMPLES

# For one restore of 300 resources, on a machine with other work.
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def _two_workers(shared_worker):
    """Run workers of both kinds: one of processes, as it is by default, and one of threads."""
    shared_worker(pool="prefork", concurrency=2)
    shared_worker(pool="threads", concurrency=4)


@st.composite
def graphs(draw):
    """Draw for each resource the indices of what it depends on, all of them smaller than its own."""
    size = draw(st.integers(1, 300))
    # How many it depends on at most, and how far back these are: from a chain over layers to a heap.
    width = draw(st.integers(0, 5))
    reach = draw(st.sampled_from([1, 10, 300]))
    random = draw(st.randoms(use_true_random=False))
    return [
        sorted({random.randrange(max(0, index - reach), index) for _ in range(random.randint(0, width))})
        if index
        else []
        for index in range(size)
    ]


# Shrinking would take hours: each try waits for the whole deadline.
@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(graphs())
def test_any_graph_is_restored_once_children_first(steps, children):
    submitted = steps.submit(children)
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert submitted.templates == restore.plan("latest", bank=submitted.status.bank).hots
    events = list(restore.get(submitted.id).watch())
    happened = Counter(event.name for event in events)
    assert happened == {
        **dict.fromkeys(("pending", "checking", "restoring", "assembling", "complete"), 1),
        **dict.fromkeys(("running", "done"), len(children)),
    }
    assert Counter(steps.calls(submitted.id)) == {f"s{index}": 1 for index in range(len(children))}
    place = {(event.name, event.index): number for number, event in enumerate(events)}
    index_of = {each.node.id: each.node.index for each in submitted.resources}
    for parent, needed in enumerate(children):
        started = place["running", index_of[f"s{parent}"]]
        assert all(place["done", index_of[f"s{child}"]] < started for child in needed)
    assert place["assembling", None] > max(place["done", index] for index in range(len(children)))


def test_what_is_too_large_for_one_stack_is_cut_as_plan_shows_it(steps, monkeypatch, tmp_path):
    monkeypatch.setenv("RESTORE_STACK_RESOURCES", "20")
    file = tmp_path / "templates"
    submitted = steps.submit([[], *([[0]] * 50)])
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    planned = restore.plan("latest", bank=submitted.status.bank).hots
    assert submitted.templates == planned
    assert submitted.status.cut == tuple(hot.waits_for for hot in planned)
    write_hots(submitted.templates, file)
    assert {each.name for each in file.iterdir()} >= {"README.md", "stack-1.yaml", "stack-2.yaml", "stack-3.yaml"}


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_workers_make_the_template_that_plan_makes_of_what_karbor_wrote(sample):
    planned = restore.plan(sample.checkpoint, bank=sample.bank)
    if planned.problems:
        with pytest.raises(RefusedError) as refused:
            restore.submit(sample.checkpoint, bank=sample.bank)
        assert refused.value.problems == tuple(str(each) for each in planned.problems)
        assert all("no plugin restores this type" in each for each in refused.value.problems)
        return
    submitted = restore.submit(sample.checkpoint, bank=sample.bank)
    assert submitted.wait(SECONDS).state is RestoreState.COMPLETE
    assert submitted.templates == planned.hots
    # A volume whose bytes are in the bank is nothing for Heat to build.
    for hot in planned.hots:
        assert len(judge(hot.text)) == hot.resources
