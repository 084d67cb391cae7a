"""Building on a cloud: a connection to the one that the restore means, and the record of what was made."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restore_worker import cloud, worker
from restore_worker.errors import OtherCloudError

if TYPE_CHECKING:
    from openstack.connection import Connection


def same_cloud(name: str, identity: str) -> None:
    """Return if this worker's clouds.yaml means by ``name`` the cloud that the restore is for.

    identity: as the restore's record has it.
    Raises OtherCloudError if it is another one, CloudError if it is none or cannot be asked.
    """
    with cloud.translated(name):
        here = str(cloud.identity(name))
    if here != identity:
        raise OtherCloudError(
            f"cloud {name} of this worker ({worker.name()}) is {here}, but the restore is for {identity}: "
            "correct the worker's clouds.yaml, or stop the worker"
        )


@dataclass(frozen=True, slots=True)
class Builder:
    """What one attempt at a resource builds with (`restore_worker.context.Building`).

    token: of the lease.
    """

    restore_id: str
    index: int
    token: str
    cloud: str
    identity: str

    def connection(self) -> Connection:
        """Return the connection to the target; raises as `same_cloud` does."""
        same_cloud(self.cloud, self.identity)
        return cloud.connect(self.cloud)

    def made(self, key: str) -> str | None:
        """Return the physical id that was noted under ``key``, None if there is none."""
        with self.undisturbed():
            return worker.current_ledger().made(self.restore_id, self.index, key)

    def note_made(self, key: str, physical_id: str) -> None:
        """Note what was made; StaleLeaseError if the resource is not ours."""
        with self.undisturbed():
            worker.current_ledger().note_made(self.restore_id, self.index, self.token, key, physical_id)

    def note_late(self, key: str, physical_id: str) -> None:
        """Note what was made although the resource is not ours any more."""
        with self.undisturbed():
            worker.current_ledger().note_late(self.restore_id, self.index, key, physical_id)

    def note_moved(self, size: int) -> None:
        """Tell how many bytes were read so far; StaleLeaseError if the resource is not ours."""
        with self.undisturbed():
            worker.current_ledger().note_moved(self.restore_id, self.index, self.token, size)

    def note_read(self, size: int) -> None:
        """Note how many bytes all of the resource's data are."""
        with self.undisturbed():
            worker.current_ledger().note_read(self.restore_id, self.index, self.token, size)

    def note_gone(self, key: str) -> None:
        """Note that it is deleted; StaleLeaseError if the resource is not ours."""
        with self.undisturbed():
            worker.current_ledger().note_gone(self.restore_id, self.index, self.token, key)

    def undisturbed(self) -> AbstractContextManager[None]:
        """Let the block come to its end before this worker does; raises Stopped where the worker is to end."""
        return worker.attempts().undisturbed()

    def go_on(self) -> None:
        """Return unless this worker is to end; then raise Stopped."""
        worker.attempts().go_on()
