"""Projects only group what belongs to them: nothing is restored for the node itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from restore_worker.plugin import Context, NoParameters, Produces, Report, RestorePlugin, Selection
from restore_worker.resource import Resource
from restore_worker.template import HeatTemplate


class ProjectWork(BaseModel):
    """Nothing to do."""


class ProjectPlugin(RestorePlugin[Any, NoParameters, ProjectWork]):
    """Lets a project stand for all that it groups."""

    resource_type = "OS::Keystone::Project"
    Definition = None
    Work = ProjectWork
    isolates = True

    def prepare(
        self,
        resource: Resource,
        definition: None,
        parameters: NoParameters,
        selection: Selection,
        report: Report,
    ) -> ProjectWork:
        """Return nothing to do."""
        return ProjectWork()

    def produces(self, work: ProjectWork) -> Produces:
        """Nothing comes back."""
        return Produces.NOTHING

    def restore(self, resource: Resource, work: ProjectWork, template: HeatTemplate, context: Context) -> None:
        """Put nothing."""
