"""A rendering in this process: what workers would make of a plan for a restore without a cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from restore_worker.bank import Bank
from restore_worker.context import RestoreContext
from restore_worker.cut import Limits
from restore_worker.errors import RestoreError, TemplateError
from restore_worker.hot import Hot, assemble
from restore_worker.plan import Finding, Plan, Severity
from restore_worker.plugin import BankData
from restore_worker.registry import Registry, installed
from restore_worker.resource import Resource
from restore_worker.template import Fragment, HeatTemplate

# A resource, what its plugin prepared, and its bytes in the bank if it has any.
Step = tuple[Resource, BaseModel, BankData | None]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a plan comes to.

    hots: the template, or several where one stack would be too large; none if there are problems, or nothing for
        Heat to build.
    fragments: what the templates are made of, by original id.
    """

    plan: Plan
    hots: tuple[Hot, ...]
    findings: tuple[Finding, ...]
    problems: tuple[Finding, ...]
    fragments: Mapping[str, Fragment] = field(default_factory=dict)


def render(
    plan: Plan, *, verify: bool = True, registry: Registry | None = None, limits: Limits | None = None
) -> Rendering:
    """Run every plugin's restore(), children first, with nothing to build on.

    verify: read all image and volume bytes in the bank, and compare their checksums.
    limits: of one stack; None for one template, however large.
    """
    if plan.problems:
        return Rendering(plan, (), plan.findings, plan.problems)
    steps = ((each.resource, each.work, each.data) for each in plan.resources)
    fragments, problems = render_fragments(
        plan.bank, plan.checkpoint.id, steps, verify=verify, registry=registry or installed()
    )
    if problems:
        return Rendering(plan, (), plan.findings, tuple(problems))
    return Rendering(plan, assemble(fragments, plan.description, limits), plan.findings, (), fragments)


def render_fragments(
    bank: Bank, checkpoint_id: str, steps: Iterable[Step], *, verify: bool, registry: Registry
) -> tuple[dict[str, Fragment], list[Finding]]:
    """Return what the plugins put by original id, and what keeps them from it; nothing is built.

    steps: every child before its parents.
    """
    fragments: dict[str, Fragment] = {}
    owners: dict[str, Resource] = {}
    problems: list[Finding] = []
    for resource, work, data in steps:
        template = HeatTemplate(fragments.get)
        context = RestoreContext("", checkpoint_id, resource, bank, data)
        try:
            if verify:
                context.verify_data()
            registry[resource.type].restore(resource, work, template, context)
            _own(resource, template, owners)
        except RestoreError as error:
            problems.append(_broken(resource, str(error)))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            problems.append(_broken(resource, f"its plugin broke: {error!r}"))
        fragments.update(template.fragments)
    return fragments, problems


def _broken(resource: Resource, found: str) -> Finding:
    return Finding(Severity.ERROR, *resource.key, resource.name, "", found)


def _own(resource: Resource, template: HeatTemplate, owners: dict[str, Resource]) -> None:
    for original_id in template.fragments:
        other = owners.setdefault(original_id, resource)
        if other is not resource:
            raise TemplateError(f"{original_id} was put into the template already, by {other}")
