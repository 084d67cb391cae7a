"""What the ledger holds, for all to read; the key map is in `restore_worker.ledger`, which writes it."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.exceptions import AuthenticationError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.sentinel import MasterNotFoundError

from restore_worker.cut import Limits
from restore_worker.entries import Event, News, Node, Priority, ResourceProgress, RestoreRecord, Standing
from restore_worker.errors import LedgerError, LedgerUnavailableError, UnknownRestoreError
from restore_worker.hot import Borrowed, Hot
from restore_worker.states import ResourceState, RestoreState
from restore_worker.template import Fragment, load_fragment

RESTORES = "restores"
DUE = "restores:due"
FOLLOWED = "restores:followed"
DRILLS = "restores:drills"
NEWS = "restores:news"
RECONCILED = "restores:reconciled"
# A call that blocks is answered well before the client gives its connection up, in seconds.
_LONGEST_BLOCK = 5.0
_KEYS = (
    *("record", "progress", "parents", "nodes", "work", "fragments", "owners", "made", "events"),
    *("stack", "built"),
)
# So a Redis refuses writes whose disk is full, or whose replicas are away, as while one takes over. redis-py has
# no errors of their own for these, and of a script the code may stand within the message.
_PASSING = ("MISCONF", "NOREPLICAS")
# Resources whose work is read in one go.
_BATCH = 500


class LedgerReader:
    """All restores of one Redis.

    client: decodes responses.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def get(self, restore_id: str) -> RestoreRecord:
        """Return a restore as it stands; UnknownRestoreError if there is none."""
        names = [each.name for each in dataclasses.fields(RestoreRecord) if each.name != "id"]
        with translated():
            values = cast("list[str | None]", self._client.hmget(keys_of(restore_id)["record"], names))
        if values[0] is None:
            raise UnknownRestoreError(f"there is no restore {restore_id!r} (restore-worker list shows all)")
        # What a restore of an earlier version lacks is "".
        fields = {name: value or "" for name, value in zip(names, values, strict=True)}
        return RestoreRecord(
            id=restore_id,
            checkpoint=fields["checkpoint"],
            plan=fields["plan"],
            bank=fields["bank"],
            digest=fields["digest"],
            cloud=fields["cloud"],
            identity=fields["identity"],
            wants_stack=fields["wants_stack"] == "1",
            description=fields["description"],
            state=RestoreState(fields["state"]),
            reason=fields["reason"],
            created=_time(fields["created"]),
            updated=_time(fields["updated"]),
            epoch=int(fields["epoch"]),
            size=int(fields["size"]),
            left=int(fields["left"]),
            failed=int(fields["failed"]),
            types=tuple(fields["types"].split(",")),
            discarded=bool(fields["discarded"]),
            fingerprint=fields["fingerprint"],
            key=fields["key"],
            allow_projects=tuple(json.loads(allowed)) if (allowed := fields["allow_projects"]) else None,
            ttl=int(fields["ttl"] or 0),
            leaving=bool(fields["leaving"]),
            limits=Limits(*json.loads(limits)) if (limits := fields["limits"]) else None,
            cut=tuple(tuple(each) for each in json.loads(fields["cut"] or "[]")),
            priority=priority_of(fields["priority"]),
        )

    def restores(self) -> Iterator[RestoreRecord]:
        """Yield all restores, newest first; those that have expired are forgotten on the way."""
        with translated():
            ids = cast("list[str]", self._client.zrevrange(RESTORES, 0, -1))
        for restore_id in ids:
            try:
                yield self.get(restore_id)
            except UnknownRestoreError:
                with translated():
                    self._client.zrem(RESTORES, restore_id)

    def standings(self) -> list[Standing]:
        """Return all restores in a few words, newest first."""
        with translated():
            ids = cast("list[str]", self._client.zrevrange(RESTORES, 0, -1))
            reading = self._client.pipeline(transaction=False)
            for restore_id in ids:
                reading.hmget(keys_of(restore_id)["record"], ("state", "plan", "created", "updated"))
            answers = reading.execute()
        return [
            Standing(restore_id, RestoreState(state), plan or "", _time(created), _time(updated))
            for restore_id, (state, plan, created, updated) in zip(ids, answers, strict=True)
            # One that has just expired has none.
            if state
        ]

    def resources(self, restore_id: str) -> list[ResourceProgress]:
        """Return all resources of a restore, by index."""
        keys = keys_of(restore_id)
        with translated():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(keys["nodes"])
            pipeline.hgetall(keys["progress"])
            nodes, fields = pipeline.execute()
        return [
            ResourceProgress(
                node=node_of(index, nodes[str(index)]),
                state=ResourceState(fields[f"{index}.state"]),
                attempts=int(fields.get(f"{index}.attempts", 0)),
                reason=fields.get(f"{index}.reason", ""),
                worker=fields.get(f"{index}.worker", ""),
                until=_time(fields[f"{index}.until"]) if f"{index}.until" in fields else None,
                started=_time(fields[f"{index}.started"]) if f"{index}.started" in fields else None,
                ended=_time(fields[f"{index}.ended"]) if f"{index}.ended" in fields else None,
                bytes=int(fields[f"{index}.bytes"]) if f"{index}.bytes" in fields else None,
            )
            for index in sorted(map(int, nodes))
        ]

    def children(self, restore_id: str) -> dict[int, list[int]]:
        """Return by index what a resource depends on, of those that depend on something."""
        with translated():
            found = cast("dict[str, str]", self._client.hgetall(keys_of(restore_id)["parents"]))
        children: dict[int, list[int]] = {}
        for child, parents in sorted(found.items(), key=lambda each: int(each[0])):
            for parent in filter(None, parents.split(",")):
                children.setdefault(int(parent), []).append(int(child))
        return children

    def templates(self, restore_id: str) -> tuple[Hot, ...]:
        """Return the templates, none if there are none (yet, or since there is nothing for Heat to build)."""
        found = (self.template(restore_id, number) for number in self.get(restore_id).stacks)
        return tuple(each for each in found if each is not None)

    def template(self, restore_id: str, number: int = 0) -> Hot | None:
        """Return a template by its number, None if there is none."""
        with translated():
            text = cast("str | None", self._client.hget(keys_of(restore_id)["record"], hot_field(number)))
        if text is None:
            return None
        fields = json.loads(text)
        # One of an earlier version says nothing of others.
        return Hot(
            text=fields["text"],
            values=fields["values"],
            open_parameters=tuple(fields["open_parameters"]),
            resources=fields["resources"],
            number=number,
            waits_for=tuple(fields.get("waits_for", ())),
            borrowed={name: Borrowed(*each) for name, each in fields.get("borrowed", {}).items()},
        )

    def findings(self, restore_id: str) -> str:
        """Return what submit wrote down of findings, as JSON."""
        with translated():
            return cast("str", self._client.hget(keys_of(restore_id)["record"], "findings") or "[]")

    def changes(self, restore_id: str) -> str:
        """Return what submit wrote down of the site map's changes, as JSON."""
        with translated():
            return cast("str", self._client.hget(keys_of(restore_id)["record"], "changes") or "[]")

    def events(self, restore_id: str, after: str = "0-0", wait: float | None = None) -> list[Event]:
        """Return what happened after an event's id; wait: seconds to wait for something, None not to."""
        deadline = time.monotonic() + (wait or 0)
        while not (entries := self._entries(keys_of(restore_id)["events"], after, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                return []
        return [
            Event(
                id=event_id,
                time=_time(int(event_id.split("-")[0]) / 1000),
                name=fields.pop("event"),
                index=int(index) if (index := fields.pop("resource")) else None,
                details=fields,
            )
            for event_id, fields in entries
        ]

    def _entries(self, stream: str, after: str, wait: float) -> list[Any]:
        block = None if wait <= 0 else max(1, int(min(wait, _LONGEST_BLOCK) * 1000))
        with translated():
            found = cast("Any", self._client.xread({stream: after}, block=block))
        # A mapping or a list of pairs, as the client's protocol is.
        return [entry for _, entries in dict(found or ()).items() for entry in entries]

    def work(self, restore_id: str) -> Iterator[tuple[ResourceProgress, str]]:
        """Yield all resources of a restore with what their plugins work from, by index."""
        resources = self.resources(restore_id)
        for start in range(0, len(resources), _BATCH):
            batch = resources[start : start + _BATCH]
            with translated():
                indices = [str(each.node.index) for each in batch]
                work = cast("list[str]", self._client.hmget(keys_of(restore_id)["work"], indices))
            yield from zip(batch, work, strict=True)

    def all_made(self, restore_id: str) -> dict[int, dict[str, str]]:
        """Return what was built directly: physical ids by key, by index."""
        with translated():
            found = cast("dict[str, str]", self._client.hgetall(keys_of(restore_id)["made"]))
        made: dict[int, dict[str, str]] = {}
        for place, physical_id in sorted(found.items()):
            index, key = place.split("/", 1)
            made.setdefault(int(index), {})[key] = physical_id
        return made

    def made(self, restore_id: str, index: int, key: str) -> str | None:
        """Return the physical id that was noted, None if there is none."""
        with translated():
            return cast("str | None", self._client.hget(keys_of(restore_id)["made"], f"{index}/{key}"))

    def fragment(self, restore_id: str, original_id: str) -> Fragment | None:
        """Return what was put under an original id."""
        with translated():
            text = cast("str | None", self._client.hget(keys_of(restore_id)["fragments"], original_id))
        return None if text is None else load_fragment(text)

    def fragments(self, restore_id: str) -> dict[str, Fragment]:
        """Return all fragments by original id."""
        with translated():
            found = cast("dict[str, str]", self._client.hgetall(keys_of(restore_id)["fragments"]))
        return {original_id: load_fragment(text) for original_id, text in found.items()}

    def sent(self, restore_id: str, index: int) -> str:
        """Return when a resource's message was last sent, in seconds since 1970; "0" if it never was."""
        with translated():
            return cast("str | None", self._client.hget(keys_of(restore_id)["progress"], f"{index}.sent")) or "0"

    def news(self) -> list[News]:
        """Return all that is still to be told, the next first."""
        with translated():
            return [news_of(each) for each in cast("list[str]", self._client.zrange(NEWS, 0, -1))]

    def drills(self) -> list[str]:
        """Return the ids of the drills that may not be deleted yet."""
        with translated():
            return sorted(cast("set[str]", self._client.smembers(DRILLS)))

    def unreconciled_seconds(self) -> float | None:
        """Return how long ago the reconciler last ran, None if it never did."""
        with translated():
            last = cast("str | None", self._client.get(RECONCILED))
        return None if last is None else self._now() - float(last)

    def overdue(self, limit: int = 1000) -> list[tuple[str, int | None]]:
        """Return restore ids with the index of a resource, or None for the restore itself, worth a look."""
        with translated():
            members = cast(
                "list[str]",
                self._client.zrange(DUE, "-inf", cast("Any", self._now()), byscore=True, offset=0, num=limit),
            )
        pairs = (member.rsplit("/", 1) for member in members)
        return [(restore_id, int(index) if index else None) for restore_id, index in pairs]

    def now(self) -> datetime:
        """Return what time it is to the ledger: the clock of all times in it."""
        return _time(self._now())

    def _now(self) -> float:
        with translated():
            seconds, microseconds = self._client.time()
        return seconds + microseconds / 1e6


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises into our errors."""
    try:
        yield
    except AuthenticationError as error:
        # To redis-py it is a lost connection.
        raise LedgerError(f"Redis refuses the login: {error} (RESTORE_REDIS_URL has user and password)") from error
    except MasterNotFoundError as error:
        # What redis-py says of it is long, and says no more.
        raise LedgerUnavailableError(
            "Redis does not answer: no Sentinel that answers and takes the login knows the master"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError, BusyLoadingError) as error:
        raise LedgerUnavailableError(f"Redis does not answer: {error}") from error
    except (ReadOnlyError, OutOfMemoryError) as error:
        # A replica before it takes over, or a Redis that somebody is making room in: that may pass.
        raise LedgerUnavailableError(f"Redis takes no writes now: {error}") from error
    except RedisError as error:
        if any(code in str(error) for code in _PASSING):
            raise LedgerUnavailableError(f"Redis takes no writes now: {error}") from error
        raise LedgerError(f"Redis refused: {error}") from error


@functools.lru_cache(maxsize=64)
def keys_of(restore_id: str) -> dict[str, str]:
    """Return all keys of a restore by what they hold, in the order in which scripts take them."""
    return {name: f"restore:{{{restore_id}}}:{name}" for name in _KEYS}


def hot_field(number: int) -> str:
    """Return where in the record a template is kept, by its number."""
    return f"hot.{number}" if number else "hot"


def node_of(index: int | str, text: str) -> Node:
    """Return the node from its place and the JSON that is kept of it."""
    return Node(int(index), *json.loads(text))


def nodes_of(flat: Sequence[str]) -> list[Node]:
    """Return the nodes from a script's answer, in which places and JSON alternate."""
    return [node_of(index, text) for index, text in zip(flat[::2], flat[1::2], strict=True)]


def priority_of(text: str) -> Priority:
    """Return the priority of a restore; one of an earlier version has none, and its messages are where HIGH is."""
    return Priority(text or Priority.HIGH)


def news_of(member: str) -> News:
    """Return what is to be told from what is kept of it."""
    restore_id, event, seconds, *receiver = member.split("/")
    return News(restore_id, event, seconds, *receiver)


def member_of(news: News) -> str:
    """Return what is kept of something that is to be told."""
    return "/".join(filter(None, (news.restore_id, news.event, news.seconds, news.receiver)))


def _time(seconds: str | float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
