"""Definition data: what a bank holds of single resources, read in bulk and parsed by the plugins' models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pydantic import BaseModel, ValidationError

from restore_worker.bank import Bank, Value, read_many
from restore_worker.checkpoint import first_error, parse_json
from restore_worker.errors import BankError, CheckpointError
from restore_worker.registry import Registry
from restore_worker.resource import ResourceKey


class Definitions:
    """The parsed metadata of a checkpoint's resources, read when first asked for.

    tell: is called with (resource, field, message) for each resource whose data is unusable.
    """

    def __init__(
        self,
        bank: Bank,
        checkpoint_id: str,
        registry: Registry,
        tell: Callable[[ResourceKey, str, str], None],
    ) -> None:
        self._bank = bank
        self._base = f"checkpoints/{checkpoint_id}/resource-data"
        self._registry = registry
        self._tell = tell
        self._known: dict[ResourceKey, BaseModel | None] = {}

    def get(self, key: ResourceKey) -> BaseModel | None:
        """Return the metadata of a resource; None if its type keeps none, or it is unusable."""
        self.load([key])
        return self._known[key]

    def load(self, keys: Iterable[ResourceKey]) -> None:
        """Read many at once."""
        wanted: dict[ResourceKey, type[BaseModel]] = {}
        for key in keys:
            if key in self._known:
                continue
            self._known[key] = None
            plugin = self._registry.get(key.type)
            if plugin is None:
                types = ", ".join(self._registry.types)
                self._tell(key, "", f"no plugin restores this type; the installed ones restore {types}")
            elif plugin.Definition is not None:
                wanted[key] = plugin.Definition
        names = ("status", "metadata")
        found = read_many(self._bank, [f"{self._base}/{key.id}/{name}" for key in wanted for name in names])
        for key, model in wanted.items():
            status, metadata = (f"{self._base}/{key.id}/{name}" for name in names)
            try:
                _check_status(_bytes(found, status))
                self._known[key] = _parse(model, _bytes(found, metadata))
            except _UnusableError as error:
                self._tell(key, error.field, str(error))


class _UnusableError(CheckpointError):
    """A resource's data in the bank is unusable."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _bytes(found: Mapping[str, Value | BankError], key: str) -> bytes:
    value = found[key]
    if isinstance(value, BankError):
        raise _UnusableError(key.rsplit("/", 1)[-1], str(value))
    return value.data


def _check_status(data: bytes) -> None:
    # Python 2 could write the word as JSON, with quotes.
    status = data.decode("utf-8", "replace").strip().strip('"')
    if status != "available":
        raise _UnusableError("status", f"it is {status[:40]!r}, and only 'available' data can be restored")


def _parse(model: type[BaseModel], data: bytes) -> BaseModel:
    try:
        return model.model_validate(parse_json(data, "it"))
    except ValidationError as error:
        name, message = first_error(error)
        raise _UnusableError(f"metadata.{name}" if name else "metadata", message) from None
    except CheckpointError as error:
        raise _UnusableError("metadata", str(error)) from None
    except Exception as error:
        raise _UnusableError("metadata", f"its plugin's model broke: {error!r}") from error
