"""Definition data: what a bank holds of single resources, read in bulk and parsed by the plugins' models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import cast

from pydantic import BaseModel, ValidationError

from restore_worker.bank import Bank, Value, read_each
from restore_worker.checkpoint import first_error, parse_json
from restore_worker.errors import BankError, CheckpointError
from restore_worker.registry import Registry
from restore_worker.resource import ResourceKey

# What all metadata of one plan may have, in bytes: those of 10,000 servers have 20 MiB. Parsed they take more.
_LIMIT = 64 * 2**20


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
        self._checkpoint_id = checkpoint_id
        self._base = f"checkpoints/{checkpoint_id}/resource-data"
        self._registry = registry
        self._tell = tell
        self._known: dict[ResourceKey, BaseModel | None] = {}
        # Of all metadata that were read.
        self._bytes = 0
        # Readers are several threads; a document may take thirty times as much memory as its bytes do.
        self._one_by_one = threading.Lock()

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
        places = {f"{self._base}/{key.id}/{name}": (key, name) for key in wanted for name in names}

        def take(place: str, found: Value | BankError) -> BaseModel | _UnusableError | None:
            key, name = places[place]
            try:
                if name == "metadata":
                    return self._parsed(wanted[key], found)
                _check_status(found)
            except _UnusableError as error:
                return error
            return None

        taken = read_each(self._bank, places, take)
        for key in wanted:
            found = [taken[f"{self._base}/{key.id}/{name}"] for name in names]
            errors = [each for each in found if isinstance(each, _UnusableError)]
            if errors:
                self._tell(key, errors[0].field, str(errors[0]))
            else:
                self._known[key] = cast("BaseModel", found[1])

    def _parsed(self, model: type[BaseModel], found: Value | BankError) -> BaseModel:
        data = _bytes(found, "metadata")
        with self._one_by_one:
            self._bytes += len(data)
            if self._bytes > _LIMIT:
                raise CheckpointError(
                    f"checkpoint {self._checkpoint_id}: the metadata of its resources has more than {_LIMIT} "
                    "bytes in all: restore in parts, with --resource, or another checkpoint if this one is damaged"
                )
            return _parse(model, data)


class _UnusableError(CheckpointError):
    """A resource's data in the bank is unusable."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _bytes(found: Value | BankError, name: str) -> bytes:
    if isinstance(found, BankError):
        raise _UnusableError(name, str(found))
    return found.data


def _check_status(found: Value | BankError) -> None:
    # Python 2 could write the word as JSON, with quotes.
    status = _bytes(found, "status").decode("utf-8", "replace").strip().strip('"')
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
