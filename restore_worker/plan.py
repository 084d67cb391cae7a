"""What a restore will do: decided before anything is written or built, with every problem at once."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from restore_worker.bank import Bank, check_chunks
from restore_worker.catalogue import resolve
from restore_worker.changes import Change, Changes, Question
from restore_worker.checkpoint import Checkpoint, parse_checkpoint
from restore_worker.choice import Choice, Chosen
from restore_worker.definitions import Definitions
from restore_worker.errors import BankError, CloudError, ParameterError, PluginError, RestoreError, printable
from restore_worker.parameters import ParsedParameters, RestoreParameters
from restore_worker.plugin import BankData, Mapped, Produces, Report, Target
from restore_worker.registry import AnyPlugin, Registry, installed
from restore_worker.resource import Resource, ResourceKey
from restore_worker.site_rules import Subject
from restore_worker.sitemap import Kind, PolicyKind, SiteMap

logger = logging.getLogger(__name__)

# What becomes of what nobody named.
_FATE = {True: "restored, too", False: "left out"}
# Characters that OpenStack takes for a name.
_LONGEST_NAME = 255
# Type, id, name, field and a text.
_OF_EARLIER_VERSIONS = 5


class Severity(enum.StrEnum):
    """How much a finding is in the way."""

    # The restore is impossible.
    ERROR = "error"
    # The resource comes back differently or not at all, or needs a person.
    WARNING = "warning"
    # So it is with every resource of the type.
    INFO = "info"


class Finding(NamedTuple):
    """What a person must know of the restore of a resource.

    type: "" if it is about the target as a whole.
    id: "" if it holds for every resource of the type.
    found: what is so.
    mend: what would change it, "" if nothing would, or ``found`` says it.
    """

    severity: Severity
    type: str
    id: str
    name: str
    field: str
    found: str
    mend: str = ""

    @property
    def text(self) -> str:
        """What was found and what would mend it, for people."""
        return f"{self.found}: {self.mend}" if self.mend else self.found

    def __str__(self) -> str:
        who = f"{self.type} {self.name!r} ({self.id})" if self.id else self.type
        return printable(": ".join(filter(None, (", ".join(filter(None, (who, self.field))), self.text))))


def stored_finding(values: Sequence[str]) -> Finding:
    """Return a finding as a restore's record has it; one of an earlier version has five fields."""
    if len(values) == _OF_EARLIER_VERSIONS:
        return Finding(Severity.WARNING, *values)
    severity, *rest = values
    return Finding(Severity(severity), *rest)


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """One task of the restore.

    children: places in the plan of what must be restored first.
    work: what the plugin's restore() will need.
    data: the bytes in the bank that it will read, None if there are none.
    """

    resource: Resource
    children: tuple[int, ...]
    work: BaseModel
    produces: Produces
    data: BankData | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be done. With problems, nothing will be.

    digest: SHA-256 of the checkpoint's index, lower-case hex.
    choice: what comes without having been named, and what is left out.
    findings: what comes back differently or not at all; problems: what makes the restore impossible.
    resources: every child before its parents; without those that have problems.
    changes: what the site map does.
    questions: all that plugins asked of it.
    backups: records of the Cinder backups that the target lacks, by id; None where nobody told one.
    """

    checkpoint: Checkpoint
    digest: str
    bank: Bank
    choice: tuple[Chosen, ...]
    resources: tuple[PlannedResource, ...]
    findings: tuple[Finding, ...]
    problems: tuple[Finding, ...]
    changes: tuple[Change, ...] = ()
    questions: tuple[Question, ...] = ()
    backups: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """Description of the template."""
        return f"Restore of checkpoint {self.checkpoint.id}, made by plan {self.checkpoint.plan.name}".strip()

    @property
    def told(self) -> tuple[Finding, ...]:
        """The findings, before them those of the choice: for who sees the restore but not the plan."""
        chosen = (
            Finding(
                Severity.INFO, each.type, each.id, each.name, "choice", f"{_FATE[each.restored]}: {each.reason}"
            )
            for each in self.choice
        )
        return (*chosen, *self.findings)


@dataclass(frozen=True, slots=True)
class Sites:
    """Where it goes, and what is called how there.

    target, source: the clouds, to look at; None if they are not asked.
    name_prefix: what all names begin with that the restore gives.
    isolated: a copy that touches nothing of what lives there.
    """

    site_map: SiteMap = field(default_factory=SiteMap)
    target: Target | None = None
    source: Target | None = None
    name_prefix: str = ""
    isolated: bool = False

    def __post_init__(self) -> None:
        """Refuse a prefix that no name can begin with."""
        prefix = self.name_prefix
        if not prefix.isprintable() or prefix != prefix.lstrip() or len(prefix) >= _LONGEST_NAME:
            raise ParameterError(
                f"the name prefix {prefix[:80]!r} is not the beginning of a name: up to {_LONGEST_NAME - 1} "
                "printable characters, of which the first is no space"
            )


def make_plan(
    bank: Bank,
    checkpoint: str,
    *,
    resources: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    parameters: RestoreParameters | None = None,
    sites: Sites | None = None,
    registry: Registry | None = None,
) -> Plan:
    """Return the plan for a checkpoint: an id, ``latest``, ``latest:PLAN`` or ``PLAN@TIME``.

    resources: ids, ``TYPE`` or ``TYPE#ID``; what they depend on is added. None for the whole checkpoint.
    skip: alike; they are left out, with all that depends on them.
    parameters: what plugins shall do differently, by ``TYPE`` or ``TYPE#ID``.
    sites: with the site map, the prefix of names, and whether it is to be isolated; what would not be so is among
        the problems.
    Raises BankError, CheckpointError or GraphError if the checkpoint as a whole cannot be restored; all
    that is wrong with single resources or parameters is in the plan's problems.
    """
    checkpoint_id = resolve(bank, checkpoint)
    index = bank.read(f"checkpoints/{checkpoint_id}/index.json").data
    found = parse_checkpoint(checkpoint_id, index)
    choice = Choice(found.id, found.restorable_graph(), resources, skip)
    planner = _Planner(bank, found, choice, registry or installed(), parameters or {}, sites or Sites())
    return planner.plan(hashlib.sha256(index).hexdigest())


@dataclass(frozen=True, slots=True)
class _Reporter:
    """What a plugin tells about one resource (`restore_worker.plugin.Report`)."""

    resource: Resource
    planner: _Planner

    def finding(self, field: str, found: str, mend: str = "") -> None:
        key, name = self.resource.key, self.resource.name
        self.planner.findings.append(Finding(Severity.WARNING, *key, name, field, found, mend))

    def problem(self, field: str, found: str, mend: str) -> None:
        self.planner.tell(self.resource.key, field, found, mend)


class _Planner:
    """Makes one plan; to plugins it is the `restore_worker.plugin.Selection`."""

    def __init__(
        self,
        bank: Bank,
        checkpoint: Checkpoint,
        choice: Choice,
        registry: Registry,
        parameters: RestoreParameters,
        sites: Sites,
    ) -> None:
        self._bank = bank
        self._checkpoint = checkpoint
        self._choice = choice
        self._nodes = choice.graph.nodes
        self._registry = registry
        self._sites = sites
        self._changes = Changes(sites.site_map)
        self.findings: list[Finding] = []
        self._problems: dict[ResourceKey, list[Finding]] = {}
        self._definitions = Definitions(bank, checkpoint.id, registry, self.tell)
        self._parameters = ParsedParameters(parameters, choice.graph, registry, self.tell, isolated=sites.isolated)
        self._parents: dict[ResourceKey, tuple[ResourceKey, ...]] = {}
        self._by_type: dict[str, list[Resource]] = {}
        for node in self._nodes.values():
            self._by_type.setdefault(node.type, []).append(node)

    def tell(self, key: ResourceKey, field: str, found: str, mend: str = "") -> None:
        """Note a problem of a resource, or of a type."""
        node = self._nodes.get(key)
        problem = Finding(Severity.ERROR, *key, node.name if node else "", field, found, mend)
        self._problems.setdefault(key, []).append(problem)

    # What plugins ask

    def find(self, resource_type: str) -> Iterable[Resource]:
        return self._by_type.get(resource_type, ())

    def chosen(self, key: ResourceKey) -> bool:
        return key in self._choice.chosen

    def implied(self, key: ResourceKey) -> bool:
        return key in self._choice.chosen and key not in self._choice.explicit

    def children(self, key: ResourceKey) -> Iterable[Resource]:
        return [self._nodes[child] for child in self._choice.graph.children.get(key, ())]

    def parents(self, key: ResourceKey) -> Iterable[Resource]:
        return [self._nodes[parent] for parent in self._parents.get(key, ()) if parent in self._choice.chosen]

    def definition(self, key: ResourceKey) -> BaseModel | None:
        return self._definitions.get(key)

    def parameters(self, key: ResourceKey) -> BaseModel:
        return self._parameters.get(key)

    def mapped(
        self,
        kind: Kind,
        original: str | None,
        resource: Resource,
        field: str,
        *,
        also: Iterable[str] = (),
        properties: Mapping[str, Any] | None = None,
        parameter: str = "",
    ) -> Mapped | None:
        given = getattr(self.parameters(resource.key), parameter) if parameter else None
        values = tuple(filter(None, (original, *also)))
        return self._changes.mapped(
            kind,
            Subject(resource, values, properties or {}),
            field,
            None if given is None else Mapped(given, f"--parameter {parameter}"),
        )

    def note_backup(self, backup_id: str, record: str | None) -> None:
        self._changes.backups[backup_id] = record

    def policy(self, kind: PolicyKind) -> str | None:
        return self._sites.site_map.policy(kind)

    def by_policy(
        self, kind: PolicyKind, resource: Resource, field: str, before: str | None, after: str | None
    ) -> None:
        self._changes.by_policy(kind, resource, field, before, after)

    @property
    def site_map(self) -> SiteMap:
        return self._sites.site_map

    @property
    def target(self) -> Target | None:
        return self._sites.target

    @property
    def source(self) -> Target | None:
        return self._sites.source

    def named(self, name: str, report: Report, field: str = "name") -> str:
        prefix = self._sites.name_prefix
        prefixed = prefix + name if name else ""
        if prefix and len(prefixed) > _LONGEST_NAME:
            report.problem(
                field,
                f"with its prefix the name has {len(prefixed)} characters, more than {_LONGEST_NAME}",
                f"shorten the prefix by {len(prefixed) - _LONGEST_NAME}",
            )
        return prefixed

    # The steps of planning

    def plan(self, digest: str) -> Plan:
        """Ask the plugins about every chosen resource, children first; digest: of the checkpoint's index."""
        self._choice.settle(self._imply)
        part = self._choice.graph.restricted(self._choice.chosen)
        self._parents = part.parents()
        place: dict[ResourceKey, int] = {}
        planned: list[PlannedResource] = []
        for key in part.order():
            children = part.children.get(key, ())
            one = self._plan_one(part.nodes[key])
            if one is not None and all(child in place for child in children):
                place[key] = len(planned)
                places = tuple(place[child] for child in children)
                planned.append(PlannedResource(one.resource, places, one.work, one.produces, one.data))
        if not self._problems:
            self._changes.check_networks()
        self._check_builders(planned)
        self._tell_not_in_bank()
        if self._sites.isolated:
            self._check_isolation()
        for key in self._parameters.of_single_resources:
            if key not in self._choice.chosen:
                self.tell(key, "parameter", "the resource is not among those that are restored")
        problems = tuple(each for told in self._problems.values() for each in told if self._concerns(each))
        return Plan(
            self._checkpoint,
            digest,
            self._bank,
            self._choice.preview(),
            tuple(planned),
            tuple(self.findings),
            problems,
            self._changes.all,
            tuple(self._changes.questions),
            self._changes.backups,
        )

    def _concerns(self, problem: Finding) -> bool:
        """Leave out what is wrong with resources that were only looked at."""
        key = ResourceKey(problem.type, problem.id)
        return key in self._choice.chosen or not problem.id or problem.field.startswith("parameter")

    def _imply(self) -> dict[ResourceKey, list[ResourceKey]]:
        """Return what plugins say that chosen resources need, though the graph has no edge to it."""
        self._definitions.load(sorted(self._choice.chosen))
        edges: dict[ResourceKey, list[ResourceKey]] = {}
        for key in sorted(self._choice.chosen):
            plugin = self._registry.get(key.type)
            if plugin is not None and self._definitions.get(key) is not None:
                edges[key] = self._implied_by(plugin, key)
        return {key: implied for key, implied in edges.items() if implied}

    def _implied_by(self, plugin: AnyPlugin, key: ResourceKey) -> list[ResourceKey]:
        with self._telling(plugin, key):
            implied = list(plugin.implied_dependencies(self._nodes[key], self))
            unknown = [each for each in implied if each not in self._nodes]
            if unknown:
                raise PluginError(
                    f"its plugin {_name(plugin)} says that it needs {unknown[0]}, which is no resource"
                )
            return implied
        return []

    def _plan_one(self, resource: Resource) -> PlannedResource | None:
        """Return what its plugin makes of a resource, without children yet; None if that has problems."""
        plugin = self._registry.get(resource.type)
        definition = self._definitions.get(resource.key)
        if plugin is None or (plugin.Definition is not None and definition is None):
            return None  # told by the definitions
        with self._telling(plugin, resource.key):
            report = _Reporter(resource, self)
            work = plugin.prepare(resource, definition, self._parameters.get(resource.key), self, report)
            if resource.key in self._problems:
                return None
            produces = plugin.produces(work)
            if not isinstance(work, plugin.Work) or not isinstance(produces, Produces):
                raise PluginError(f"its plugin {_name(plugin)} prepared {work!r:.80}, and says {produces!r:.80}")
            data = plugin.data(work)
            if data is not None:
                check_chunks(self._bank, self._checkpoint.id, resource.id, data.chunks)
            return PlannedResource(resource, (), work, produces, data)
        return None

    @contextlib.contextmanager
    def _telling(self, plugin: AnyPlugin, key: ResourceKey) -> Iterator[None]:
        """Make a problem of the resource of whatever its plugin raises."""
        try:
            yield
        except CloudError:
            # A policy of the site map asked it: that it does not answer is no matter of one resource.
            raise
        except RestoreError as error:
            self.tell(key, "data" if isinstance(error, BankError) else "", str(error))
        except Exception as error:
            logger.debug("plugin of %s", key, exc_info=True)
            self.tell(key, "", f"its plugin {_name(plugin)} broke: {error!r}")

    def _check_builders(self, planned: list[PlannedResource]) -> None:
        """Refuse what is to be built before the stack but needs what only the stack will build."""
        for one in planned:
            if one.produces is Produces.PARAMETER:
                for child in (planned[place] for place in one.children):
                    if child.produces is Produces.RESOURCE:
                        message = (
                            f"it is built before the stack, but depends on {child.resource}, which Heat builds"
                        )
                        self.tell(one.resource.key, "", message)

    def _check_isolation(self) -> None:
        """Refuse types whose plugins do not say that they keep apart from what lives."""
        for resource_type in sorted({key.type for key in self._choice.chosen}):
            plugin = self._registry.get(resource_type)
            if plugin is not None and not plugin.isolates:
                message = "its plugin cannot keep a copy apart from what lives: choose other resources"
                self.tell(ResourceKey(resource_type, ""), "", message)

    def _tell_not_in_bank(self) -> None:
        for resource_type in sorted({key.type for key in self._choice.chosen}):
            plugin = self._registry.get(resource_type)
            for name, reason in plugin.not_in_bank if plugin else ():
                self.findings.append(Finding(Severity.INFO, resource_type, "", "", name, reason))


def _name(plugin: AnyPlugin) -> str:
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"
