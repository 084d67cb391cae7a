"""What a restore needs of its target, looked for through the target's APIs: read only, and all is told at once."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from restore_worker import cloud
from restore_worker.cut import Limits
from restore_worker.errors import RestoreError, Retriable
from restore_worker.hot import Hot, assemble
from restore_worker.plan import Finding, Severity
from restore_worker.quotas import shortages
from restore_worker.registry import Registry
from restore_worker.render import Step
from restore_worker.resource import Resource
from restore_worker.stack import Heat, StackRefusedError
from restore_worker.stack_preview import refusals
from restore_worker.target import TargetCloud
from restore_worker.template import Fragment


class Fit(NamedTuple):
    """What Heat takes. limits: of one stack, None if all goes into one."""

    limits: Limits | None = None
    hots: tuple[Hot, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """One look at a target for one restore. Its methods add to ``findings``, and raise only `Retriable` errors."""

    target: TargetCloud
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """What makes the restore impossible."""
        return [each for each in self.findings if each.severity is Severity.ERROR]

    @property
    def others(self) -> list[Finding]:
        """What comes back differently or not at all."""
        return [each for each in self.findings if each.severity is not Severity.ERROR]

    def check_credentials(self) -> None:
        """Look whether Heat can act for the user."""
        with self.collecting():
            cloud.check_credentials(self.target.name)

    def check_resources(self, steps: Iterable[Step], registry: Registry) -> None:
        """Have every plugin look for what its resource needs."""
        for resource, work, _ in steps:
            with self.collecting(), cloud.translated(self.target.name):
                registry[resource.type].check(resource, work, self.target, _Report(resource, self.findings))

    def check_quotas(self) -> None:
        """Look whether what was claimed meanwhile fits beside what the project has."""
        if self.target.claims.total():
            with self.collecting(), cloud.translated(self.target.name):
                self.findings.extend(shortages(self.target.claims, self.target.connection()))

    def check_stacks(self, fragments: Mapping[str, Fragment], description: str) -> Fit:
        """Look how large a stack Heat takes, and unless there are errors, what is in each."""
        fit = Fit()
        with self.collecting():
            heat = Heat(self.target.name)
            try:
                fit = _fit(heat, fragments, description)
            except StackRefusedError as error:
                told = (error.field, error.found, error.mend)
                self.findings.append(Finding(Severity.ERROR, "OS::Heat::Stack", "", "", *told))
            for hot in fit.hots if not self.errors else ():
                self.findings.extend(refusals(hot, functools.partial(heat.try_template, values=hot.values)))
        return fit

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Make a finding of an error that will not pass."""
        try:
            yield
        except RestoreError as error:
            if isinstance(error, Retriable):
                raise
            self._add(str(error))

    def _add(self, found: str) -> None:
        told = Finding(Severity.ERROR, "", "", "", "", found)
        # A service that is not there is not there for a thousand resources.
        if told not in self.findings:
            self.findings.append(told)


def _fit(heat: Heat, fragments: Mapping[str, Fragment], description: str) -> Fit:
    """Return the templates cut as Heat wants them; StackRefusedError if it would take them in no way."""
    limits: Limits | None = None
    while True:
        hots = assemble(fragments, description, limits)
        # Which one is too large does not matter, and of the same size one speaks for all.
        tried = {(hot.resources, hot.size): hot for hot in hots}
        for _, hot in sorted(tried.items(), reverse=True):
            if smaller := heat.smaller(hot):
                known = limits or Limits(sys.maxsize, sys.maxsize)
                limits = Limits(min(known.resources, smaller.resources), min(known.bytes, smaller.bytes))
                if limits == known:
                    found = f"Heat takes no stack of {hot.resources} resources and {hot.size} bytes"
                    raise StackRefusedError(
                        "limits",
                        f"{found}, and there is no way to cut it",
                        "restore less at a time, or have the limit raised",
                    )
                break
        else:
            return Fit(limits, hots)


@dataclass(frozen=True, slots=True)
class _Report:
    """What a plugin tells of the target (`restore_worker.plugin.Report`)."""

    resource: Resource
    findings: list[Finding]

    def finding(self, field: str, found: str, mend: str = "") -> None:
        self._add(Severity.WARNING, field, found, mend)

    def problem(self, field: str, found: str, mend: str) -> None:
        self._add(Severity.ERROR, field, found, mend)

    def _add(self, severity: Severity, field: str, found: str, mend: str) -> None:
        self.findings.append(Finding(severity, *self.resource.key, self.resource.name, field, found, mend))
