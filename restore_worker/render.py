"""A rendering in this process: what workers would make of a plan for a restore without a cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from restore_worker.context import RestoreContext
from restore_worker.errors import RestoreError, TemplateError
from restore_worker.plan import Finding, Plan, Problem
from restore_worker.registry import Registry, installed
from restore_worker.resource import Resource
from restore_worker.template import Fragment, HeatTemplate, Hot, assemble

# Heat's defaults for max_resources_per_stack and max_template_size; a target may be configured otherwise.
_MOST_RESOURCES = 1000
_MOST_BYTES = 524288


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a plan comes to.

    hot: None if there are problems, or nothing for Heat to build.
    """

    plan: Plan
    hot: Hot | None
    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]


def render(plan: Plan, *, verify: bool = True, registry: Registry | None = None) -> Rendering:
    """Run every plugin's restore(), children first, with nothing to build on.

    verify: read all image and volume bytes in the bank, and compare their checksums.
    """
    if plan.problems:
        return Rendering(plan, None, plan.findings, plan.problems)
    registry = registry or installed()
    fragments: dict[str, Fragment] = {}
    owners: dict[str, Resource] = {}
    problems: list[Problem] = []
    for planned in plan.resources:
        resource = planned.resource
        template = HeatTemplate(fragments.get)
        context = RestoreContext("", plan.checkpoint.id, resource, plan.bank, planned.data)
        plugin = registry[resource.type]
        try:
            if verify:
                context.verify_data()
            plugin.restore(resource, planned.work, template, context)
            _own(resource, template, owners)
        except RestoreError as error:
            problems.append(Problem(*resource.key, resource.name, "", str(error)))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            problems.append(Problem(*resource.key, resource.name, "", f"its plugin broke: {error!r}"))
        fragments.update(template.fragments)
    if problems:
        return Rendering(plan, None, plan.findings, tuple(problems))
    hot = assemble(fragments, plan.description)
    return Rendering(plan, hot, (*plan.findings, *_limits(hot)), ())


def _own(resource: Resource, template: HeatTemplate, owners: dict[str, Resource]) -> None:
    for original_id in template.fragments:
        other = owners.setdefault(original_id, resource)
        if other is not resource:
            raise TemplateError(f"{original_id} was put into the template already, by {other}")


def _limits(hot: Hot | None) -> Iterable[Finding]:
    size = len(hot.text.encode()) if hot else 0
    if hot and (hot.resources > _MOST_RESOURCES or size > _MOST_BYTES):
        reason = (
            f"{hot.resources} resources in {size} bytes: unless its limits are raised, Heat takes "
            f"{_MOST_RESOURCES} (max_resources_per_stack) and {_MOST_BYTES} (max_template_size)"
        )
        yield Finding("OS::Heat::Stack", "", "", "template", reason)
