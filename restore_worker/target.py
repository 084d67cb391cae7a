"""The target of a restore as plugins look at it, in the caller's process and in workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from restore_worker import cloud
from restore_worker.bank import Bank, data_size
from restore_worker.plugin import BankData
from restore_worker.quotas import Claims, Quota
from restore_worker.resource import Resource

if TYPE_CHECKING:
    from openstack.connection import Connection

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class TargetCloud:
    """One restore's target (`restore_worker.plugin.Target`): what one plugin has asked, all others know.

    name: of the cloud in clouds.yaml.
    bank, checkpoint: what is restored.
    claims: what its resources need of quotas.
    """

    name: str
    bank: Bank
    checkpoint: str
    claims: Claims = field(default_factory=Claims)
    _answers: dict[str, Any] = field(default_factory=dict)

    def connection(self) -> Connection:
        """Return openstacksdk's connection to the target."""
        return cloud.connect(self.name)

    def look(self, what: str, ask: Callable[[], Found]) -> Found:
        """Return what ``ask`` answers, asked once for all resources of the restore; CloudError if refused."""
        if what not in self._answers:
            with cloud.translated(self.name):
                self._answers[what] = ask()
        answer: Found = self._answers[what]
        return answer

    def claim(self, service: str, quota: str, amount: int, *, once: str = "", passing: bool = False) -> None:
        """Note that the restore needs so much of a quota."""
        self.claims.add(Quota(service, quota), amount, once, passing=passing)

    def data_size(self, resource: Resource, data: BankData) -> int:
        """Return how many bytes the resource's chunks have in the bank."""
        return data_size(self.bank, self.checkpoint, resource.id, data.chunks)
