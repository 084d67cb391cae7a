"""The contract of a restore plugin: one class a resource type.

A plugin is asked in this order:

1. at submit (or plan), in the caller's process, pure and without any cloud (but see `Selection.target`):
   `Definition` parses the resource's metadata, `Parameters` what the user sets for it,
   `implied_dependencies` names what the graph forgot, `prepare` makes up its mind and tells `Report` what
   cannot be carried over or is wrong, `produces` and `data` say how it will be built;
2. before anything is built, in the caller's process and again in a worker: `check` looks whether the target has
   what the resource will name;
3. in a worker, once all it depends on is restored: `restore` puts fragments into the template;
4. when a restore is to be destroyed: `discard` undoes what `restore` built directly.

Plugins are found by the entry-point group ``restore_worker.plugins``.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from restore_worker.resource import Resource, ResourceKey
from restore_worker.sitemap import Kind, PolicyKind, SiteMap
from restore_worker.template import HeatTemplate

if TYPE_CHECKING:
    from openstack.connection import Connection


class Definition(BaseModel):
    """Base of models of what a bank holds: strict, frozen, with a limit for texts; further fields are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", populate_by_name=True, str_max_length=65536
    )


class Parameters(BaseModel):
    """Base of models of what a user may set at restore: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParameters(Parameters):
    """For types that take none."""


P = TypeVar("P", bound=Parameters)
# What restore() works from; written by prepare, carried to the worker as JSON.
W = TypeVar("W", bound=BaseModel)
D = TypeVar("D", bound=Definition)
Found = TypeVar("Found")


class Produces(enum.Enum):
    """How a resource comes back."""

    # Nothing is built: the node only groups others.
    NOTHING = "nothing"
    # Heat builds it.
    RESOURCE = "resource"
    # The plugin builds it before the stack, and puts its id.
    PARAMETER = "parameter"


@dataclass(frozen=True, slots=True)
class BankData:
    """Bytes of a resource in the bank: chunks ``data_1`` to ``data_<chunks>``.

    chunks: how many there must be; None if the metadata does not say (before 2017).
    checksum: MD5 of their concatenation, lower-case hex.
    """

    chunks: int | None
    checksum: str


class Report(Protocol):
    """Where `prepare` and `check` tell what a person must know, about one resource."""

    def finding(self, field: str, found: str, mend: str = "") -> None:
        """Tell what comes back differently or not at all, and what would change that; the restore goes on."""

    def problem(self, field: str, found: str, mend: str) -> None:
        """Tell what makes the restore impossible, and what to do; it is refused.

        People read ``found: mend``; programs get both apart.
        """


class Mapped(NamedTuple):
    """What a user wants in the place of an old value, and where that was said."""

    value: str
    rule: str


class Selection(Protocol):
    """What is to be restored, as `implied_dependencies` and `prepare` see it."""

    def find(self, resource_type: str) -> Iterable[Resource]:
        """Return the resources of that type in the checkpoint, chosen or not."""

    def chosen(self, key: ResourceKey) -> bool:
        """Say whether the resource is restored."""

    def implied(self, key: ResourceKey) -> bool:
        """Say whether the resource is restored only since a plugin named it among its implied dependencies."""

    def children(self, key: ResourceKey) -> Iterable[Resource]:
        """Return what the resource depends on, in the graph's order."""

    def parents(self, key: ResourceKey) -> Iterable[Resource]:
        """Return the chosen resources that depend on it, in the graph's order; only `prepare` may ask."""

    def definition(self, key: ResourceKey) -> Any:
        """Return the parsed metadata of a resource, None if it has none or it is broken (told elsewhere)."""

    def parameters(self, key: ResourceKey) -> Any:
        """Return the parsed parameters of a resource, as its plugin's `Parameters`."""

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
        """Return what takes the place of an old value, as a parameter or else the site map says; None if neither.

        A value that the site map changes is told as a change: it needs no finding. Only `prepare` may ask.

        kind: the section of the site map.
        original: the old value, None if the bank does not tell it.
        resource: whose field it is. Of a composite it may be a part: a Resource made of the part's type, id and
            name, which is what conditions are compared with.
        also: other names of the same thing, by which the site map may call it.
        properties: what conditions may ask for by name, besides the resource's extra_info.
        parameter: name of the parameter of this resource that goes before the site map; its value may be "".
        """

    def note_backup(self, backup_id: str, record: str | None) -> None:
        """Tell the draft of a site map that the target lacks a Cinder backup. record: None if nobody told it."""

    def policy(self, kind: PolicyKind) -> str | None:
        """Return what the site map wants where `mapped` is None; None: do what is done without a site map."""

    def by_policy(
        self, kind: PolicyKind, resource: Resource, field: str, before: str | None, after: str | None
    ) -> None:
        """Tell what came of a policy, as a change."""

    @property
    def site_map(self) -> SiteMap:
        """The whole site map, for what it says besides rules; an empty one if none is given."""

    @property
    def target(self) -> Target | None:
        """The target, read only, for policies that choose among what it has; None if it is not asked."""

    @property
    def source(self) -> Target | None:
        """The cloud that the checkpoint was made in, read only; None unless the user names it."""

    def named(self, name: str, report: Report, field: str = "name") -> str:
        """Return the name that a resource, or a part of it, gets in the place of the original ``name``.

        Not for what the user names, nor for what is on the target already. What has no name gets none; one that
        becomes too long is told as a problem of ``field``.
        """


