"""What is checked in a worker before anything is built: all of it, and every failure is told."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from restore_worker import cloud, worker
from restore_worker.bank import Bank, check_chunks, data_size
from restore_worker.building import same_cloud
from restore_worker.checkpoint import parse_checkpoint
from restore_worker.entries import RestoreRecord
from restore_worker.errors import BankError, PluginError, RefusedError, RestoreError, Retriable
from restore_worker.ledger import Ledger
from restore_worker.ownership import check_owner
from restore_worker.plan import Finding, Problem
from restore_worker.plugin import BankData
from restore_worker.registry import installed
from restore_worker.render import Step, render_fragments
from restore_worker.resource import Resource, ResourceKey
from restore_worker.stack import Heat, stack_name
from restore_worker.states import ResourceState
from restore_worker.template import assemble

if TYPE_CHECKING:
    from openstack.connection import Connection

Found = TypeVar("Found")
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
    checks = _Checks(ledger, record, worker.bank_of(record.bank))
    checks.check_bank()
    # Whether resources can be built says nothing about a wrong bank or cloud.
    if record.cloud and not checks.failures:
        checks.check_target()
    if not checks.failures:
        checks.check_resources()
        if record.cloud and record.wants_stack:
            checks.check_room()
    if checks.failures:
        more = f"\n  and {len(checks.failures) - _TOLD} more" if checks.failures[_TOLD:] else ""
        raise RefusedError("\n  ".join(checks.failures[:_TOLD]) + more, tuple(checks.failures))
    if checks.findings:
        ledger.add_findings(record.id, checks.findings)


@dataclass(slots=True)
class _Checks:
    """The checks of one restore, and what they found."""

    ledger: Ledger
    record: RestoreRecord
    source: Bank
    failures: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def check_bank(self) -> None:
        """Look whether this worker sees the checkpoint that the submitter saw."""
        with self._collecting():
            key = f"checkpoints/{self.record.checkpoint}/index.json"
            if hashlib.sha256(self._index()).hexdigest() != self.record.digest:
                raise BankError(
                    f"the bank {self.record.bank}, as this worker ({worker.name()}) sees it, has another {key} "
                    "than the submitter saw: give both the same bank"
                )

    def check_target(self) -> None:
        """Look whether this worker's cloud is the submitter's, may have the checkpoint, and takes a stack."""
        name = self.record.cloud
        with self._collecting(), cloud.translated(name):
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
        """Have every plugin look for what its resource needs on the target, and in the bank."""
        answers: dict[str, Any] = {}
        for progress, text in self.ledger.work(self.record.id):
            if progress.state is ResourceState.DONE:
                continue
            node = progress.node
            resource = Resource(ResourceKey(node.type, node.id), node.name)
            plugin = installed()[node.type]
            work = plugin.Work.model_validate_json(text)
            data = plugin.data(work)
            with self._collecting(), cloud.translated(self.record.cloud):
                if data is not None:
                    check_chunks(self.source, self.record.checkpoint, node.id, data.chunks)
                if self.record.cloud:
                    target = _Target(self.record, self.source, resource, answers)
                    plugin.check(resource, work, target, _Report(resource, self))

    def check_room(self) -> None:
        """Look whether Heat takes a stack of the template's size; one that is there already had room."""
        fragments, problems = render_fragments(
            self.source, self.record.checkpoint, self._steps(), verify=False, registry=installed()
        )
        self.failures += [str(each) for each in problems]
        with self._collecting():
            hot = None if problems else assemble(fragments, self.record.description)
            heat = Heat(self.record.cloud)
            if hot is not None and heat.find(stack_name(self.record.id)) is None:
                heat.try_room(hot)

    def _steps(self) -> Iterator[Step]:
        for progress, text in self.ledger.work(self.record.id):
            node = progress.node
            plugin = installed()[node.type]
            work = plugin.Work.model_validate_json(text)
            yield Resource(ResourceKey(node.type, node.id), node.name), work, plugin.data(work)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        """Make a failure of an error that will not pass."""
        try:
            yield
        except RestoreError as error:
            if isinstance(error, Retriable):
                raise
            # A service that is not there is not there for a thousand resources.
            if str(error) not in self.failures:
                self.failures.append(str(error))


@dataclass(frozen=True, slots=True)
class _Target:
    """The target as one resource's plugin sees it (`restore_worker.plugin.Target`). answers: of all resources."""

    record: RestoreRecord
    source: Bank
    resource: Resource
    answers: dict[str, Any]

    def connection(self) -> Connection:
        return cloud.connect(self.record.cloud)

    def look(self, what: str, ask: Callable[[], Found]) -> Found:
        if what not in self.answers:
            self.answers[what] = ask()
        answer: Found = self.answers[what]
        return answer

    def data_size(self, data: BankData) -> int:
        return data_size(self.source, self.record.checkpoint, self.resource.id, data.chunks)


@dataclass(frozen=True, slots=True)
class _Report:
    """What a plugin tells of the target (`restore_worker.plugin.Report`)."""

    resource: Resource
    checks: _Checks

    def finding(self, field: str, reason: str) -> None:
        self.checks.findings.append(Finding(*self.resource.key, self.resource.name, field, reason))

    def problem(self, field: str, message: str) -> None:
        self.checks.failures.append(str(Problem(*self.resource.key, self.resource.name, field, message)))
