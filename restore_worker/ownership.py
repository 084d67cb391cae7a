"""Who may restore a checkpoint: whoever restores into its project, logs in to that, or says that it may be."""

from __future__ import annotations

from collections.abc import Iterable

from restore_worker import cloud
from restore_worker.checkpoint import Checkpoint
from restore_worker.errors import NotOwnedError
from restore_worker.sitemap import SiteMap


def proven(checkpoint: Checkpoint, source_cloud: str) -> str:
    """Return the checkpoint's project, to which the cloud of that name in clouds.yaml logs in.

    Raises NotOwnedError if that is another one, or as `cloud.identity` does.
    """
    found = cloud.identity(source_cloud)
    if _plain(found.project_id) != _plain(checkpoint.project_id):
        raise NotOwnedError(
            f"checkpoint {checkpoint.id} is of {_named(checkpoint)}, but source cloud {source_cloud} is {found}: "
            "name a cloud in clouds.yaml that logs in to the checkpoint's project"
        )
    return found.project_id


def check_owner(checkpoint: Checkpoint, target: str, project_id: str, allowed: Iterable[str]) -> None:
    """Return if the checkpoint is of the target's project, or of one of those that are allowed.

    target: its name in clouds.yaml; project_id: which project that is.
    Raises NotOwnedError that names both projects, and what can be done.
    """
    if _plain(checkpoint.project_id) not in {_plain(each) for each in (project_id, *allowed)}:
        raise NotOwnedError(
            f"checkpoint {checkpoint.id} is of {_named(checkpoint)}, but cloud {target} is project {project_id}: "
            "submit it to a cloud in clouds.yaml that is the checkpoint's project, prove access to that project "
            "with --source-cloud NAME (a cloud in clouds.yaml that logs in to it), or say with "
            f"--allow-project {checkpoint.project_id or repr('')} that it may be restored there"
        )


def allowed_by(site_map: SiteMap, project_id: str) -> list[str]:
    """Return the projects whose checkpoints the site map wants in this project of the target."""
    return [old for old, new in site_map.project.map.items() if _plain(new) == _plain(project_id)]


def _plain(project_id: str) -> str:
    """Return a project's id as Keystone writes it: others write it as a UUID, with dashes."""
    return project_id.replace("-", "").lower()


def _named(checkpoint: Checkpoint) -> str:
    return f"project {checkpoint.project_id}" if checkpoint.project_id else "no project (index.json names none)"
