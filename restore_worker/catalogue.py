"""Which checkpoints a bank has: by its ``checkpoints/``, by its ``indices/``, and by the names that users give.

The checkpoint id in the *name* of an index file (``<timestamp>@<id>``) counts, never what the file holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from itertools import islice
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restore_worker.bank import Bank, Value, is_key, read_each, read_many
from restore_worker.checkpoint import first_error
from restore_worker.errors import BankError, CheckpointError, MissingObjectError

# The status of a checkpoint that can be restored.
_AVAILABLE = "available"
# Karbor takes the index files of a deleted checkpoint away and leaves its index.json.
_DELETED = "deleted"
# So many index.json are read in one go.
_BATCH = 64
_INDEX_NAME = re.compile(r"([0-9]{1,12})@(.+)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FORMS = "write an id, latest, latest:PLAN or PLAN@2020-03-05T12:00"


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", str_max_length=255)


class _Plan(_Model):
    id: str
    name: str | None = None


class _Header(_Model):
    """What a listing needs of index.json; the rest is for `restore_worker.checkpoint`."""

    status: str
    provider_id: str
    project_id: str
    protection_plan: _Plan
    created_at: str
    # Seconds since 1970, up to the year 9999.
    timestamp: Annotated[int, Field(ge=0, le=253402300799)]


@dataclass(frozen=True, slots=True)
class CheckpointEntry:
    """A checkpoint as far as a listing shows it.

    plan_name: "" if the plan has none.
    created: in UTC.
    index_keys: the index files that Karbor writes for it.
    """

    id: str
    plan_id: str
    plan_name: str
    project_id: str
    provider_id: str
    status: str
    created: datetime
    index_keys: frozenset[str]

    def __str__(self) -> str:
        created = f"{self.created:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.id} (plan {self.plan_name or self.plan_id!r}, {self.status}, {created})"


@dataclass(frozen=True, slots=True)
class Listing:
    """Checkpoints, newest first.

    disagreements: one sentence for each place where ``indices/`` and ``checkpoints/`` contradict each other or
        cannot be read; of the whole bank, whatever was asked for.
    """

    entries: tuple[CheckpointEntry, ...]
    disagreements: tuple[str, ...]


def list_checkpoints(
    bank: Bank,
    *,
    plan: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    status: str | None = None,
) -> Listing:
    """Return the checkpoints of a bank, and where its indices are wrong.

    plan: only those of the plan with this id or name.
    since, until: only those made at or after, at or before; with a time zone.
    status: only those in this status, such as ``available``.
    Raises BankError if the bank cannot be listed.
    """
    entries: dict[str, CheckpointEntry] = {}
    disagreements = []
    ids = sorted(bank.folders("checkpoints"))
    for batch in _batches(ids, _BATCH):
        for checkpoint_id, entry in _read(bank, batch).items():
            if isinstance(entry, str):
                disagreements.append(entry)
            else:
                entries[checkpoint_id] = entry
    disagreements += _disagreements(bank, set(ids), entries)
    chosen = [
        entry
        for entry in entries.values()
        if plan in (None, entry.plan_id, entry.plan_name)
        and (since is None or entry.created >= since)
        and (until is None or entry.created <= until)
        and status in (None, entry.status)
    ]
    chosen.sort(key=lambda entry: (entry.created, entry.id), reverse=True)
    return Listing(tuple(chosen), tuple(disagreements))


def resolve(bank: Bank, name: str) -> str:
    """Return the id of the checkpoint that a user names.

    name: an id, ``latest``, ``latest:PLAN``, or ``PLAN@TIME`` for the newest at or before that time (UTC); PLAN
        is a plan's id or name. All but an id mean available checkpoints only, and trust ``indices/`` unless
        there is nothing in it.
    Raises CheckpointError that says what there is if nothing fits.
    """
    latest, _, plan = name.partition("latest:")
    dated, _, moment = name.rpartition("@")
    if name == "latest":
        found = _newest(bank, None)
    elif plan and not latest:
        found = _newest(bank, plan)
    elif dated and _DATE.match(moment):
        found = _newest(bank, dated, parse_time(moment, end_of_day=True))
    else:
        found = name if _exists(bank, name) else None
    if found is None:
        newest = "; ".join(map(str, islice(_newest_first(bank, None, None), 5)))
        there = f"its newest are {newest}" if newest else "it has none at all"
        raise CheckpointError(f"the bank {bank.url} has no checkpoint for {name!r} ({_FORMS}): {there}")
    return found


def parse_time(text: str, *, end_of_day: bool = False) -> datetime:
    """Return the moment that a user wrote in ISO 8601, UTC unless it says otherwise.

    end_of_day: a date alone means its last moment, else its first.
    Raises CheckpointError if it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
        if end_of_day and _DATE.fullmatch(text):
            moment = datetime.combine(moment, time.max)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{text!r} is not a time: write 2020-03-05, 2020-03-05T12:00 or 2020-03-05T12:00:30Z (UTC)"
        ) from error


def _exists(bank: Bank, name: str) -> bool:
    if not is_key(name) or "/" in name:
        return False
    try:
        bank.stat(f"checkpoints/{name}/index.json")
    except MissingObjectError:
        return False
    return True