class Target(Protocol):
    """The target as `check` sees it: read only."""

    def connection(self) -> Connection:
        """Return openstacksdk's connection to the target."""

    def look(self, what: str, ask: Callable[[], Found]) -> Found:
        """Return what ``ask`` answers, asked once for all resources of the restore.

        what: names the question, such as ``flavor m1.small``.
        """

    def claim(self, service: str, quota: str, amount: int, *, once: str = "", passing: bool = False) -> None:
        """Note that the resource needs so much of a quota: what all of them need too much of is told at the end.

        service: ``compute``, ``volume``, ``network`` or ``image``.
        quota: such as ``cores``, ``gigabytes_ssd``, ``security_group_rules`` or ``image_size_total``.
        once: names what several resources need but once, such as ``key pair web``.
        passing: it is given back before the next one needs it, so that the largest counts.
        """

    def data_size(self, resource: Resource, data: BankData) -> int:
        """Return how many bytes the resource's chunks have in the bank; as JSON text they are longer."""


class Context(Protocol):
    """What `restore` may use besides the template."""

    @property
    def restore_id(self) -> str:
        """Id of the restore, "" in a rendering that no worker does."""

    @property
    def rendering(self) -> bool:
        """True if nothing is built: there is no cloud."""

    def connection(self) -> Connection:
        """Return openstacksdk's connection to the target; CloudError in a rendering."""

    def read_data(self) -> Iterator[bytes]:
        """Yield the resource's bytes (`RestorePlugin.data`); DamagedDataError at the end unless they are whole."""

    def once(self, key: str, create: Callable[[], str], find: Callable[[], str | None]) -> str | None:
        """Return the physical id of what is built directly, the same however often the task runs.

        key: names the thing among those of this resource.
        create: builds it and returns its physical id at once, without waiting until it is ready.
        find: returns the id of what an earlier run made but could not note, by a tag or name that holds
            `restore_id`; None if there is none.
        In a rendering nothing is called and None comes back.
        """

    def check_ours(self) -> None:
        """Raise unless the resource is still this worker's: ask before deleting what another may have made."""

    def gone(self, key: str) -> None:
        """Note that what was built under ``key`` is deleted: `once` would build it again."""


class StillBuilding(Exception):  # noqa: N818 - a signal, not an error
    """Raised by `restore` while what it builds is not there yet; it is called again later.

    after: seconds until then.
    reason: what is waited for, for people.
    """

    def __init__(self, reason: str, after: float = 5.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class RestorePlugin(ABC, Generic[D, P, W]):
    """Restores the resources of one type."""

    resource_type: ClassVar[str]
    # Model of the metadata in the bank; None for types that keep none.
    Definition: ClassVar[type[BaseModel] | None]
    Parameters: ClassVar[type[BaseModel]] = NoParameters
    # Model of what `prepare` returns.
    Work: ClassVar[type[BaseModel]]
    # What no restore of this type can bring back since the bank lacks it: pairs of (field, reason).
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = ()
    # How often a resource of this type is tried before it fails for good; None: as the deployment's settings say.
    max_attempts: ClassVar[int | None] = None
    # Whether what it restores can live beside its living original without touching it. If that takes something,
    # its Parameters have ``isolated: bool``, which is true then. Drills refuse the types of all others.
    isolates: ClassVar[bool] = False

    def implied_dependencies(self, resource: Resource, selection: Selection) -> Iterable[ResourceKey]:  # noqa: ARG002 - for those that override it
        """Return resources that must be restored first though the graph has no edge to them."""
        return ()

    @abstractmethod
    def prepare(self, resource: Resource, definition: D, parameters: P, selection: Selection, report: Report) -> W:
        """Return all that `restore` will need, joined and pruned; pure, tells `report` what is amiss."""

    @abstractmethod
    def produces(self, work: W) -> Produces:
        """Say how the resource itself comes back."""

    def data(self, work: W) -> BankData | None:  # noqa: ARG002 - the same
        """Return the bytes in the bank that `restore` moves, None if there are none.

        With data the task runs on the queue ``transfer``, submit checks that the chunks are there, and a
        rendering reads them and compares the checksum.
        """
        return None

    def check(self, resource: Resource, work: W, target: Target, report: Report) -> None:
        """Tell ``report`` of all that `restore` or Heat will look for on the target and not find; changes nothing.

        Runs before anything of the restore is built, and not in a rendering.
        """

    @abstractmethod
    def restore(self, resource: Resource, work: W, template: HeatTemplate, context: Context) -> None:
        """Put the fragments of the resource into the template, building first what Heat cannot.

        Runs at least once, maybe several times, maybe twice at the same time. Raises `StillBuilding` while
        something is under way, a `Retriable` error to be called again, any other error to fail for good.
        """

    def clear(self, physical_id: str, connection: Connection) -> None:
        """Delete what Heat would leave lying of a resource that it could not build, and will build anew.

        Raises a Retriable error while that cannot be deleted yet.
        """

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Undo what `restore` built directly: physical ids by the keys given to `Context.once`."""
