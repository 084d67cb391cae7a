"""Plugins for notes: good ones, and others of which each breaks the contract in one way."""

# ruff: noqa: ARG002 - the contract gives the methods their arguments

from __future__ import annotations

import uuid
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from restore_worker.errors import CloudError
from restore_worker.plugin import Definition, Parameters, Produces, RestorePlugin
from restore_worker.template import HeatParameter, HeatResource


class Note(Definition):
    text: str


class NoteParameters(Parameters):
    restore_text: str | None = None


class NoteWork(BaseModel):
    text: str


class NotePlugin(RestorePlugin[Note, NoteParameters, NoteWork]):
    """A good one, and the base of the others."""

    resource_type = "Test::Note"
    Definition = Note
    Parameters = NoteParameters
    Work = NoteWork

    def prepare(self, resource, definition, parameters, selection, report):
        return self.Work(text=parameters.restore_text or definition.text)

    def produces(self, work):
        return Produces.RESOURCE

    def restore(self, resource, work, template, context):
        template.put_resource(resource.id, HeatResource("OS::Heat::Value", {"value": work.text}))


class LooksBeforeItDiscards(NotePlugin):
    def discard(self, resource, made, context):
        cloud = context.connection()
        found = [image.id for image in cloud.image.images(tag=context.restore_id)]
        server = cloud.compute.find_server(f"{context.restore_id}-{resource.id}")
        for image_id in [*found, *made.values()]:
            cloud.image.delete_image(image_id)
        if server is not None:
            cloud.compute.delete_server(server)


class ChecksWell(NotePlugin):
    def check(self, resource, work, target, report):
        cloud = target.connection()
        flavors = target.look("flavors", lambda: list(cloud.compute.flavors()))
        if not flavors and not cloud.image.get("/info/usage").ok:
            raise CloudError("there is nothing at all")


class Composite(NotePlugin):
    def restore(self, resource, work, template, context):
        template.put_resource("part", HeatResource("OS::Heat::Value", {"value": work.text}))


class LooseDefinition(NotePlugin):
    class Definition(BaseModel):
        text: str


class NeedyParameters(NotePlugin):
    class Parameters(Parameters):
        restore_text: str


class LenientParameters(NotePlugin):
    class Parameters(NoteParameters):
        model_config = ConfigDict(extra="allow")


class RandomWork(NotePlugin):
    def prepare(self, resource, definition, parameters, selection, report):
        return NoteWork(text=uuid.uuid4().hex)


class RandomFinding(NotePlugin):
    def prepare(self, resource, definition, parameters, selection, report):
        report.finding("text", uuid.uuid4().hex)
        return NoteWork(text=definition.text)


class OtherWork(NotePlugin):
    def prepare(self, resource, definition, parameters, selection, report):
        return definition


class LossyWork(NotePlugin):
    class Work(BaseModel):
        text: str = Field("", exclude=True)


class RandomFragment(NotePlugin):
    def restore(self, resource, work, template, context):
        template.put_resource(resource.id, HeatResource("OS::Heat::Value", {"value": uuid.uuid4().hex}))


class GrowingFragments(NotePlugin):
    calls = 0

    def restore(self, resource, work, template, context):
        self.calls += 1
        for number in range(self.calls):
            template.put_resource(f"{resource.id}{number or ''}", HeatResource("OS::Heat::Value", {}))


class SaysParameter(NotePlugin):
    def produces(self, work):
        return Produces.PARAMETER


class SaysNothing(NotePlugin):
    def produces(self, work):
        return Produces.NOTHING


class PutsParameter(NotePlugin):
    def restore(self, resource, work, template, context):
        template.put_parameter(resource.id, HeatParameter(None, "OS::Heat::Value"))


class PutsNothing(NotePlugin):
    def restore(self, resource, work, template, context):
        pass


class BreaksInValidator(NotePlugin):
    class Definition(Definition):
        text: Annotated[str, BeforeValidator(lambda text: text.strip())]


class KeepsAllThereIs(NotePlugin):
    class Definition(Note):
        model_config = ConfigDict(extra="allow")

    class Work(NoteWork):
        rest: dict[str, Any]

    def prepare(self, resource, definition, parameters, selection, report):
        return self.Work(text=definition.text, rest=definition.model_extra)


class NullableNote(Definition):
    text: str | None = None


class BreaksInPrepare(NotePlugin):
    Definition = NullableNote

    def prepare(self, resource, definition, parameters, selection, report):
        return NoteWork(text=definition.text.upper())


class BreaksInImplied(NotePlugin):
    Definition = NullableNote

    def implied_dependencies(self, resource, selection):
        return selection.definition(resource.key).text.split()[1:]


class BreaksInRestore(NotePlugin):
    Definition = NullableNote

    class Work(BaseModel):
        text: str | None

    def restore(self, resource, work, template, context):
        super().restore(resource, NoteWork(text=work.text.upper()), template, context)


class DeletesWhatIsNot(NotePlugin):
    def discard(self, resource, made, context):
        context.connection().image.delete_image(made.get("image"), ignore_missing=True)


class ExpectsWhatIsNot(NotePlugin):
    def discard(self, resource, made, context):
        context.connection().image.delete_image(made["image"])


class BuildsToDiscard(NotePlugin):
    def discard(self, resource, made, context):
        context.once("image", lambda: "image-1", lambda: None)


class ChecksByTrying(NotePlugin):
    def check(self, resource, work, target, report):
        target.look("room", lambda: target.connection().image.post("/images", json={"name": work.text}))


class ExpectsWhatItChecks(NotePlugin):
    def check(self, resource, work, target, report):
        flavor = target.connection().compute.find_flavor(work.text)
        report.problem("flavor", f"flavor {flavor.id} is too small", "take another")
