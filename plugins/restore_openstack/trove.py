"""What the target's Trove has of what a database instance is made of; openstacksdk knows none of it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, Field

from restore_openstack.database_definition import DatabaseWork
from restore_openstack.lookups import has_service, named, offer, or_none, require
from restore_worker.plugin import Report, Target

Answer = TypeVar("Answer", bound=BaseModel)


class _Named(BaseModel):
    id: str
    name: str


class _Backup(BaseModel):
    """A backup; size: of the data, GiB."""

    status: str
    size: float | None


class _BackupAnswer(BaseModel):
    backup: _Backup


class _Datastore(_Named):
    versions: list[_Named]


class _DatastoresAnswer(BaseModel):
    datastores: list[_Datastore]


class _Flavor(BaseModel):
    """A flavor; what Trove calls ``id`` is null unless it is a number."""

    id: str = Field(alias="str_id")
    name: str


class _FlavorsAnswer(BaseModel):
    flavors: list[_Flavor]


def check(work: DatabaseWork, target: Target, report: Report) -> None:
    """Tell unless there is a Trove with backup, datastore, version and flavor."""
    if not has_service("database", target):
        report.problem(
            "backup_id",
            "the target has no Trove, which would hold the backup",
            "restore to the cloud that made it, or leave the instance out",
        )
        return
    _check_backup(work, target, report)
    _check_flavor(work.flavor, _check_datastore(work, target, report), target, report)


def _check_backup(work: DatabaseWork, target: Target, report: Report) -> None:
    backup_id = work.backup_id
    answer = target.look(
        f"database backup {backup_id}",
        lambda: or_none(lambda: _get(target, f"/backups/{backup_id}", _BackupAnswer)),
    )
    if answer is None:
        report.problem(
            "backup_id",
            f"the project sees no database backup {backup_id} on the target, which has the bytes",
            "restore to the cloud and project that made it, or leave the instance out",
        )
        return
    # Trove restores those of either status.
    if answer.backup.status not in ("COMPLETED", "RESTORED"):
        report.problem(
            "backup_id",
            f"database backup {backup_id} of the target is in status {answer.backup.status!r}",
            "it must be COMPLETED",
        )
    size = answer.backup.size
    if size is not None and work.size < size:
        report.problem("restore_size", f"the backup has {size} GiB", f"{work.size} GiB are too few")


def _check_datastore(work: DatabaseWork, target: Target, report: Report) -> str:
    """Return where Trove lists the flavors that the version of the datastore may have."""
    any_flavor = "/flavors"
    stores = target.look("datastores", lambda: _get(target, "/datastores", _DatastoresAnswer)).datastores
    store = next(iter(named(work.datastore, stores)), None)
    if store is None:
        there = ", ".join(sorted(each.name for each in stores)) or "none"
        report.problem(
            "datastore.type",
            f"Trove of the target has no datastore {work.datastore!r}, only {there}",
            "have an admin add it, or leave the instance out",
        )
        return any_flavor
    if work.datastore_version is None:
        return any_flavor
    choices = (each.name for each in store.versions)
    mend = offer("restore_datastore_version", choices, f"openstack datastore version list {store.name}")
    version = require(
        work.datastore_version, store.versions, f"version of {store.name}", mend, "datastore.version", report
    )
    return f"/datastores/{store.id}/versions/{version.id}/flavors" if version else any_flavor


def _check_flavor(flavor: str, path: str, target: Target, report: Report) -> None:
    flavors = target.look(f"Trove's {path}", lambda: _get(target, path, _FlavorsAnswer)).flavors
    mend = offer("restore_flavor_id", (each.name for each in flavors), "openstack database flavor list")
    require(flavor, flavors, "flavor for databases", mend, "flavor", report)


def _get(target: Target, path: str, model: type[Answer]) -> Answer:
    from openstack.exceptions import raise_from_response

    response = target.connection().database.get(path)
    raise_from_response(response)
    return model.model_validate_json(response.content)
