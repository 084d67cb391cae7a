"""The contract of a restore plugin as tests, for authors of plugins; ``docs/plugins.md`` has an example.

Derive a class from `PluginContract` in a test module, say which plugin it is and where a sample of its type lies,
and run pytest. No cloud is asked, nothing is built, and the bank is only read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ValidationError

from restore_worker.bank import Bank, Value, open_bank
from restore_worker.checkpoint import parse_json
from restore_worker.context import RestoreContext
from restore_worker.errors import RestoreError
from restore_worker.parameters import RestoreParameters
from restore_worker.plan import Plan, PlannedResource, make_plan
from restore_worker.plugin import BankData, Definition, Parameters, Produces
from restore_worker.registry import GROUP, AnyPlugin, Registry, installed
from restore_worker.render import render
from restore_worker.resource import Resource, ResourceKey
from restore_worker.template import Fragment, HeatParameter, HeatResource, HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection
    from requests import Response

Found = TypeVar("Found")
# Methods of openstacksdk that change a cloud.
_CHANGE = re.compile(
    "(abandon|add|attach|create|delete|detach|disassociate|remove|reset|set|terminate|unset|update|upload)_.*"
    "|delete|patch|post|put"
)
# And those that send a request as it is.
_REQUESTS = {"delete", "get", "head", "patch", "post", "put"}
# JSON of each kind; of this mapping Heat would make a function call.
_JSON = {
    "null": None,
    "a boolean": True,
    "a number": 7.5,
    "a text": "?",
    "a list": [7.5],
    "a mapping": {"get_file": "/etc/passwd"},
}
_UNKNOWN = "no_such_parameter"
# What a bank may hold beside what a plugin knows of.
_MARK = "what-nobody-asked-for"


class PluginContract:
    """What every plugin must hold, a test each.

    plugin: the class.
    bank: directory or URL of a bank with a sample (see `restore_worker.bank.open_bank`).
    checkpoint: its id, or another name of it.
    resource: id of a resource of the plugin's type. It is planned alone, with what it depends on, and that must
        have no problems. The more fields its metadata has, the more is tried.
    parameters: what that plan needs to have no problems, by ``TYPE`` or ``TYPE#ID``.
    """

    plugin: ClassVar[type[AnyPlugin]]
    bank: str
    checkpoint: str = "latest"
    resource: str
    parameters: RestoreParameters = MappingProxyType({})

    def test_it_is_found_by_its_entry_point(self) -> None:
        """An installed package offers the class, and no other one restores its type."""
        found = installed().get(self.plugin.resource_type)
        _require(
            type(found) is self.plugin,
            f"entry points of the group {GROUP} offer {found!r} for {self.plugin.resource_type}: install the "
            "plugin's package",
        )

    def test_its_attributes_are_the_right_models(self) -> None:
        """The engine can parse the metadata, the parameters and the work; no parameter must be given."""
        plugin = self.plugin
        _require(bool(plugin.resource_type), "resource_type is empty")
        if plugin.Definition is not None:
            _require_model("Definition", plugin.Definition, Definition)
        _require_model("Parameters", plugin.Parameters, Parameters)
        _require_model("Work", plugin.Work, BaseModel)
        needed = [name for name, each in plugin.Parameters.model_fields.items() if each.is_required()]
        _require(not needed, f"these parameters have no default: {', '.join(needed)}")

    def test_prepare_is_pure(self) -> None:
        """Asked twice, it decides and tells the same."""
        first, second = self._plan(), self._plan()
        _require_same("what prepare returns", self._own(first), self._own(second))
        _require_same("what prepare tells", first.findings, second.findings)

    def test_work_survives_the_way_to_a_worker(self) -> None:
        """It travels as JSON, and nothing is lost."""
        work = self._own(self._plan()).work
        _require_same("Work as JSON", work, self.plugin.Work.model_validate_json(work.model_dump_json()))

    def test_fields_of_the_metadata_that_nobody_asked_for_go_nowhere(self) -> None:
        """A bank may hold passwords there: neither problems, findings, work nor template may have them."""
        if self.plugin.Definition is None:
            return
        plan = self._plan()
        key = f"checkpoints/{plan.checkpoint.id}/resource-data/{self.resource}/metadata"
        for where, planted in _planted(parse_json(plan.bank.read(key).data, key)):
            bank = cast("Bank", _DamagedBank(plan.bank, key, json.dumps(planted).encode()))
            tried = self._try_plan(bank)
            put = {} if tried.problems else self._put(tried)
            told = f"{tried.problems} {tried.findings} {[each.work for each in tried.resources]} {put}"
            _require(_MARK not in told, f"metadata{where}: what is in an unknown field is told or kept")

    def test_restore_puts_the_same_however_often_it_runs(self) -> None:
        """A task may be delivered more than once."""
        plan = self._plan()
        first = self._put(plan)
        for _ in range(2):
            _require_same("what restore puts", first, self._put(plan))

    def test_produces_is_what_is_put(self) -> None:
        """Under the resource's own id is what `produces` says; a composite may have its parts instead."""
        plan = self._plan()
        produces, put = self._own(plan).produces, self._put(plan)
        own = put.get(self.resource)
        agrees = {
            Produces.NOTHING: not put,
            Produces.PARAMETER: isinstance(own, HeatParameter),
            Produces.RESOURCE: isinstance(own, HeatResource) or (own is None and bool(put)),
        }
        _require(agrees[produces], f"produces says {produces}, but restore puts {dict(put)!r}")

    def test_an_unknown_parameter_is_refused_with_the_known_ones(self) -> None:
        """Who mistypes a parameter reads which there are."""
        given = {**self.parameters.get(str(self._key), {}), _UNKNOWN: "x"}
        plan = self._try_plan(parameters={**self.parameters, str(self._key): given})
        told = [each.text for each in plan.problems if _UNKNOWN in each.field]
        known = self.plugin.Parameters.model_fields
        _require(
            any(all(name in message for name in known) for message in told),
            f"the plan does not name the known parameters {', '.join(known)}: {told}",
        )
        try:
            self.plugin.Parameters.model_validate({_UNKNOWN: "x"})
        except ValidationError:
            return
        raise AssertionError("Parameters takes names that it has no field for")

    def test_damaged_metadata_is_told_or_restored(self) -> None:
        """Whatever of the metadata is missing, null or of another kind: only RestoreError is ever raised."""
        if self.plugin.Definition is None:
            return
        plan = self._plan()
        key = f"checkpoints/{plan.checkpoint.id}/resource-data/{self.resource}/metadata"
        for what, damaged in _damages(parse_json(plan.bank.read(key).data, key)):
            bank = _DamagedBank(plan.bank, key, json.dumps(damaged).encode())
            self._require_told(f"metadata{what}", cast("Bank", bank))

    def test_discard_with_nothing_made_does_nothing(self) -> None:
        """It may look for what was made but not noted; in an empty cloud there is nothing to change."""
        plan = self._plan()
        own, building = self._own(plan), _NothingMade()
        context = RestoreContext("contract", plan.checkpoint.id, own.resource, plan.bank, own.data, building)
        self.plugin().discard(own.resource, {}, context)
        _require(not building.changes, f"discard, with nothing made, calls {', '.join(building.changes)}")

    def test_check_changes_nothing(self) -> None:
        """It only looks; in an empty cloud it tells what is missing, and raises nothing but RestoreError."""
        own, target = self._own(self._plan()), _EmptyTarget()
        with suppress(RestoreError):
            self.plugin().check(own.resource, own.work, target, target)
        _require(not target.changes, f"check calls {', '.join(target.changes)}")

    @property
    def _key(self) -> ResourceKey:
        return ResourceKey(self.plugin.resource_type, self.resource)

    @cached_property
    def _registry(self) -> Registry:
        """The plugin, installed or not, among the others that its sample may depend on."""
        others = (installed()[name] for name in installed().types if name != self.plugin.resource_type)
        return Registry([self.plugin(), *others])

    def _plan(self) -> Plan:
        plan = self._try_plan()
        _require(not plan.problems, f"the sample has problems: {'; '.join(map(str, plan.problems))}")
        return plan

    def _try_plan(self, bank: Bank | None = None, parameters: RestoreParameters | None = None) -> Plan:
        return make_plan(
            bank or open_bank(self.bank),
            self.checkpoint,
            resources=[str(self._key)],
            parameters=self.parameters if parameters is None else parameters,
            registry=self._registry,
        )

    def _own(self, plan: Plan) -> PlannedResource:
        return next(planned for planned in plan.resources if planned.resource.key == self._key)

    def _put(self, plan: Plan) -> Mapping[str, Fragment]:
        """Return by original id what the plugin puts, after all that its resource depends on."""
        before: dict[str, Fragment] = {}
        for planned in plan.resources:
            template = HeatTemplate(before.get)
            context = RestoreContext("", plan.checkpoint.id, planned.resource, plan.bank, planned.data)
            self._registry[planned.resource.type].restore(planned.resource, planned.work, template, context)
            if planned.resource.key == self._key:
                return template.fragments
            before |= template.fragments
        raise AssertionError(f"{self._key} is not in its own plan")

    def _require_told(self, what: str, bank: Bank) -> None:
        """Plan and render from the bank; nothing may come of it but a template, problems or a RestoreError."""
        try:
            rendering = render(self._try_plan(bank), verify=False, registry=self._registry)
        except RestoreError:
            return
        except Exception as error:
            raise AssertionError(f"{what}: {error!r} is raised") from error
        broken = [str(each) for each in rendering.problems if " broke: " in each.text]
        _require(not broken, f"{what}: {'; '.join(broken)}")


