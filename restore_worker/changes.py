"""What a site map changes in one plan, and which rule or policy did it."""

from __future__ import annotations

from typing import NamedTuple

from restore_worker.errors import SiteMapError
from restore_worker.plugin import Mapped
from restore_worker.resource import Resource
from restore_worker.site_rules import Subject
from restore_worker.sitemap import Kind, PolicyKind, SiteMap

# Networks that a sentence names.
_TOLD = 10


class Change(NamedTuple):
    """A field that does not come back with its old value, by a rule of the site map.

    before: None if the bank does not tell it.
    after: None if the field is dropped.
    rule: where it stands in the site map, such as ``site.yaml:12 flavor.map.m1``.
    """

    type: str
    id: str
    name: str
    field: str
    before: str | None
    after: str | None
    rule: str


class Question(NamedTuple):
    """What a plugin asked of the site map."""

    kind: Kind
    subject: Subject


class Changes:
    """Applies a site map, and notes each change once, however often plugins ask.

    questions: all that was asked, in order.
    backups: records of backups that the target lacks, by id; None where nobody told one.
    """

    def __init__(self, site_map: SiteMap) -> None:
        self._site_map = site_map
        self.questions: list[Question] = []
        self.backups: dict[str, str | None] = {}
        self._known: dict[Change, None] = {}
        # What networks are called that plugins asked for.
        self._networks: set[str] = set()

    @property
    def all(self) -> tuple[Change, ...]:
        """All changes, as they were made."""
        return tuple(self._known)

    def check_networks(self) -> None:
        """Raise SiteMapError if a network was given that nothing of the restore is in."""
        for unknown in sorted(self._site_map.networks.keys() - self._networks):
            names = sorted(self._networks)
            more = f" and {len(names) - _TOLD} more" if names[_TOLD:] else ""
            known = f"only {', '.join(names[:_TOLD])}{more}" if names else "which has none"
            raise SiteMapError(f"--network {unknown}: no such network is in what is restored, {known}")

    def mapped(self, kind: Kind, subject: Subject, field: str, parameter: Mapped | None) -> Mapped | None:
        """Return what the parameter says, or else the site map; None if neither speaks."""
        self.questions.append(Question(kind, subject))
        if kind == "network":
            self._networks.update(subject.values)
        spoken = self._site_map.speak(kind, subject)
        before = next(iter(subject.values), None)
        where = spoken and self._site_map.place(spoken.entry)
        if parameter is not None:
            if where:
                self._note(subject.resource, field, before, parameter.value, f"{parameter.rule}, over {where}")
            return parameter
        if spoken is None or where is None:
            return None
        self._note(subject.resource, field, before, spoken.value, where)
        return Mapped(spoken.value, where)

    def by_policy(
        self, kind: PolicyKind, resource: Resource, field: str, before: str | None, after: str | None
    ) -> None:
        """Note what came of a kind's policy."""
        place = self._site_map.place((kind, "policy"))
        self._note(resource, field, before, after, f"{place} {self._site_map.policy(kind)}")

    def _note(self, resource: Resource, field: str, before: str | None, after: str | None, rule: str) -> None:
        if before != after:
            self._known[Change(*resource.key, resource.name, field, before, after, rule)] = None
