"""Stacks that their user has Heat manage: they come back as stacks of their own, with what was saved in them.

Heat can neither fill a volume that it has made nor take one in without building it anew at the next update. So a
stack is made of its source template in three steps: its volumes alone, with nothing in the place of all that would
use them; then Cinder fills these; then the stack is updated to the whole of the template.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

from restore_openstack import backup_record, managed_stack, stack_volumes
from restore_openstack.disks import IMAGE
from restore_openstack.lookups import require
from restore_openstack.managed_stack import STACK
from restore_openstack.naming import name_of
from restore_openstack.source_template import VOLUME, SourceTemplate, TemplateError, read_template
from restore_openstack.stack_definition import (
    Filled,
    SavedVolume,
    StackDefinition,
    StackParameters,
    StackWork,
)
from restore_worker.errors import CloudError
from restore_worker.plugin import Context, Produces, Report, RestorePlugin, Selection, Target
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import HeatParameter, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection


class StackPlugin(RestorePlugin[StackDefinition, StackParameters, StackWork]):
    """Has Heat build the stack, and Cinder fill its volumes."""

    resource_type = STACK
    Definition = StackDefinition
    Parameters = StackParameters
    Work = StackWork
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        ("volumes", "a volume of which nothing was saved comes back empty, as the template makes it"),
        ("hidden", "values of hidden parameters are not in the bank: the template's default is used"),
        ("physical_resource_id", "everything in the stack has a new id, addresses may be others"),
        ("updates", "what was changed beside Heat, or is still to be signalled, is as the template says"),
    )

    def implied_dependencies(self, resource: Resource, selection: Selection) -> Iterable[ResourceKey]:
        """Return the images that its volumes are filled with."""
        definition: StackDefinition | None = selection.definition(resource.key)
        wanted = {each.image_id for each in definition.volumes} if definition else set()
        return [image.key for image in selection.find(IMAGE) if image.id in wanted]

    def prepare(
        self,
        resource: Resource,
        definition: StackDefinition,
        parameters: StackParameters,
        selection: Selection,
        report: Report,
    ) -> StackWork:
        """Read the template, map what its parameters name, and find out what each volume is filled with."""
        template, nested = _templates(definition, report)
        templates = [template, *nested]
        held = {image.id for image in selection.find(IMAGE) if selection.chosen(image.key)}
        values, images = _values(resource, definition, template, held, selection)
        _tell_hidden(definition, template, report)
        volumes = tuple(_filled(each, held, parameters, selection, report) for each in definition.volumes)
        return StackWork(
            name=name_of(resource, selection, report),
            template=definition.template,
            files={name: text for name, text in definition.files.items() if _refers(definition, name)},
            registry=_used(
                definition.environment.resource_registry, {kind for each in templates for kind in each.types}
            ),
            defaults=_used(
                definition.environment.parameter_defaults,
                {name for each in templates for name in each.parameters or {}},
            ),
            values=values,
            kinds={name: kind for name, kind in template.kinds().items() if name in values and kind in _LISTS},
            images=images,
            stand_ins=_stand_ins(templates, definition) if volumes else (),
            tags=tuple(definition.tags),
            timeout_mins=definition.timeout_mins,
            volumes=volumes,
        )

    def produces(self, work: StackWork) -> Produces:
        """Say that it is a stack of its own, made before that of the restore."""
        return Produces.PARAMETER

    def check(self, resource: Resource, work: StackWork, target: Target, report: Report) -> None:
        """Look for the backups, for all that parameters name, and whether the stack's name is free."""
        for each in work.volumes:
            if each.backup_id and each.backup_id not in backup_record.backups(target):
                _check_records(each, target, report)
        for name, kind in work.kinds.items():
            if name not in work.images:
                _check_value(name, kind, str(work.values[name]), target, report)
        there = managed_stack.look(target.connection(), work.name)
        # For a moment, one that is just deleted still has its name.
        if there is not None and there.status != "DELETE_COMPLETE":
            report.problem("name", f"the target has a stack {work.name!r}", "give another one in restore_name")

    def restore(self, resource: Resource, work: StackWork, template: HeatTemplate, context: Context) -> None:
        """Build it, and put its id."""
        stack_id = None if context.rendering else _build(resource, work, template, context)
        parameter = HeatParameter(
            stack_id, STACK, description=f"Id of a stack made of the template of {resource}", title=work.name
        )
        template.put_parameter(resource.id, parameter)

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Delete the stack with all that is in it."""
        managed_stack.delete(context, resource.id, made)


def _templates(definition: StackDefinition, report: Report) -> tuple[SourceTemplate, list[SourceTemplate]]:
    """Return the template and those nested in it; what is none is told."""
    try:
        template = read_template(definition.template)
    except TemplateError as error:
        report.problem("metadata.template", str(error), "protect the stack again, or leave it out")
        return SourceTemplate(heat_template_version=None), []
    nested = []
    for name, text in definition.files.items():
        # Other files, such as scripts, are none.
        if name.endswith((".yaml", ".yml", ".template")):
            try:
                nested.append(read_template(text))
            except TemplateError as error:
                report.finding(f"metadata.files.{name}", f"it is no template: {error}")
    return template, nested


def _refers(definition: StackDefinition, file: str) -> bool:
    """Say whether the template, or another file, has the file's name in it."""
    others = (text for name, text in definition.files.items() if name != file)
    registry = definition.environment.resource_registry.values()
    return any(file in text for text in (definition.template, *others, *filter(_is_text, registry)))


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _used(values: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """Return those of the values whose names somebody uses: of others nobody knows what they are."""
    return {name: value for name, value in values.items() if name in names}


def _values(
    resource: Resource,
    definition: StackDefinition,
    template: SourceTemplate,
    held: set[str],
    selection: Selection,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters' values as the target calls things, and which of them are images of the checkpoint."""
    values, images = _used(definition.parameters, template.parameters or {}), []
    kinds = template.kinds()
    for name, value in list(values.items()):
        kind = kinds.get(name)
        if not isinstance(value, str) or kind is None:
            continue
        if kind == "image" and value in held:
            images.append(name)
        elif mapped := selection.mapped(kind, value, resource, f"parameters.{name}"):
            values[name] = mapped.value
    return values, tuple(images)


def _tell_hidden(definition: StackDefinition, template: SourceTemplate, report: Report) -> None:
    needed = template.without_default - definition.parameters.keys()
    for name in definition.hidden:
        if name in needed:
            report.problem(
                f"parameters.{name}",
                "its value is hidden, so it is not in the bank, and the template has no default for it",
                "give it a default there and protect the stack again, or leave the stack out",
            )
        else:
            report.finding(
                f"parameters.{name}", "its value is hidden, so it is not in the bank: the default is used"
            )


def _filled(
    saved: SavedVolume, held: set[str], parameters: StackParameters, selection: Selection, report: Report
) -> Filled:
    field = f"metadata.volumes.{saved.path}"
    if (saved.backup_id is None) == (saved.image_id is None):
        report.problem(field, "it must have either a backup_id or an image_id", "protect the stack again")
    elif saved.image_id and saved.image_id not in held:
        report.problem(field, f"the checkpoint has no image {saved.image_id}", "protect the stack again")
    records = backup_record.needed(saved.backup_id, parameters.backup_record, selection, report)
    return Filled(path=saved.path, backup_id=saved.backup_id, image_id=saved.image_id, records=records)


def _stand_ins(templates: list[SourceTemplate], definition: StackDefinition) -> tuple[str, ...]:
    """Return the types that nothing is put in the place of until the volumes are filled."""
    registry = definition.environment.resource_registry
    used = set().union(*(each.types for each in templates))
    kept = set().union({VOLUME}, *(each.of_volumes() for each in templates))
    # Of nested stacks the volumes are wanted, too.
    nested = {name for name in used if name in definition.files or isinstance(registry.get(name), str)}
    return tuple(sorted(used - kept - nested - _GROUPS))


# Where the target tells of what parameters name.
_LISTS: Mapping[str, tuple[str, str, str]] = {
    "flavor": ("compute", "flavors", "flavor"),
    "image": ("image", "images", "image"),
    "key_pair": ("compute", "keypairs", "key pair"),
    "network": ("network", "networks", "network"),
    "subnet": ("network", "subnets", "subnet"),
    "volume_type": ("block_storage", "types", "volume type"),
}
# What holds other resources, of any type.
_GROUPS = frozenset({"OS::Heat::ResourceGroup", "OS::Heat::ResourceChain", "OS::Heat::InstanceGroup"})


def _check_value(name: str, kind: str, value: str, target: Target, report: Report) -> None:
    """Tell unless the target has what a parameter names."""
    service, things, noun = _LISTS[kind]

    def ask() -> list[Any]:
        return list(getattr(getattr(target.connection(), service), things)())

    mend = f"map {kind} {value!r} in the site map"
    require(value, target.look(f"{service} {things} for stacks", ask), noun, mend, f"parameters.{name}", report)


def _check_records(filled: Filled, target: Target, report: Report) -> None:
    if filled.records:
        backup_record.check(filled.records, target, report)
    else:
        report.problem(
            f"volumes.{filled.path}",
            f"the project sees no backup {filled.backup_id} on the target, which has the bytes",
            f"restore to the cloud and project that made it, or give its record ({backup_record.EXPORT} "
            f"{filled.backup_id}, while that cloud lives) in backup_record or the site map",
        )


def _build(resource: Resource, work: StackWork, template: HeatTemplate, context: Context) -> str | None:
    connection = context.connection()
    images = {each.path: template.get_physical_id(each.image_id) for each in work.volumes if each.image_id}
    values = work.values | {name: template.get_physical_id(str(work.values[name])) for name in work.images}
    stack_id = context.once(
        "stack",
        lambda: managed_stack.create(context, resource.id, work, values),
        lambda: managed_stack.find(context, resource.id),
    )
    if stack_id is None:
        return None
    stack = managed_stack.built(context, stack_id)
    if stack.status == "CREATE_FAILED":
        raise managed_stack.give_up(context, stack)
    if stack.status == "CREATE_COMPLETE":
        _fill(connection, stack, work, context, images)
    if not work.stand_ins:
        return stack_id
    context.once(
        "whole stack",
        lambda: managed_stack.complete(context, stack_id, work, values),
        lambda: managed_stack.completed(context, stack_id),
    )
    stack = managed_stack.built(context, stack_id)
    if stack.status == "UPDATE_FAILED":
        context.gone("whole stack")
        raise CloudError(
            f"Heat could not build all of stack {stack.name}: {managed_stack.failure(connection, stack)}; "
            "resume goes on with what is there"
        )
    return stack_id


def _fill(
    connection: Connection,
    stack: managed_stack.Stack,
    work: StackWork,
    context: Context,
    images: Mapping[str, str],
) -> None:
    if work.volumes:
        stack_volumes.fill(context, work, managed_stack.parts(connection, stack), images)