def _require(condition: bool, message: str) -> None:
    # Not an assert: pytest explains those of test modules only.
    if not condition:
        raise AssertionError(message)


def _require_same(what: str, first: object, second: object) -> None:
    _require(first == second, f"{what} differs: {first!r} and {second!r}")


def _require_model(name: str, model: object, base: type[BaseModel]) -> None:
    derived = isinstance(model, type) and issubclass(model, base)
    _require(derived, f"{name} is {model!r}, which is not derived from {base!r}")


def _damages(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the JSON value with one thing in it missing or of another kind, and what that is."""
    for kind, other in _JSON.items():
        if type(other) is not type(value):
            yield f" is {kind}", other
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        if isinstance(value, dict):
            yield f".{key} is missing", {name: each for name, each in value.items() if name != key}
        for what, damaged in _damages(inner):
            copy = value.copy()
            copy[key] = damaged
            yield f".{key}{what}", copy


def _planted(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the JSON value with a secret in one of its objects, and where that is."""
    if isinstance(value, dict):
        yield "", {**value, "no_such_field": {"password": _MARK}}
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        for where, planted in _planted(inner):
            copy = value.copy()
            copy[key] = planted
            yield f".{key}{where}", copy


class _DamagedBank:
    """The bank, but for the content of one object."""

    def __init__(self, bank: Bank, key: str, data: bytes) -> None:
        self._bank, self._key, self._data = bank, key, data

    def read(self, key: str) -> Value:
        return Value(self._data, None) if key == self._key else self._bank.read(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)


@dataclass
class _NothingMade:
    """A cloud that holds nothing, and a ledger that knows of nothing; changes: calls that would alter them."""

    changes: list[str] = field(default_factory=list)

    def connection(self) -> Connection:
        return cast("Connection", _EmptyCloud(self.changes, "connection"))

    def made(self, key: str) -> str | None:  # noqa: ARG002 - whatever it is
        return None

    def note_made(self, key: str, physical_id: str) -> None:  # noqa: ARG002 - that it is called is enough
        self.changes.append("Context.once")

    def note_moved(self, size: int) -> None:
        """Read it may be."""

    def note_read(self, size: int) -> None:
        """Read it may be."""

    def note_late(self, key: str, physical_id: str) -> None:
        """Take it: nobody else is there."""

    def note_gone(self, key: str) -> None:
        """Take it: what was never made is gone."""

    def undisturbed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def go_on(self) -> None:
        """Go on: there is no worker that may end."""


@dataclass
class _EmptyTarget:
    """The target and the report of a check that finds nothing; changes: calls that would alter the target."""

    changes: list[str] = field(default_factory=list)

    def connection(self) -> Connection:
        return cast("Connection", _EmptyCloud(self.changes, "connection"))

    def look(self, what: str, ask: Callable[[], Found]) -> Found:  # noqa: ARG002 - nobody else asks
        return ask()

    def claim(self, service: str, quota: str, amount: int, *, once: str = "", passing: bool = False) -> None:
        """Take it: what has nothing has no quotas either."""

    def data_size(self, resource: Resource, data: BankData) -> int:  # noqa: ARG002 - however large
        return 0

    def finding(self, field: str, found: str, mend: str = "") -> None:
        """Take it: an empty cloud has much to tell."""

    def problem(self, field: str, found: str, mend: str) -> None:
        """Take it: the same."""


@dataclass
class _EmptyCloud:
    """Stands for openstacksdk's connection, its services and their methods, of which each finds nothing.

    Requests that are no methods of openstacksdk, such as ``image.get("/info/usage")``, are answered by 404.
    """

    _changes: list[str]
    _name: str

    def __getattr__(self, name: str) -> _EmptyCloud:
        return _EmptyCloud(self._changes, f"{self._name}.{name}")

    def __call__(self, *_: object, **__: object) -> list[Any] | Response | None:
        method = self._name.rpartition(".")[2]
        if _CHANGE.fullmatch(method):
            self._changes.append(self._name)
        if method in _REQUESTS:
            return _not_found()
        return None if method.startswith(("find_", "get_")) else []


def _not_found() -> Response:
    from requests import Response

    response = Response()
    response.status_code = HTTPStatus.NOT_FOUND
    return response
