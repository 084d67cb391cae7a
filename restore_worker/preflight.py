"""What is checked in a worker before anything is built: all of it, and every failure is told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from restore_worker import cloud, worker
from restore_worker.bank import Bank, check_chunks
from restore_worker.building import same_cloud
from restore_worker.checkpoint import parse_checkpoint
from restore_worker.entries import RestoreRecord, stack_name
from restore_worker.errors import BankError, PluginError, RefusedError
from restore_worker.inspection import Inspection
from restore_worker.ledger import Ledger
from restore_worker.ownership import check_owner
from restore_worker.registry import installed
from restore_worker.render import Step, render_fragments
from restore_worker.resource import Resource, ResourceKey
from restore_worker.stack import Heat
from restore_worker.states import ResourceState
from restore_worker.target import TargetCloud
from restore_worker.template import HeatResource

# Failures that are told in full; the rest is counted.
_TOLD = 50


def check(ledger: Ledger, record: RestoreRecord) -> None:
    """Look for all that stands in the way of the restore; findings about the target are added to the restore's.

    Raises RefusedError with every failure, or a Retriable error if bank, ledger or cloud do not answer; nothing
    was changed anywhere then.
    """
    missing = [each for each in record.types if installed().get(each) is None]
    if missing:
        message = f"this worker ({os.uname().nodename}) has no plugin for {', '.join(missing)}: install it here"
        raise PluginError(message)
    source = worker.bank_of(record.bank)
    inspection = Inspection(TargetCloud(record.cloud, source, record.checkpoint))
    checks = _Checks(ledger, record, source, inspection)
    checks.check_bank()
    # Whether resources can be built says nothing about a wrong bank or cloud.
    if record.cloud and not inspection.errors:
        checks.check_target()
    if not inspection.errors:
        checks.check_resources()
        if record.cloud and record.wants_stack:
            checks.check_room()
    failures = tuple(map(str, inspection.errors))
    if failures:
        more = f"\n  and {len(failures) - _TOLD} more" if failures[_TOLD:] else ""
        raise RefusedError("\n  ".join(failures[:_TOLD]) + more, failures)
    if inspection.others:
        ledger.add_findings(record.id, inspection.others)


@dataclass(frozen=True, slots=True)
class _Checks:
    """The checks of one restore; what they find is the inspection's."""

    ledger: Ledger
    record: RestoreRecord
    source: Bank
    inspection: Inspection

    def check_bank(self) -> None:
        """Look whether this worker sees the checkpoint that the submitter saw."""
        with self.inspection.collecting():
            key = f"checkpoints/{self.record.checkpoint}/index.json"
            if hashlib.sha256(self._index()).hexdigest() != self.record.digest:
                raise BankError(
                    f"the bank {self.record.bank}, as this worker ({worker.name()}) sees it, has another {key} "
                    "than the submitter saw: give both the same bank"
                )

    def check_target(self) -> None:
        """Look whether this worker's cloud is the submitter's, may have the checkpoint, and takes a stack."""
        name = self.record.cloud
        with self.inspection.collecting(), cloud.translated(name):
            identity = self.record.identity or self.ledger.identify(self.record.id, str(cloud.identity(name)))
            same_cloud(name, identity)
            # One of an earlier version does not say what was allowed.
            if (allowed := self.record.allow_projects) is not None:
                checkpoint = parse_checkpoint(self.record.checkpoint, self._index())
                check_owner(checkpoint, name, cloud.identity(name).project_id, allowed)
            cloud.check_credentials(name)

    def _index(self) -> bytes:
        return self.source.read(f"checkpoints/{self.record.checkpoint}/index.json").data

    def check_resources(self) -> None:
        """Have every plugin look for what its resource needs on the target, and look for its bytes in the bank."""
        left = list(self._steps(ResourceState.DONE))
        for resource, _, data in left:
            if data is not None:
                with self.inspection.collecting():
                    check_chunks(self.source, self.record.checkpoint, resource.id, data.chunks)
        if self.record.cloud:
            self.inspection.check_resources(left, installed())
            # Later, what the restore has made is in the way of its own claims.
            if self.record.epoch == 1:
                self.inspection.check_quotas()

    def check_room(self) -> None:
        """Look how large a stack Heat takes, and note it; those that are there already had room."""
        fragments, problems = render_fragments(
            self.source, self.record.checkpoint, self._steps(), verify=False, registry=installed()
        )
        self.inspection.findings.extend(problems)
        if problems or not any(isinstance(each, HeatResource) for each in fragments.values()):
            return
        with self.inspection.collecting():
            heat = Heat(self.record.cloud)
            names = (stack_name(self.record.id, number) for number in self.record.stacks)
            if not any(heat.find(name) for name in names):
                fit = self.inspection.check_stacks(fragments, self.record.description)
                self.ledger.limit(self.record.id, fit.limits)

    def _steps(self, without: ResourceState | None = None) -> Iterator[Step]:
        """Yield the steps of the restore, but not those in the state."""
        for progress, text in self.ledger.work(self.record.id):
            if progress.state is not without:
                node = progress.node
                plugin = installed()[node.type]
                work = plugin.Work.model_validate_json(text)
                yield Resource(ResourceKey(node.type, node.id), node.name), work, plugin.data(work)
