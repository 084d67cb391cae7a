"""The same graph and the same plugin calls in TaskFlow's parallel engine, with which Karbor restored."""

from __future__ import annotations

import functools
import time
import warnings
from pathlib import Path

from restore_worker.bank import Bank, open_bank
from restore_worker.context import RestoreContext
from restore_worker.hot import assemble
from restore_worker.plan import PlannedResource, make_plan
from restore_worker.registry import installed
from restore_worker.template import Fragment, HeatTemplate

with warnings.catch_warnings():
    # It brings eventlet, which says of itself that it is deprecated.
    warnings.simplefilter("ignore")
    from taskflow import engines
    from taskflow.patterns import graph_flow
    from taskflow.task import FunctorTask


def run(bank: Path, concurrency: int) -> float:
    """Return the seconds from the flow to the template, with a pool of so many threads."""
    plan = make_plan(open_bank(str(bank)), "latest")
    fragments: dict[str, Fragment] = {}
    start = time.perf_counter()
    tasks = [
        FunctorTask(
            functools.partial(_restore, plan.bank, plan.checkpoint.id, planned, fragments), name=str(place)
        )
        for place, planned in enumerate(plan.resources)
    ]
    flow = graph_flow.Flow("restore").add(*tasks)
    for task, planned in zip(tasks, plan.resources, strict=True):
        for child in planned.children:
            flow.link(tasks[child], task)
    engines.run(flow, engine="parallel", executor="threaded", max_workers=concurrency)
    assemble(fragments, plan.description)
    return time.perf_counter() - start


def _restore(bank: Bank, checkpoint_id: str, planned: PlannedResource, fragments: dict[str, Fragment]) -> None:
    plugin = installed().get(planned.resource.type)
    assert plugin is not None
    template = HeatTemplate(fragments.get)
    context = RestoreContext("taskflow", checkpoint_id, planned.resource, bank, planned.data)
    plugin.restore(planned.resource, planned.work, template, context)
    fragments.update(template.fragments)
