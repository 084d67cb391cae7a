"""What the engine gives to plugins, for tests of plugins alone: no bank, no Redis, no workers, no cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from restore_worker.changes import Change, Changes
from restore_worker.errors import CloudError
from restore_worker.hot import Hot, assemble
from restore_worker.plan import Sites
from restore_worker.plugin import BankData, Mapped, Produces, RestorePlugin
from restore_worker.resource import Resource, ResourceKey
from restore_worker.site_rules import Subject
from restore_worker.template import Fragment, HeatTemplate
from tests.support.banks import Node

AnyPlugin = RestorePlugin[Any, Any, Any]


class Told(NamedTuple):
    """A finding or a problem."""

    id: str
    field: str
    found: str
    mend: str = ""

    @property
    def text(self) -> str:
        return f"{self.found}: {self.mend}" if self.mend else self.found


@dataclass
class FakeReport:
    """Keeps what a plugin tells about one resource."""

    id: str
    findings: list[Told] = field(default_factory=list)
    problems: list[Told] = field(default_factory=list)

    def finding(self, field: str, found: str, mend: str = "") -> None:
        self.findings.append(Told(self.id, field, found, mend))

    def problem(self, field: str, found: str, mend: str) -> None:
        self.problems.append(Told(self.id, field, found, mend))


class FakeSelection:
    """Nodes and edges as a checkpoint has them, with the plugins that parse them.

    nodes: children before their parents.
    edges: children by parent; those that plugins imply are added.
    parameters: by ``TYPE`` or ``TYPE#ID``; those of an id override those of its type.
    chosen: keys of what is restored; None for all.
    sites: the site map, and the clouds to look at.
    """

    def __init__(
        self,
        plugins: Iterable[AnyPlugin],
        nodes: Sequence[Node],
        edges: Mapping[ResourceKey, Sequence[ResourceKey]] | None = None,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        chosen: Iterable[ResourceKey] | None = None,
        sites: Sites | None = None,
    ) -> None:
        sites = sites or Sites()
        self.site_map, self.target, self.source = sites.site_map, sites.target, sites.source
        self._changes = Changes(self.site_map)
        self.plugins = {plugin.resource_type: plugin for plugin in plugins}
        self.nodes = {node.key: node for node in nodes}
        self._chosen = set(self.nodes if chosen is None else chosen)
        self._explicit = frozenset(self._chosen)
        self._parameters = parameters or {}
        self._definitions: dict[ResourceKey, Any] = {}
        self._edges = {key: list(children) for key, children in (edges or {}).items()}
        before: set[ResourceKey] = set()
        while self._chosen != before:
            before = set(self._chosen)
            for key in sorted(before):
                implied = self.plugins[key.type].implied_dependencies(self.resource(key), self)
                self._edges[key] = list(dict.fromkeys((*self._edges.get(key, ()), *implied)))
                self._chosen.update(self._edges[key])

    def resource(self, key: ResourceKey) -> Resource:
        node = self.nodes[key]
        extra_info = node.extra_info if isinstance(node.extra_info, Mapping) else {}
        return Resource(key, node.name or "", extra_info)

    def find(self, resource_type: str) -> list[Resource]:
        return [self.resource(key) for key in self.nodes if key.type == resource_type]

    def chosen(self, key: ResourceKey) -> bool:
        return key in self._chosen

    def implied(self, key: ResourceKey) -> bool:
        return key in self._chosen and key not in self._explicit

    def children(self, key: ResourceKey) -> list[Resource]:
        return [self.resource(child) for child in self._edges.get(key, ())]

    def parents(self, key: ResourceKey) -> list[Resource]:
        return [self.resource(parent) for parent in self.nodes if key in self._edges.get(parent, ())]

    def definition(self, key: ResourceKey) -> Any:
        if key not in self._definitions:
            model = self.plugins[key.type].Definition
            self._definitions[key] = model and model.model_validate(self.nodes[key].metadata)
        return self._definitions[key]

    def parameters(self, key: ResourceKey) -> Any:
        values = {**self._parameters.get(key.type, {}), **self._parameters.get(str(key), {})}
        return self.plugins[key.type].Parameters.model_validate(values)

    @property
    def changes(self) -> tuple[Change, ...]:
        return self._changes.all

    def mapped(
        self,
        kind: Any,
        original: str | None,
        resource: Resource,
        field: str,
        *,
        also: Iterable[str] = (),
        properties: Mapping[str, Any] | None = None,
        parameter: str = "",
    ) -> Mapped | None:
        given = getattr(self.parameters(resource.key), parameter) if parameter else None
        subject = Subject(resource, tuple(filter(None, (original, *also))), properties or {})
        by_parameter = None if given is None else Mapped(given, f"--parameter {parameter}")
        return self._changes.mapped(kind, subject, field, by_parameter)

    def policy(self, kind: Any) -> str | None:
        return self.site_map.policy(kind)

    def note_backup(self, backup_id: str, record: str | None) -> None:
        self._changes.backups[backup_id] = record

    def by_policy(self, kind: Any, resource: Resource, field: str, before: str | None, after: str | None) -> None:
        self._changes.by_policy(kind, resource, field, before, after)

    def named(self, name: str, report: FakeReport, field: str = "name") -> str:  # noqa: ARG002 - the contract's
        return name

    def prepare(self, key: ResourceKey) -> tuple[Any, FakeReport]:
        """Return what the plugin prepared, after the way to a worker as JSON, and what it told."""
        plugin, report = self.plugins[key.type], FakeReport(key.id)
        work: BaseModel = plugin.prepare(
            self.resource(key), self.definition(key), self.parameters(key), self, report
        )
        return plugin.Work.model_validate_json(work.model_dump_json()), report


class Rendering(NamedTuple):
    """What became of a selection without a cloud; with problems there is no HOT."""

    hot: Hot | None
    findings: list[Told]
    problems: list[Told]
    fragments: dict[str, Fragment]
    produced: dict[ResourceKey, Produces]


def render(selection: FakeSelection) -> Rendering:
    """Prepare and restore all that is chosen, children first."""
    works, reports = {}, []
    for key in selection.nodes:
        if selection.chosen(key):
            works[key], report = selection.prepare(key)
            reports.append(report)
    findings = [told for report in reports for told in report.findings]
    problems = [told for report in reports for told in report.problems]
    fragments: dict[str, Fragment] = {}
    produced: dict[ResourceKey, Produces] = {}
    if problems:
        return Rendering(None, findings, problems, fragments, produced)
    # What others imply comes first: it can stand anywhere among the nodes.
    done: set[ResourceKey] = set()
    todo = list(works)
    while todo:
        key = todo.pop(0)
        if not {child.key for child in selection.children(key)} <= done:
            todo.append(key)
            continue
        plugin = selection.plugins[key.type]
        template = HeatTemplate(fragments.get)
        plugin.restore(selection.resource(key), works[key], template, FakeContext())
        assert not template.fragments.keys() & fragments.keys()
        fragments |= template.fragments
        produced[key] = plugin.produces(works[key])
        done.add(key)
    return Rendering(next(iter(assemble(fragments, "a test")), None), findings, problems, fragments, produced)


@dataclass
class FakeContext:
    """The context of one resource: a rendering, unless there is a cloud.

    data: the resource's bytes in the bank, in chunks.
    damage: raised after the last chunk.
    made: physical ids by key, as the ledger keeps them.
    """

    restore_id: str = "restore-1"
    cloud: Any = None
    data: Sequence[bytes] = ()
    damage: Exception | None = None
    made: dict[str, str] = field(default_factory=dict)

    @property
    def rendering(self) -> bool:
        return self.cloud is None

    def connection(self) -> Any:
        if self.cloud is None:
            raise CloudError("a rendering has no connection")
        return self.cloud

    def read_data(self) -> Iterator[bytes]:
        yield from self.data
        if self.damage is not None:
            raise self.damage

    def once(self, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> str | None:
        if self.cloud is None:
            return None
        if not self.made.get(key):
            self.made[key] = find() or create()
        return self.made[key]

    def check_ours(self) -> None:
        """Nobody else is there."""

    def gone(self, key: str) -> None:
        self.made.pop(key, None)


@dataclass
class FakeTarget:
    """The target as `check` sees it, once a question.

    size: of each resource's chunks in the bank.
    claims: what was claimed, by service and quota; what is needed once is in it once.
    """

    cloud: Any
    size: int = 0
    claims: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)

    def connection(self) -> Any:
        return self.cloud

    def look(self, what: str, ask: Callable[[], Any]) -> Any:
        if what not in self.answers:
            self.answers[what] = ask()
        return self.answers[what]

    def claim(self, service: str, quota: str, amount: int, *, once: str = "", passing: bool = False) -> None:
        name = f"{service}.{quota}{' passing' * passing}"
        if not once or f"{name} {once}" not in self.answers:
            self.answers[f"{name} {once}"] = True
            self.claims[name] = self.claims.get(name, 0) + amount

    def data_size(self, resource: Resource, data: BankData) -> int:  # noqa: ARG002 - all have one size
        return self.size
