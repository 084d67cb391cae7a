"""What the ledger makes of a real server: keys, their life, threads, lost connections."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from restore_worker import recording, settings
from restore_worker.entries import Built, Claimed, Held, StackLog
from restore_worker.errors import LedgerError, LedgerUnavailableError, UnknownRestoreError
from restore_worker.lease import LeaseKeeper
from restore_worker.ledger import Ledger, connect
from restore_worker.states import FINAL_RESTORE_STATES, ResourceState, RestoreState
from restore_worker.template import HeatResource
from tests.support.processes import wait_until
from tests.support.redis_setups import SAFE, Server, running
from tests.support.restores import LONG, begin, bring, claim, new_restore, record

SHARED = {
    *("restores", "restores:due", "restores:reconciled", "restores:reconciling"),
    *("restores:followed", "restores:polling"),
}
SECOND = 1 / 86400


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


@pytest.fixture
def ledger(client: redis.Redis) -> Ledger:
    return Ledger(client)


def fill(ledger: Ledger) -> str:
    """Return a restore that has something under each of its keys."""
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0)
    ledger.note_made(restore_id, 0, "t", "volume", "physical")
    ledger.settle(restore_id, 0, "t", ResourceState.DONE, fragments={"a": HeatResource("Type::A", {})})
    claim(ledger, restore_id, 1)
    note_stack(ledger, restore_id, RestoreState.RESTORING)
    ledger.reconciling()
    return restore_id


def note_stack(ledger: Ledger, restore_id: str, state: RestoreState) -> None:
    built = Built("server_1", "OS::Nova::Server", "CREATE_COMPLETE", "", "physical")
    assert ledger.stacks.observe(restore_id, state, StackLog("stack-1"), [], [built], seen_before="")


def own_keys(client: redis.Redis, restore_id: str) -> set[str]:
    return {key for key in client.scan_iter() if restore_id in key}


def test_all_keys_of_a_restore_share_one_hash_tag(client: redis.Redis, ledger: Ledger) -> None:
    restore_id = fill(ledger)
    keys = set(client.scan_iter()) - SHARED
    names = ["record", "progress", "parents", "nodes", "work", "fragments", "owners", "made", "events"]
    names += ["stack", "built"]
    assert {key for key in keys if not key.startswith("_kombu")} == {
        f"restore:{{{restore_id}}}:{name}" for name in names
    }
    assert len({client.execute_command("CLUSTER", "KEYSLOT", key) for key in own_keys(client, restore_id)}) == 1


@pytest.mark.parametrize("state", sorted(FINAL_RESTORE_STATES), ids=str)
def test_a_restore_is_forgotten_some_time_after_its_end(client: redis.Redis, state: RestoreState) -> None:
    ledger = Ledger(client, keep_days=SECOND)
    if state is RestoreState.CANCELLED:
        restore_id = fill(ledger)
        ledger.move(restore_id, RestoreState.RESTORING, state)
    else:
        restore_id = bring(ledger, state)
    kept = record(ledger)
    wait_until(lambda: not own_keys(client, restore_id), "all its keys are gone", 10)
    with pytest.raises(UnknownRestoreError):
        ledger.get(restore_id)
    assert [each.id for each in ledger.restores()] == [kept]
    assert client.zrange("restores", 0, -1) == [kept]
    for place in ledger.overdue():
        ledger.look(*place)
    assert own_keys(client, restore_id) == set()


def test_what_a_stopped_restore_still_notes_is_forgotten_with_it(client: redis.Redis) -> None:
    ledger = Ledger(client, keep_days=1)
    restore_id = begin(ledger)
    claim(ledger, restore_id, 0, "first")
    claim(ledger, restore_id, 4, "second")
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    ledger.note_made(restore_id, 0, "first", "volume", "physical")
    ledger.wait(restore_id, 0, "first", 1.0, "reason", counts=True)
    ledger.renew(restore_id, 4, "second", LONG)
    assert all(0 < client.ttl(key) <= 86400 for key in own_keys(client, restore_id))


def test_what_is_seen_of_a_cancelled_stack_is_forgotten_with_it_too(client: redis.Redis) -> None:
    ledger = Ledger(client, keep_days=1)
    restore_id = bring(ledger, RestoreState.CREATING)
    ledger.move(restore_id, RestoreState.CREATING, RestoreState.CANCELLED)
    ledger.stacks.tell(restore_id, RestoreState.CANCELLED, "Heat does not answer")
    note_stack(ledger, restore_id, RestoreState.CANCELLED)
    assert all(0 < client.ttl(key) <= 86400 for key in own_keys(client, restore_id))


@pytest.mark.parametrize("way", ["resume", "destroy"])
def test_a_restore_that_goes_on_stays(client: redis.Redis, way: str) -> None:
    ledger = Ledger(client, keep_days=1)
    restore_id = fill(ledger)
    ledger.move(restore_id, RestoreState.RESTORING, RestoreState.CANCELLED)
    assert {client.ttl(key) > 0 for key in own_keys(client, restore_id)} == {True}
    if way == "resume":
        ledger.resume(restore_id)
    else:
        ledger.move(restore_id, RestoreState.CANCELLED, RestoreState.DESTROYING)
    assert {client.ttl(key) for key in own_keys(client, restore_id)} == {-1}


def test_a_poller_that_died_is_replaced(client: redis.Redis, ledger: Ledger) -> None:
    with ledger.stacks.polling(60) as held:
        assert held
        assert 50_000 < client.pttl("restores:polling") <= 60_000
        # Its time is over: another one has it, and keeps it.
        client.delete("restores:polling")
        with ledger.stacks.polling(60) as other:
            assert other
            with Ledger(client).stacks.polling(60) as third:
                assert not third
    assert not client.exists("restores:polling")


def test_of_many_workers_one_gets_the_resource_and_one_settles_it(ledger: Ledger) -> None:
    restore_id = begin(ledger, ((), (0,)))
    ready = threading.Barrier(8)

    def work(number: int) -> tuple[type, int]:
        ready.wait(10)
        claimed = claim(ledger, restore_id, 0, str(number))
        ready.wait(10)
        try:
            return type(claimed), len(ledger.settle(restore_id, 0, str(number), ResourceState.DONE).released)
        except LedgerError:
            return type(claimed), 0

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert sorted(each[0].__name__ for each in answers) == ["Claimed"] + 7 * ["Held"]
    assert (Claimed, 1) in answers
    assert [each.name for each in ledger.events(restore_id)].count("done") == 1


def test_who_is_always_preceded_gives_up_with_a_word(
    client: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(ledger)
    now, asked = client.time, []

    def preceded() -> object:
        # The clock is asked for between the last look at others and the writing.
        asked.append(client.zadd("restores", {str(uuid.uuid4()): 1}))
        return now()

    monkeypatch.setattr(client, "time", preceded)
    monkeypatch.setattr(recording, "_LONGEST", 0.5)
    with pytest.raises(LedgerUnavailableError, match=r"^others submitted restores without .*: submit it again$"):
        ledger.record(new_restore(((),)))
    assert len(asked) > 1
    assert [each.id for each in ledger.restores()] == [first]
    # Whoever looks at nobody is held up by nobody.
    asked.clear()
    ledger.record(new_restore(((),)), force=True)
    ledger.record(new_restore(((),), cloud="", identity=""))
    assert len(asked) == 2


def test_who_waits_for_events_gets_them_when_they_happen(ledger: Ledger) -> None:
    restore_id = begin(ledger)
    last = ledger.events(restore_id)[-1].id
    before = time.monotonic()
    assert ledger.events(restore_id, last, wait=0.2) == []
    assert time.monotonic() - before >= 0.19
    timer = threading.Timer(0.1, claim, (ledger, restore_id, 0))
    timer.start()
    (event,) = ledger.events(restore_id, last, wait=30)
    assert (event.name, event.index) == ("running", 0)
    timer.join()


def test_a_lease_is_kept_while_its_task_runs_and_ends_after_it(ledger: Ledger) -> None:
    restore_id = begin(ledger)
    keeper = LeaseKeeper(ledger, 2.0)
    for index in (0, 4):
        claim(ledger, restore_id, index, "mine", lease=2.0)
    until = time.monotonic() + 5
    with keeper.holding(restore_id, 0, "mine"):
        with keeper.holding(restore_id, 4, "mine"):
            while time.monotonic() < until:
                assert all(isinstance(claim(ledger, restore_id, index, "other"), Held) for index in (0, 4))
        wait_until(lambda: isinstance(claim(ledger, restore_id, 4, "other"), Claimed), "the lease ends", 10)
        assert isinstance(claim(ledger, restore_id, 0, "other"), Held)


def test_the_environment_names_the_server(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_KEEP_DAYS", "2")
    monkeypatch.setenv("RESTORE_LEASE_SECONDS", "1")
    ledger = connect(settings.load())
    restore_id = record(ledger)
    assert Ledger(redis.Redis.from_url(redis_url, decode_responses=True)).get(restore_id).id == restore_id
    wait_until(ledger.overdue, "what was sent is overdue after the life of a lease", 10)
    ledger.move(restore_id, RestoreState.PENDING, RestoreState.CANCELLED)
    assert 86400 < redis.Redis.from_url(redis_url).ttl(f"restore:{{{restore_id}}}:record") <= 2 * 86400


def test_a_server_that_does_not_answer_may_do_so_later() -> None:
    ledger = Ledger(redis.Redis(host="127.0.0.1", port=1, decode_responses=True, retry=Retry(NoBackoff(), 0)))
    for call in (lambda: ledger.get("any"), lambda: ledger.begin("any"), lambda: record(ledger)):
        with pytest.raises(LedgerUnavailableError, match="Redis does not answer"):
            call()


def test_a_server_that_refuses_is_an_error_of_its_own(client: redis.Redis, ledger: Ledger) -> None:
    client.set("restore:{any}:record", "no hash")
    with pytest.raises(LedgerError, match="Redis refused") as caught:
        ledger.get("any")
    assert not isinstance(caught.value, LedgerUnavailableError)


def test_a_server_whose_replicas_are_away_takes_writes_later(tmp_path: Path) -> None:
    server = Server(tmp_path / "redis", SAFE)
    with running(server), server.client() as client:
        ledger = Ledger(client)
        restore_id = record(ledger)
        client.config_set("min-replicas-to-write", 1)
        check_that_writes_may_pass_later(ledger, restore_id)


def test_a_server_whose_disk_takes_nothing_takes_writes_later(tmp_path: Path) -> None:
    server = Server(tmp_path / "redis", {"save": "3600 1"})
    with running(server), server.client() as client:
        ledger = Ledger(client)
        restore_id = record(ledger)
        shutil.rmtree(server.folder)
        client.bgsave()
        wait_until(lambda: client.info()["rdb_last_bgsave_status"] == "err", "it could not save")
        check_that_writes_may_pass_later(ledger, restore_id)


def check_that_writes_may_pass_later(ledger: Ledger, restore_id: str) -> None:
    checking = (RestoreState.PENDING, RestoreState.CHECKING)
    # A transaction, a script, and a command by itself.
    for write in (lambda: record(ledger), lambda: ledger.move(restore_id, *checking), ledger.reconciling):
        with pytest.raises(LedgerUnavailableError, match="takes no writes now"):
            write()
    assert ledger.get(restore_id).state is RestoreState.PENDING
