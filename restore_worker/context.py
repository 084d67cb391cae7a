"""What a plugin's ``restore`` may use besides the template: the bank's bytes and, if there is one, the cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from restore_worker.bank import Bank, read_chunks
from restore_worker.errors import CloudError, PluginError, StaleLeaseError
from restore_worker.plugin import BankData
from restore_worker.resource import Resource

if TYPE_CHECKING:
    from openstack.connection import Connection


# How often a long transfer tells how far it is, and hears whether its resource is still its own.
_ASK_AGAIN_SECONDS = 5.0


class Building(Protocol):
    """What it takes to build something directly: a cloud, and a record of what was made."""

    def connection(self) -> Connection:
        """Return the connection to the target."""

    def made(self, key: str) -> str | None:
        """Return the physical id that was noted under ``key``, None if there is none."""

    def note_made(self, key: str, physical_id: str) -> None:
        """Note the physical id before anything else happens; StaleLeaseError if the resource is not ours now.

        physical_id: "" only asks whether it is ours.
        """

    def note_late(self, key: str, physical_id: str) -> None:
        """Note what was made although the resource is not ours any more, beside what its new owner makes."""

    def note_moved(self, size: int) -> None:
        """Tell how many bytes were read so far; StaleLeaseError if the resource is not ours now."""

    def note_read(self, size: int) -> None:
        """Note how many bytes all of the resource's data are."""

    def note_gone(self, key: str) -> None:
        """Note that what was made is deleted; StaleLeaseError as above."""

    def undisturbed(self) -> AbstractContextManager[None]:
        """Let the block come to its end if the worker is to end meanwhile."""

    def go_on(self) -> None:
        """Return unless the worker is to end, which is no Exception."""


@dataclass(frozen=True, slots=True)
class RestoreContext:
    """The context of one resource in one restore.

    data: the resource's bytes in the bank, None if it has none.
    building: None in a rendering.
    """

    restore_id: str
    checkpoint_id: str
    resource: Resource
    bank: Bank
    data: BankData | None
    building: Building | None = None

    @property
    def rendering(self) -> bool:
        """True if nothing is built."""
        return self.building is None

    def connection(self) -> Connection:
        """Return openstacksdk's connection to the target; CloudError in a rendering."""
        if self.building is None:
            raise CloudError("a restore without a cloud builds nothing: there is no connection")
        return self.building.connection()

    def read_data(self) -> Iterator[bytes]:
        """Yield the resource's bytes; DamagedDataError at the end unless they are those that were saved."""
        if self.data is None:
            raise PluginError(f"the plugin of {self.resource} reads data that it has not declared")
        pieces = read_chunks(self.bank, self.checkpoint_id, self.resource.id, self.data.chunks, self.data.checksum)
        return pieces if self.building is None else _while_ours(pieces, self.building)

    def verify_data(self) -> None:
        """Read all of the resource's bytes, if it has any, and compare their checksum."""
        if self.data is not None:
            for _ in self.read_data():
                pass

    def once(self, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> str | None:
        """Return the physical id of what is built under ``key``, made at most once; None in a rendering."""
        if self.building is None:
            return None
        physical_id = self.building.made(key) or find()
        # Another worker that goes on from here at once shall see all or nothing of it.
        with self.building.undisturbed():
            if physical_id is not None:
                self.building.note_made(key, physical_id)
                return physical_id
            # Only who still holds the resource may create: a copy of the task that lost it stops here.
            self.building.note_made(key, "")
            physical_id = create()
            try:
                self.building.note_made(key, physical_id)
            except StaleLeaseError:
                # Lost while it was built. Another worker may have found it by now, so it is not deleted here.
                self.building.note_late(key, physical_id)
                raise
        return physical_id

    def check_ours(self) -> None:
        """Raise StaleLeaseError if another worker has the resource by now, or the restore was stopped."""
        if self.building is not None:
            self.building.note_made("", "")

    def gone(self, key: str) -> None:
        """Note that what was built under ``key`` is deleted."""
        if self.building is not None:
            self.building.note_gone(key)


def _while_ours(pieces: Iterator[bytes], building: Building) -> Iterator[bytes]:
    """Yield the pieces until another worker has the resource, or this one ends; tell how much they were so far."""
    asked, size = time.monotonic(), 0
    for piece in pieces:
        building.go_on()
        if time.monotonic() - asked > _ASK_AGAIN_SECONDS:
            building.note_moved(size)
            asked = time.monotonic()
        yield piece
        size += len(piece)
    building.note_read(size)
