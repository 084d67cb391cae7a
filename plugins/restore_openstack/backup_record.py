"""Records of Cinder backups: with them another cloud has the backups, too, if its Cinder reaches the same store.

What Cinder exports is Base64 of a JSON object with all that its data base knows of the backup: no bytes, no key,
no login. The Cinder that imports it has a backup of the same id, in the project of the user who does so.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from restore_openstack.fields import Id
from restore_openstack.lookups import or_none
from restore_worker.errors import CloudError
from restore_worker.plugin import Context, Definition, Report, Selection, StillBuilding, Target

if TYPE_CHECKING:
    from openstack.block_storage.v3.backup import Backup
    from openstack.connection import Connection
    from requests import Response

EXPORT = "openstack volume backup record export"
# The user is no admin, the backup is not there, or not ready.
_NOTHING_TO_SAY = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)


class BackupRecord(Definition):
    """What a record says of its backup.

    service: the driver of Cinder that made it; the target's must be the same.
    size: GiB.
    parent_id: of the backup that an incremental one builds on.
    encryption_key_id: of the key to its bytes, in the key manager of the cloud that made it.
    """

    id: Id
    service: str
    size: int
    parent_id: Id | None = None
    encryption_key_id: str | None = None


class _Url(BaseModel):
    backup_url: str


class _Exported(BaseModel):
    record: _Url = Field(alias="backup-record")


def parse(url: str) -> BackupRecord:
    """Return what the record says; ValueError if it is none."""
    return BackupRecord.model_validate_json(b64decode(url, validate=True))


def _checked(text: str) -> str:
    for url in text.split(","):
        try:
            parse(url.strip())
        except ValueError:
            raise PydanticCustomError(
                "record",
                "'{start}' is no record of a Cinder backup: give what `{export} BACKUP` tells as backup_url",
                {"start": f"{url.strip()[:20]}...", "export": EXPORT},
            ) from None
    return text


# Separated by commas, which Base64 has not.
Records = Annotated[str, AfterValidator(_checked)]


def needed(backup_id: str | None, given: str | None, selection: Selection, report: Report) -> tuple[str, ...]:
    """Return the records of a backup, in case that the target lacks it: its own, and before it what it builds on.

    given: the parameter, which goes before the site map, and that before the cloud that made the backup.
    """
    known = {parse(url).id: url for url in map(str.strip, (given or "").split(",")) if url}
    found: list[str] = []
    wanted = backup_id
    while wanted and wanted not in [parse(url).id for url in found]:
        url = known.get(wanted) or _of_map(wanted, selection, report) or _of_source(wanted, selection)
        if selection.target is not None and wanted not in backups(selection.target):
            selection.note_backup(wanted, url)
        if url is None:
            break
        found.insert(0, url)
        wanted = parse(url).parent_id
    _tell([parse(url) for url in found], report)
    return tuple(found)


def _tell(records: Sequence[BackupRecord], report: Report) -> None:
    if records:
        report.finding(
            "backup_id",
            "its record is imported if the target lacks the backup, and stays there: who deletes that backup, in "
            "either cloud, deletes the bytes of both",
        )
    keys = sorted({each.encryption_key_id for each in records if each.encryption_key_id})
    if keys:
        report.finding(
            "backup_record",
            f"the volume was encrypted: the target's key manager must have the keys {', '.join(keys)}, too",
        )


def _of_map(backup_id: str, selection: Selection, report: Report) -> str | None:
    url = selection.site_map.source.backups.get(backup_id)
    try:
        if url is None or parse(url).id == backup_id:
            return url
        reason = f"it is the record of backup {parse(url).id}"
    except ValueError:
        reason = "it is no record of a Cinder backup"
    place = selection.site_map.place(("source", "backups", backup_id))
    report.problem("backup_id", f"{place}: {reason}", f"give what `{EXPORT} {backup_id}` tells as backup_url")
    return None


def _of_source(backup_id: str, selection: Selection) -> str | None:
    source, target = selection.source, selection.target
    # One Cinder has a backup only once, in whichever project.
    if source is None or target is None or _place(source) == _place(target) or backup_id in backups(target):
        return None
    return source.look(f"record of backup {backup_id}", lambda: _export(source.connection(), backup_id))


def _place(cloud: Target) -> str:
    endpoint = cloud.look("place of Cinder", lambda: str(cloud.connection().block_storage.get_endpoint()))
    return urlsplit(endpoint).netloc


def _export(connection: Connection, backup_id: str) -> str | None:
    from openstack.exceptions import raise_from_response

    response = connection.block_storage.get(f"/backups/{backup_id}/export_record")
    # Nobody need be an admin there who restores otherwise.
    if response.status_code in _NOTHING_TO_SAY:
        return None
    raise_from_response(response)
    return _Exported.model_validate_json(response.content).record.backup_url


def backups(target: Target) -> Mapping[str, Backup]:
    """Return the backups that the project sees, by id."""
    # Its types have a proxy of version 2 among them.
    cinder: Any = target.connection().block_storage
    # One by one it would take as many requests as there are volumes.
    return target.look("backups", lambda: {each.id: each for each in cinder.backups()})


def check(urls: Sequence[str], target: Target, report: Report) -> int:
    """Tell what keeps the target from importing what it lacks, claim the room, and return the volume's size."""
    connection, known = target.connection(), backups(target)
    records = [parse(url) for url in urls]
    if (parent := records[0].parent_id) and parent not in known:
        report.problem(
            "backup_record",
            f"backup {records[0].id} builds on backup {parent}, which the target lacks",
            f"give that one's record, too ({EXPORT} {parent})",
        )
    lacking = [url for url, record in zip(urls, records, strict=True) if record.id not in known]
    for url in lacking:
        record = parse(url)
        target.claim("volume", "backups", 1, once=f"backup {record.id}")
        target.claim("volume", "backup_gigabytes", record.size, once=f"backup {record.id}")
    if lacking and not target.look("import of backups", lambda: _importable(connection)):
        commands = " && ".join(_command(connection.current_project_id, url) for url in lacking)
        report.problem(
            "backup_record",
            "Cinder of the target lets only admins import records of backups",
            f"have one run `{commands}`",
        )
    return records[-1].size