def _newest(bank: Bank, plan: str | None, until: datetime | None = None) -> str | None:
    for entry in _newest_first(bank, plan, until):
        if (
            entry.status == _AVAILABLE
            and plan in (None, entry.plan_id, entry.plan_name)
            and (until is None or entry.created <= until)
        ):
            return entry.id
    return None


def _newest_first(bank: Bank, plan: str | None, until: datetime | None) -> Iterator[CheckpointEntry]:
    """Yield the checkpoints that can be read, reading hardly more of them than are taken.

    plan, until: leave out what its place in the indices shows to be of another plan, or newer.
    """
    index = _index(bank, f"indices/by-plan/{plan}") if plan and is_key(plan) else {}
    index = index or _index(bank, "indices")
    if not index:
        yield from list_checkpoints(bank).entries
        return
    newest_first = sorted(index, key=lambda checkpoint_id: (index[checkpoint_id], checkpoint_id), reverse=True)
    latest = until.timestamp() if until else float("inf")
    ids = [checkpoint_id for checkpoint_id in newest_first if index[checkpoint_id] <= latest]
    for batch in _batches(ids, 1):
        yield from (entry for entry in _read(bank, batch).values() if isinstance(entry, CheckpointEntry))


def _index(bank: Bank, folder: str) -> dict[str, int]:
    """Return when each checkpoint was made, in seconds since 1970, as the names of index files have it."""
    names = (_INDEX_NAME.fullmatch(key.rpartition("/")[2]) for key in bank.list(folder))
    return {name[2]: int(name[1]) for name in names if name}


def _read(bank: Bank, ids: Sequence[str]) -> dict[str, CheckpointEntry | str]:
    """Return each checkpoint, or a sentence that says why it cannot be read."""
    ids_by_key = {f"checkpoints/{checkpoint_id}/index.json": checkpoint_id for checkpoint_id in ids}
    found = read_each(bank, ids_by_key, lambda key, value: _entry(ids_by_key[key], value))
    return {checkpoint_id: found[key] for key, checkpoint_id in ids_by_key.items()}


def _entry(checkpoint_id: str, value: Value | BankError) -> CheckpointEntry | str:
    if isinstance(value, MissingObjectError):
        return f"checkpoint {checkpoint_id} has no index.json"
    if isinstance(value, BankError):
        return f"checkpoint {checkpoint_id} cannot be read: {value}"
    try:
        header = _Header.model_validate_json(value.data)
    except ValidationError as error:
        field, message = first_error(error)
        where = f", field {field}" if field else ""
        return f"checkpoint {checkpoint_id} has an unusable index.json{where}: {message}"
    plan, name = header.protection_plan, f"{header.timestamp}@{checkpoint_id}"
    return CheckpointEntry(
        id=checkpoint_id,
        plan_id=plan.id,
        plan_name=plan.name or "",
        project_id=header.project_id,
        provider_id=header.provider_id,
        status=header.status,
        created=datetime.fromtimestamp(header.timestamp, UTC),
        index_keys=frozenset(
            {
                f"indices/by-provider/{header.provider_id}/{header.project_id}/{name}",
                f"indices/by-date/{header.created_at}/{header.project_id}/{name}",
                f"indices/by-plan/{plan.id}/{header.project_id}/{header.created_at}/{name}",
            }
        ),
    )


def _disagreements(bank: Bank, ids: Collection[str], entries: Mapping[str, CheckpointEntry]) -> Iterator[str]:
    """Yield where the indices do not fit: ``ids`` are under checkpoints/, ``entries`` could be read."""
    named: dict[str, set[str]] = {}
    for key in sorted(bank.list("indices")):
        if name := _INDEX_NAME.fullmatch(key.rpartition("/")[2]):
            named.setdefault(name[2], set()).add(key)
        else:
            yield f"{key} is not named <timestamp>@<checkpoint id>, as index files are"
    for checkpoint_id in sorted(named.keys() - ids):
        yield f"checkpoint {checkpoint_id} is gone, but named by {_joined(named[checkpoint_id])}"
    for entry in entries.values():
        there = named.get(entry.id, set())
        due = frozenset() if entry.status == _DELETED else entry.index_keys
        if missing := due - there:
            yield f"checkpoint {entry.id} ({entry.status}) is not in the indices as {_joined(missing)}"
        if surplus := there - due:
            yield f"checkpoint {entry.id} ({entry.status}) should not be in the indices as {_joined(surplus)}"
    yield from _wrong_contents(
        bank, {key: checkpoint_id for checkpoint_id in named for key in named[checkpoint_id]}
    )


def _wrong_contents(bank: Bank, ids: Mapping[str, str]) -> Iterator[str]:
    """Yield which index files do not hold the id in their name; ``ids`` by key."""
    for batch in _batches(sorted(ids), _BATCH):
        for key, value in read_many(bank, batch).items():
            if isinstance(value, BankError):
                yield f"an index file cannot be read: {value}"
            # Karbor on Python 2 could write the id with quotes.
            elif value.data.strip(b'"') != ids[key].encode():
                yield f"{key} holds {value.data[:80]!r} instead of the id in its name"


def _joined(keys: Iterable[str]) -> str:
    return " and ".join(sorted(keys))


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut into batches that grow from ``size`` on, so that who wants only the first few reads only a few."""
    start = 0
    while start < len(items):
        yield items[start : start + size]
        start, size = start + size, min(4 * size, _BATCH)
