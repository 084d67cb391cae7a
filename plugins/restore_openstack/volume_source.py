"""Whether the target has what a volume is made of, and where the bytes are else."""

from __future__ import annotations

from restore_openstack import backup_record, cinder
from restore_openstack.volume_definition import VolumeWork
from restore_worker.plugin import Report, Target

# What else leads to the bytes, but to leave the volume out.
_AGAIN = "protect the volume again so that its bytes are in the bank"
_MEND = {
    "backup": "restore to the cloud and project that made it, or, if the target's Cinder reaches the same store, "
    f"give its record ({backup_record.EXPORT} {{}}, while that cloud lives) in backup_record or the site map, or "
    f"{_AGAIN}",
    "snapshot": f"restore to the cloud and project that made it, which it never leaves, or {_AGAIN}",
}


def check_backup(work: VolumeWork, backup_id: str, target: Target, report: Report) -> int | None:
    """Tell unless a volume can be made of the backup, and return the volume's size, None if it is not known."""
    from openstack.utils import supports_microversion

    proxy = target.connection().block_storage
    if work.direct and not target.look(
        cinder.FROM_BACKUP, lambda: supports_microversion(proxy, cinder.FROM_BACKUP)
    ):
        report.problem(
            "backup_id",
            f"Cinder of the target has no API {cinder.FROM_BACKUP} (Queens), which makes volumes of another size, "
            "type or zone, or to boot from, of a backup",
            "leave the volume out",
        )
    backup = backup_record.backups(target).get(backup_id)
    if backup is None and work.records:
        size = backup_record.check(work.records, target, report)
    else:
        # While it is restored elsewhere it has a status of its own.
        _check_status("backup", backup_id, backup.status if backup else None, ("available", "restoring"), report)
        size = backup.size if backup else 0
    if work.size and work.size < size:
        report.problem("restore_size", f"the backup has {size} GiB", f"{work.size} GiB are too few")
    return work.size or size or None


def check_snapshot(work: VolumeWork, snapshot_id: str, target: Target, report: Report) -> int | None:
    """Do the same for a snapshot."""
    proxy = target.connection().block_storage
    known = target.look("snapshots", lambda: {each.id: each for each in proxy.snapshots()})
    snapshot = known.get(snapshot_id)
    _check_status("snapshot", snapshot_id, snapshot.status if snapshot else None, ("available",), report)
    return work.size or (snapshot.size if snapshot else None)


def _check_status(noun: str, source_id: str, status: str | None, usable: tuple[str, ...], report: Report) -> None:
    if status is None:
        report.problem(
            f"{noun}_id",
            f"the project sees no {noun} {source_id} on the target, which has the bytes",
            f"{_MEND[noun].format(source_id)}, or leave the volume out",
        )
    elif status not in usable:
        report.problem(
            f"{noun}_id", f"{noun} {source_id} of the target is in status {status!r}", "it must be available"
        )