def have(context: Context, urls: Iterable[str]) -> None:
    """Return once Cinder of the target has the backups; what it lacks is imported, and stays.

    Raises StillBuilding until then, CloudError if Cinder could not import one, and openstacksdk's errors.
    """
    from openstack.exceptions import raise_from_response

    connection = context.connection()
    for url in urls:
        record = parse(url)
        backup = or_none(partial(connection.block_storage.get_backup, record.id))
        if backup is None:
            # Of two imports at once, Cinder may take one back when the other fails.
            context.check_ours()
            raise_from_response(_import(connection, record.service, url))
            raise StillBuilding(f"the record of backup {record.id} is imported", after=1)
        if backup.status == "creating":
            raise StillBuilding(f"the record of backup {record.id} is being imported", after=1)
        if backup.status == "error":
            raise CloudError(
                f"Cinder could not import the record of backup {record.id}: {backup.fail_reason}; once that is "
                f"mended, delete what there is of it (openstack volume backup delete {record.id}), and resume"
            )


def _importable(connection: Connection) -> bool:
    # Cinder looks first who asks, then for an id in the record, which this one lacks: nothing is imported.
    return _import(connection, "any", b64encode(b"{}").decode()).status_code != HTTPStatus.FORBIDDEN


def _import(connection: Connection, service: str, url: str) -> Response:
    # openstacksdk's Backup.import_record() asks for the export.
    body = {"backup-record": {"backup_service": service, "backup_url": url}}
    return connection.block_storage.post("/backups/import_record", json=body)


def _command(project_id: str | None, url: str) -> str:
    # `openstack volume backup record import` asks for the export, too, with openstacksdk 4.22.
    return f"cinder --os-project-id {project_id or 'PROJECT'} backup-import {parse(url).service} {url}"
